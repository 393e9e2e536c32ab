"""Plain data keeps its value and its types on the way between two processes."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.executors.plain_data import for_people, packed, unpacked

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates()
    | st.datetimes() | st.times() | st.timedeltas() | st.uuids() | st.decimals(allow_nan=False)
)  # fmt: skip
KEYS = st.text() | st.integers() | st.tuples(st.text(), st.integers()) | st.just("!")
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner) | st.sets(KEYS),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@given(PLAIN)
def test_what_goes_through_json_comes_back_the_same(value: Any) -> None:
    assert same(unpacked(json.loads(json.dumps(packed(value), allow_nan=False))), value)


def test_numbers_that_json_lacks_and_aware_times_too() -> None:
    aware = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    back = unpacked(packed([math.nan, -math.inf, aware, Path("/a"), frozenset({1})]))
    assert math.isnan(back[0])
    assert back[1:] == [-math.inf, aware, Path("/a"), frozenset({1})]


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [object(), Text("x"), OrderedDict(), lambda: 1, range(3), {"deep": [{1: object()}]}])
def test_what_is_not_plain_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is no plain data"):
        packed(value)


def test_what_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="holds itself"):
        packed(loop)


def test_for_people_it_is_the_json_that_they_expect() -> None:
    value = {
        1: (1, {"b", "a"}),
        "when": [date(2026, 1, 2), time(3, 4), timedelta(minutes=1)],
        "raw": [b"\x00", Decimal("1.10"), math.inf, UUID(int=0), Path("a/b"), object()],
    }
    assert for_people(value) == {
        "1": [1, ["a", "b"]],
        "when": ["2026-01-02", "03:04:00", 60.0],
        "raw": ["AA==", "1.10", None, "00000000-0000-0000-0000-000000000000", "a/b", "<builtins.object>"],
    }
