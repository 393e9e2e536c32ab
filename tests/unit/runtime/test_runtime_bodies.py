"""Bodies that bite: each is refused with a code and a path, none gets through as something else."""

from __future__ import annotations

import json

import pytest

from pytest_execgo.core.bodies import MAX_DEPTH, MAX_NODES, HttpError, json_path, parse_json


@pytest.mark.parametrize(
    ("raw", "path", "said"),
    [
        (b"", "$", "not JSON"),
        (b"{", "$", "line 1"),
        (b'{"a": NaN}', "$", "NaN"),
        (b'{"a": -Infinity}', "$", "-Infinity"),
        (b'{"a": 1e999}', "$", "too large"),
        (b'{"a": ' + b"7" * 5000 + b"}", "$", "digits"),
        (b"[" * 100_000 + b"]" * 100_000, "$", "nested deeper"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "$[0][0][0][0][0][0][0][0]", "nested deeper"),
        (b'{"a": [1, {"b": "\\ud800"}]}', "$.a[1].b", "surrogate"),
        (b'{"a": {"\\uDFFFx": 1}}', "$.a", "surrogate"),
        (b'{"a b": "x\\u0000y"}', '$["a b"]', "NUL"),
        (b'"\xff"', "$", "UTF-8"),
        ("{}".encode("utf-16"), "$", "UTF-8"),
        (b"[" + b"1," * MAX_NODES + b"1]", "$", "more than"),
    ],
)
def test_a_dangerous_body_is_a_400_with_its_path(raw: bytes, path: str, said: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_json(raw)
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")
    (problem,) = caught.value.details["problems"]
    assert problem["path"] == path
    assert said in problem["message"]


def test_every_bad_text_is_listed() -> None:
    with pytest.raises(HttpError) as caught:
        parse_json(b'{"a": "\\u0000", "b": ["\\ud800"]}')
    assert sorted(problem["path"] for problem in caught.value.details["problems"]) == ["$.a", "$.b[0]"]


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "é\u2028", [], {"a": [{"b": "\U0001f600"}]}, 10**100, "x" * 100_000, [0] * 1000]
)
def test_ordinary_values_pass_unchanged(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_nesting_up_to_the_limit_passes() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(parse_json(deep)).encode() == deep


def test_paths_read_like_json_path() -> None:
    assert json_path(["tasks", 0, "a b", "id"]) == '$.tasks[0]["a b"].id'
    assert json_path([]) == "$"
    assert len(json_path(["x" * 10_000])) < 100
