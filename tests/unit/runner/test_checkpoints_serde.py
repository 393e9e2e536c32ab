"""States as bytes: what goes in comes out, and nothing else comes out of anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.runner.checkpoints.serde import JsonSerde

TEXT = st.text(st.characters(), max_size=5)  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_a_state_comes_back_as_it_was(state: dict[str, Any]) -> None:
    data = JsonSerde().dumps(state)
    assert data.isascii()
    back = JsonSerde().loads(data)
    assert back == state
    assert repr(back) == repr(state), "1 is not True, and 1.0 not 1"


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")))
def test_bytes_are_an_object_or_refused(data: bytes) -> None:
    try:
        assert isinstance(JsonSerde().loads(data), dict)
    except ExecGoError as error:
        code = error.code
    else:
        return
    assert code == "bad_state"


@pytest.mark.parametrize(
    "data",
    [b"[]", b"null", b"3", b'"x"', b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b"[" * 100_000, b"\x80\x04N.", b""],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(ExecGoError, match="can't be used") as refused:
        JsonSerde().loads(data)
    assert refused.value.code == "bad_state"


def test_a_state_that_holds_itself_is_refused() -> None:
    state: dict[str, Any] = {}
    state["me"] = state
    with pytest.raises(ExecGoError, match="nested"):
        JsonSerde().dumps(state)


def test_a_state_of_millions_of_values_is_refused() -> None:
    with pytest.raises(ExecGoError, match="more than"):
        JsonSerde().dumps({"a": [0] * 1_000_001})
