"""Dotted paths: split, read, set, bound."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.paths import (
    PathBlocked,
    PathMalformed,
    PathMissing,
    bind_value,
    format_path,
    get_path,
    parse_path,
    parse_target,
    set_path,
)

KEYS = st.text(min_size=1, max_size=6)
PATHS = st.lists(KEYS, min_size=1, max_size=5).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        ("output.patched_files.0", ("output", "patched_files", "0")),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\.b", ("a\\", "b")),
        (r"\.", (".",)),
        ("ä b.☃", ("ä b", "☃")),
    ],
)
def test_parse_path(text: str, parts: tuple[str, ...]) -> None:
    assert parse_path(text) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (".", "empty key at position 1"),
        ("a..b", "empty key at position 2"),
        ("a.", "empty key at position 2"),
        (".a", "empty key at position 1"),
        ("a\\", "lone backslash"),
        (r"a\b", r"unknown escape, \b"),
    ],
)
def test_parse_path_refuses_and_says_why(text: str, reason: str) -> None:
    with pytest.raises(PathMalformed) as caught:
        parse_path(text)
    assert reason in caught.value.message
    assert caught.value.code == "path_malformed"


@CALM
@given(PATHS)
def test_format_is_the_inverse_of_parse(parts: tuple[str, ...]) -> None:
    assert parse_path(format_path(parts)) == parts


@CALM
@given(PATHS, JSON)
def test_what_is_set_in_an_empty_object_is_found_again(parts: tuple[str, ...], value: Any) -> None:
    document: dict[str, Any] = {}
    set_path(document, format_path(parts), value)
    assert get_path(document, format_path(parts)) == value


@CALM
@given(st.dictionaries(KEYS, JSON, max_size=4), PATHS, JSON)
def test_set_is_found_again_or_is_blocked_and_changes_nothing(document: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    before = copy.deepcopy(document)
    blocked = None
    try:
        set_path(document, parts, value)
    except PathBlocked as error:
        blocked = error
    if blocked is None:
        assert get_path(document, parts) == value
    else:
        assert document == before
        assert get_path(document, parse_path(blocked.reached)) is not None


@pytest.mark.parametrize(
    ("document", "path", "reached", "available"),
    [
        ({"a": {"b": 1, "c": 2}}, "a.x", "a", "an object with b, c"),
        ({"a": [1, 2]}, "a.2", "a", "a list of 2"),
        ({"a": [1, 2]}, "a.-1", "a", "a list of 2"),
        ({"a": [1, 2]}, "a.01", "a", "a list of 2"),
        ({"a": [1, 2]}, "a." + "9" * 5000, "a", "a list of 2"),
        ({"a": "text"}, "a.b.c", "a", 'the text "text"'),
        ({"a": None}, "a.b", "a", "null"),
        ({}, "a", "", "an empty object"),
        ([], "0", "", "a list of 0"),
        ({f"k{i}": i for i in range(25)}, "x", "", "… (5 more)"),
    ],
)
def test_a_missing_path_tells_how_far_it_got(document: Any, path: str, reached: str, available: str) -> None:
    with pytest.raises(PathMissing) as caught:
        get_path(document, path)
    assert caught.value.reached == reached
    assert available in caught.value.available
    assert available in caught.value.message
    assert len(caught.value.available) < 500


@pytest.mark.parametrize(
    ("document", "path", "after"),
    [
        ({"params": None}, "params.a.b", {"params": {"a": {"b": "NEW"}}}),
        ({"a": [1, 2]}, "a.1", {"a": [1, "NEW"]}),
        ({"a": [1, 2]}, "a.2", {"a": [1, 2, "NEW"]}),
        ({"a": [1]}, "a.1.b", {"a": [1, {"b": "NEW"}]}),
        ({"a": [None]}, "a.0.b", {"a": [{"b": "NEW"}]}),
        ({"a": {"b": 1}}, "a.b", {"a": {"b": "NEW"}}),
        ({}, "a.0", {"a": {"0": "NEW"}}),
        ([1], "0", ["NEW"]),
    ],
)
def test_set_path(document: Any, path: str, after: Any) -> None:
    set_path(document, path, "NEW")
    assert document == after


@pytest.mark.parametrize(
    ("document", "path", "reached", "reason"),
    [
        ({"a": "x"}, "a.b", "a", 'is the text "x"'),
        ({"a": {"b": 3}}, "a.b.c.d", "a.b", "is the number 3"),
        ({"a": False}, "a.b", "a", "is false"),
        ({"a": [1, 2]}, "a.3", "a", "an index from 0 to 2"),
        ({"a": [1]}, "a.-1", "a", "an index from 0 to 1"),
        ({"a": [1]}, "a.key", "a", "an index from 0 to 1"),
    ],
)
def test_set_path_is_blocked(document: Any, path: str, reached: str, reason: str) -> None:
    before = copy.deepcopy(document)
    with pytest.raises(PathBlocked) as caught:
        set_path(document, path, 1)
    assert (caught.value.reached, document) == (reached, before)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("path", "value", "bound"),
    [
        ("input.execution.env.REPORT", {"a": [1, "ä"], "b": None}, '{"a":[1,"ä"],"b":null}'),
        ("input.execution.env.REPORT", "plain", "plain"),
        ("input.execution.env.REPORT", True, "true"),
        ("input.env.N", 7, "7"),
        ("params.env", {"A": 1, "B": "x", "C": [2]}, {"A": "1", "B": "x", "C": "[2]"}),
        ("params.env", "text", "text"),
        ("params.environment.N", 7, 7),
        ("params.env.deeper.N", [7], [7]),
        ("params.body", {"a": 1}, {"a": 1}),
        ("input", {"a": 1}, {"a": 1}),
        ("input.execution.env_vars.N", 7, "7"),
        (r"input.execution.files.data\.json", {"a": [1]}, '{"a":[1]}'),
        ("input.execution.files", {"a": 1, "b": "x"}, {"a": "1", "b": "x"}),
        ("input.execution.stdin", [1, 2], "[1,2]"),
        ("input.files.N", 7, 7),
        ("input.stdin", 7, 7),
        ("input.execution.payload.files.N", 7, 7),
    ],
)
def test_bound_values_are_text_where_only_text_can_be(path: str, value: Any, bound: Any) -> None:
    task: dict[str, Any] = {"id": "t", "type": "runtime", "params": None, "input": None}
    bind_value(task, path, value)
    assert get_path(task, path) == bound


def test_a_bound_value_is_not_shared_with_its_source() -> None:
    source = {"list": [1]}
    task: dict[str, Any] = {}
    bind_value(task, "input.a", source)
    bind_value(task, "input.a.list.1", 2)
    assert (task, source) == ({"input": {"a": {"list": [1, 2]}}}, {"list": [1]})


@pytest.mark.parametrize("path", ["timeout", "retry.x", "depends_on.0", "Input.a", "execution.env.A"])
def test_only_arguments_can_be_bound(path: str) -> None:
    task: dict[str, Any] = {"timeout": 1}
    with pytest.raises(PathMalformed, match="allowed: input or params"):
        bind_value(task, path, 1)
    assert task == {"timeout": 1}
    with pytest.raises(PathMalformed):
        parse_target(path)


def test_an_environment_refuses_what_is_no_json() -> None:
    task: dict[str, Any] = {}
    with pytest.raises(PathBlocked, match=r"'input\.env' takes text, and the value can't be written as JSON"):
        bind_value(task, "input.env.A", [float("nan")])
    assert task == {}


@pytest.mark.parametrize(
    "error", [PathMalformed("a..", "is odd"), PathMissing("a.b", "a", "null"), PathBlocked("a.b", "a", "is 3")]
)
def test_path_errors_survive_pickling(error: ExecGoError) -> None:
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
