"""What exceptions of frameworks mean, what went over the wire, what is noted of it, what planners are told."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execgo.adapters.checks import problems_of
from pytest_execgo.adapters.failures import explained
from pytest_execgo.adapters.framework import planning_request
from pytest_execgo.adapters.prompts import (
    planner_instructions,
    planning_order,
    repair_order,
    review_order,
    reviewer_instructions,
)
from pytest_execgo.adapters.trace import LONGEST_TEXT, MOST_ENTRIES, MOST_ITEMS, Trace, bounded
from pytest_execgo.adapters.wire import Wire
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.adapter import Planning
from pytest_execgo.plan.model import ModelProfile, PlanContext, PromptPack
from pytest_execgo.plan.planning import PlanningFailed, PlanningRequest


class APIConnectionError(Exception):
    pass


class APITimeoutError(APIConnectionError):
    pass


class RateLimitError(Exception):
    pass


def chained(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (APITimeoutError("Request timed out."), "planner_timed_out", True),
        (APIConnectionError("Connection error."), "planner_unavailable", True),
        (chained(ConnectionError("Failed to connect"), APITimeoutError("x")), "planner_timed_out", True),
        (chained(ValueError("y"), chained(ConnectionError("z"), RateLimitError("429"))), "planner_rate_limited", True),
        (RuntimeError("RateLimitError: Error code: 429\nTraceback:\n…"), "planner_rate_limited", True),
        (RuntimeError("AuthenticationError: Error code: 401"), "planner_unauthorized", False),
        (RuntimeError("BadRequestError: Error code: 400"), "planner_bad_request", False),
        (RuntimeError("InternalServerError: Error code: 500"), "planner_unavailable", True),
    ],
)
def test_an_exception_of_a_client_is_told_by_its_causes(error: Exception, code: str, retryable: bool) -> None:
    failed = explained(error)
    assert (failed.code, failed.layer, failed.retryable) == (code, "planner", retryable)
    assert "Traceback" not in failed.message


def test_any_other_exception_is_the_frameworks_own() -> None:
    failed = explained(RuntimeError("a bug about a RateLimitError: in the text"))
    assert (failed.code, failed.layer) == ("adapter_crashed", "adapter")
    assert failed.message == "the framework raised RuntimeError: a bug about a RateLimitError: in the text"


def test_a_failure_that_was_raised_within_is_kept() -> None:
    inner = PlanningFailed("planner_refused", "no")
    assert explained(chained(RuntimeError("wrapped"), inner)) is inner


@pytest.fixture
def request_(context: PlanContext) -> PlanningRequest:
    context = context.model_copy(
        update={
            "prompt_pack": PromptPack(system="SYSTEM", user="USER", constraints="CONSTRAINTS"),
            "scenario_input": {"feed": "f"},
            "model_profile": ModelProfile(timeout_ms=7_000),
        }
    )
    return planning_request(context, Planning("http://127.0.0.1:9/secret/v1", 5_000, None))  # type: ignore[arg-type]


def answer(status: int, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return SimpleNamespace(status_code=status, content=text.encode(), text=text)


def choice(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "{}", **message}}]}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, choice(), None),
        (200, choice(refusal=None), None),
        (200, choice(content=None, refusal="no"), "planner_refused"),
        (200, {"choices": []}, "planner_no_plan"),
        (200, {"choices": None}, "planner_unavailable"),
        (200, "<html>Welcome</html>", "planner_unavailable"),
        (200, '{"choices": [', "planner_unavailable"),
        (400, {"error": {"message": "too long"}}, "planner_bad_request"),
        (404, "nothing here", "planner_bad_request"),
        (401, {"error": {"message": "who?"}}, "planner_unauthorized"),
        (403, {"error": "no"}, "planner_unauthorized"),
        (408, {}, "planner_timed_out"),
        (429, {"error": {"message": "slow down"}}, "planner_rate_limited"),
        (500, "<html>", "planner_unavailable"),
        (502, {"error": {"code": "upstream_unreachable"}}, "planner_unavailable"),
        (504, {"error": {"code": "deadline_exceeded", "message": "over"}}, "planner_timed_out"),
        (504, {"error": {"code": 5}}, "planner_unavailable"),
    ],
)
def test_what_went_over_the_wire_counts_more_than_what_was_raised(
    request_: PlanningRequest, status: int, body: Any, code: str | None
) -> None:
    wire = Wire(request_)
    wire.answered(answer(429, {}))
    wire.answered(answer(status, body))
    assert wire.requests == 2
    failed = wire.blame(TypeError("'NoneType' object is not subscriptable"))
    assert failed.code == (code or "adapter_crashed")
    assert failed.layer == ("planner" if code else "adapter")
    if code == "planner_refused":
        with pytest.raises(PlanningFailed, match="refused to plan: no"):
            wire.refused()
    else:
        wire.refused()


def test_a_client_waits_no_longer_than_the_deadline_or_the_profile_allows(
    request_: PlanningRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("pytest_execgo.adapters.wire.time", SimpleNamespace(monotonic=lambda: now))
    wire, patient = Wire(request_), Wire(request_.model_copy(update={"deadline_ms": 60_000}))
    assert (wire.timeout_s, patient.timeout_s) == (5.0, 7.0)
    now = 104.0
    assert (wire.timeout_s, patient.timeout_s) == (1.0, 7.0)
    assert wire.timeouts == {"connect": 1.0, "read": 1.0, "write": 1.0, "pool": 1.0}
    now = 160.0
    assert 0 < wire.timeout_s == patient.timeout_s < 0.1


def test_a_trace_is_json_and_bounded_and_hides_the_models_address(request_: PlanningRequest) -> None:
    trace = Trace(Wire(request_).hidden)
    deep: Any = "bottom"
    for _ in range(50):
        deep = [deep]
    trace.add(
        "all",
        url="POST http://127.0.0.1:9/secret/v1/chat/completions with no-key-needed",
        text="x" * (LONGEST_TEXT + 5),
        items=list(range(MOST_ITEMS + 5)),
        odd={1: object, "\ud800": float("nan"), "large": 2**70, "set": {1}},
        deep=deep,
        model=ModelProfile(),
    )
    for _ in range(MOST_ENTRIES + 4):
        trace.add("more", text="y")
    [first, *_, last] = trace.done()
    dumps(trace.done())
    assert first["url"] == "POST <model>/chat/completions with <key>"
    assert "secret" not in dumps(first)
    assert len(first["text"]) == LONGEST_TEXT
    assert len(first["items"]) == MOST_ITEMS
    assert first["odd"]["?"] == "nan"
    assert first["odd"]["set"] == [1]
    assert "a list" in dumps(first["deep"])
    assert first["model"]["provider"] == "mock"
    assert last == {"kind": "dropped", "entries": 5}
    assert len(trace.done()) == MOST_ENTRIES + 1


def test_a_trace_holds_at_most_a_certain_amount_of_text() -> None:
    trace = Trace({})
    for _ in range(100):
        trace.add("long", text="z" * LONGEST_TEXT)
    assert len(dumps(trace.done())) < 1_200_000
    assert trace.done()[-1]["entries"] == 100 - len(trace.entries) > 0


def test_what_is_said_meanwhile_is_bounded_too() -> None:
    assert bounded({"a": (1, None, True, 1.5, float("inf"))}) == {"a": [1, None, True, 1.5, "inf"]}


def test_a_planner_is_told_everything_and_a_reviewer_who_he_is(request_: PlanningRequest) -> None:
    told = planner_instructions(request_)
    assert told.startswith("SYSTEM\n\nCONSTRAINTS\n")
    for part in ("`scenario_id`: demo", "os.noop, os.file, runtime.command", "At most 5 tasks", '"os.file":{', '"stages"'):
        assert part in told
    order = planning_order(request_)
    assert order.startswith('Objective: do it\n\nUSER\n\n# Input\n\n{"feed":"f"}')
    assert "ROLE: reviewer" in reviewer_instructions(request_).splitlines()
    assert "REPAIR:" in repair_order(["$.a: b"]).splitlines()
    assert "- $.a: b" in repair_order(["$.a: b"]).splitlines()
    assert review_order("{}").endswith("\n\n{}")
    assert not {"ROLE: reviewer", "REPAIR:"} & {*told.splitlines(), *order.splitlines()}


def test_a_planners_own_checks_find_what_the_parent_would(document: dict[str, Any], context: PlanContext) -> None:
    assert problems_of(json.dumps(document), context) == []
    assert problems_of(f"Here: {json.dumps(document)}", context) == [], "what needs no model to mend is not asked for"
    document["stages"][0]["task_graph"]["tasks"][0]["type"] = "web_search"
    [problem] = problems_of(json.dumps(document), context)
    assert problem.startswith("$.stages[0].task_graph.tasks[0]")
    [problem] = problems_of("Let me think.", context)
    assert problem == "there is no plan in the answer; the model said: Let me think."
    document["stages"] *= 30
    many = problems_of(json.dumps(document), context)
    assert len(many) == 21
    assert many[-1].startswith("… and ")
    with pytest.raises(PlanningFailed, match="refused"):
        problems_of("I can't help with that.", context)
