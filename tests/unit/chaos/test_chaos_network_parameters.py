"""Kinds of network disturbance: what makes sense, and what is said of what does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.chaos.network.lane import delays
from pytest_execgo.chaos.network.parameters import (
    KINDS,
    Direction,
    Duplicate,
    HalfOpen,
    Latency,
    Matching,
    Reset,
    checked,
    problems,
)
from pytest_execgo.core.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("reset", {}),
        ("reset", {"limit": 0}),
        ("refuse", {}),
        ("latency", {"ms": 20, "jitter_ms": 5, "seed": -7}),
        ("slice", {"bytes": 1}),
        ("slice", {"bytes": 100, "pause_ms": 3}),
        ("half_open", {"direction": "request"}),
        ("lose_response", {"method": "POST", "path": "/tasks", "count": 2}),
        ("duplicate", {"answer": "second", "exact": True}),
        ("on_response", {"call": print, "path": "/tasks"}),
    ],
)
def test_what_makes_sense(kind: str, parameters: Mapping[str, Any]) -> None:
    assert problems(kind, parameters) == []
    order = checked(kind, parameters)
    assert isinstance(order.terms, KINDS[kind])
    assert order.call is parameters.get("call")


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("latncy", {}, ["unknown kind 'latncy'; did you mean 'latency'? allowed: reset, refuse"]),
        ("latency", {}, ["ms: required field 'ms' is missing"]),
        ("latency", {"ms": 0}, ["ms: found the number 0; allowed: at least 1"]),
        ("latency", {"ms": True}, ["ms: found", "allowed: an integer"]),
        ("latency", {"ms": 1, "jiter_ms": 2}, ["unknown field 'jiter_ms'; did you mean 'jitter_ms'?"]),
        ("reset", {"limit": -1}, ["limit: found the number -1; allowed: at least 0"]),
        ("slice", {"bytes": 0, "pause_ms": -1}, ["bytes: found the number 0", "pause_ms: found the number -1"]),
        ("half_open", {"direction": "up"}, ['direction: found the text "up"; allowed: request, response, both']),
        ("lose_response", {"path": "tasks"}, ['path: found the text "tasks"; allowed: text that matches ^/']),
        ("lose_response", {"method": "post"}, ['method: found the text "post"; allowed: text that matches ^[A-Z]+$']),
        ("duplicate", {"answer": "third"}, ['answer: found the text "third"; allowed: first, second']),
        ("duplicate", {"count": 0}, ["count: found the number 0; allowed: at least 1"]),
        ("duplicate", {"call": print}, ["call"]),
        ("on_response", {"path": "/"}, ["call: a callable without arguments is required"]),
        ("on_response", {"call": 3}, ["call: a callable without arguments is required"]),
        ("refuse", {"limit": 3}, ["unknown field 'limit'"]),
    ],
)
def test_what_does_not(kind: str, parameters: Mapping[str, Any], words: list[str]) -> None:
    found = "\n".join(problems(kind, parameters))
    assert [word for word in words if word not in found] == []
    with pytest.raises(UsageError) as caught:
        checked(kind, parameters)
    assert caught.value.code == "invalid_disturbance"
    assert [word for word in words if word not in caught.value.message] == []


def test_the_hint_lists_what_is_allowed() -> None:
    with pytest.raises(UsageError) as caught:
        checked("on_response", {})
    assert caught.value.hint == "parameters of on_response: method, path, exact, call"
    with pytest.raises(UsageError) as caught:
        checked("nonsense", {})
    assert caught.value.hint.startswith("kinds: reset, refuse, latency, slice, half_open")


def test_which_requests_match() -> None:
    assert Matching().matches("GET", "/")
    assert Matching(method="POST", path="/tasks").matches("POST", "/tasks/wait")
    assert not Matching(method="POST", path="/tasks", exact=True).matches("POST", "/tasks/wait")
    assert Matching(path="/tasks", exact=True).matches("PUT", "/tasks")
    assert not Matching(method="POST").matches("GET", "/")


def test_defaults() -> None:
    assert Reset().limit is None
    assert (Latency(ms=1).jitter_ms, Latency(ms=1).seed) == (0, 0)
    assert (Duplicate().answer, Duplicate().count) == ("first", 1)
    assert HalfOpen().swallows("request")
    assert HalfOpen().swallows("response")
    assert not HalfOpen(direction="request").swallows("response")


def test_the_jitter_is_the_same_for_the_same_seed() -> None:
    def drawn(seed: int, number: int, direction: Direction) -> list[float]:
        return list(islice(delays(Latency(ms=20, jitter_ms=30, seed=seed), number, direction), 50))

    assert drawn(1, 1, "request") == drawn(1, 1, "request")
    assert (
        len(
            {
                tuple(drawn(1, 1, "request")),
                tuple(drawn(2, 1, "request")),
                tuple(drawn(1, 2, "request")),
                tuple(drawn(1, 1, "response")),
            }
        )
        == 4
    )
    assert all(0 <= delay <= 0.05 for delay in drawn(3, 1, "request"))
    assert list(islice(delays(Latency(ms=20), 1, "request"), 3)) == [0.02] * 3


def test_every_kind_and_parameter_is_on_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs/chaos-network.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.M))
    matching = re.findall(r"`(\w+)`", rows["matching"].partition("|")[0])
    for kind, model in KINDS.items():
        said = [*re.findall(r"`(\w+)`", rows[kind].partition("|")[0]), *(matching if issubclass(model, Matching) else [])]
        assert set(said) == {*model.model_fields, *(["call"] if kind == "on_response" else [])}, kind
