"""JSON in and out: nothing lost, nothing that other readers refuse, one digest for one value."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import digest, dumps, loads, read_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_is_dumped_reads_back(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert json.loads(dumps(value, indent=2)) == value


def test_text_is_compact_and_keeps_its_characters() -> None:
    assert dumps({"ä": [1, "文"]}) == '{"ä":[1,"文"]}'
    assert dumps([1], indent=2) == "[\n  1\n]"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dumps({"x": number})
    with pytest.raises(ValueError, match="JSON"):
        digest({"x": number})


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"d": 2, "c": 3}}) == digest({"b": {"c": 3, "d": 2}, "a": 1})
    assert digest({"b": "ä", "a": [1, None]}) == hashlib.sha256(b'{"a":[1,null],"b":"\\u00e4"}').hexdigest()


@pytest.mark.parametrize("pair", [([1, 2], [2, 1]), ("1", 1), (None, {}), ({"a": None}, {}), (1, 1.5), ("\ud800", "\ufffd")])
def test_different_values_have_different_digests(pair: tuple[Any, Any]) -> None:
    assert digest(pair[0]) != digest(pair[1])


@given(VALUES)
def test_foreign_text_is_read_like_any_json(value: Any) -> None:
    assert loads(json.dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


def test_half_a_surrogate_pair_becomes_the_replacement_character_and_a_whole_one_is_kept() -> None:
    assert loads(r'{"k\ud800": ["\udfff!", "\ud83d\ude00"]}') == {"k\ufffd": ["\ufffd!", "\U0001f600"]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        ("nul", "Expecting value"),
        ('{"a": [0, NaN]}', r"\$\.a\[1\] is the number nan"),
        ("-Infinity", r"\$ is the number -inf"),
        ('{"a": 1e999}', r"\$\.a is the number inf"),
        ("9" * 5000, "digits"),
        ("9" * 4000, "bits"),
        ("[" * 200 + "]" * 200, "nested more than 100 levels"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (b'"\xff"', "utf-8"),
    ],
)
def test_foreign_text_that_could_not_be_passed_on_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loads(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"ä": 1}', "utf-8")
    assert read_json(tmp_path / "f.json") == {"ä": 1}


@pytest.mark.parametrize(
    ("content", "code", "shown"),
    [
        (b'{\n  "a": 1,\n  "b": }\n', "malformed_json", "f.json:3:8: Expecting value"),
        (b"", "malformed_json", "f.json:1:1: Expecting value"),
        (b'"\xff"', "malformed_json", "f.json: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "malformed_json", "f.json: "),
        (b"9" * 5000, "malformed_json", "f.json: "),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, content: bytes, code: str, shown: str) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_json(tmp_path / "f.json")
    assert refused.value.code == code
    assert f"{tmp_path}/{shown}" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(("name", "reason"), [("missing.json", "No such file"), ("folder", "Is a directory")])
def test_a_file_that_can_not_be_read_is_named_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=f"{name}: {reason}") as refused:
        read_json(tmp_path / name)
    assert refused.value.code == "unreadable_file"
