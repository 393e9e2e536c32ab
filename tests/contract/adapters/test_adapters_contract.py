"""What every framework's adapter does alike, against the scripted model: its plans, its repairs, its failures by their codes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.core.jsonio import digest, dumps, loads
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.plan.adapter import PlannedRun
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, Recording
from pytest_execgo.plan.problems import PlanInvalid

FIRST_CALLS = {"langgraph": {"planner": 1}, "crewai": {"planner": 1, "reviewer": 1}, "autogen": {"planner": 1, "reviewer": 1}}
PACKAGES = {"langgraph": "langgraph", "crewai": "crewai", "autogen": "autogen_agentchat"}


def plan_digest(planned: PlannedRun) -> str:
    return digest(planned.plan.model_dump(mode="json", include={"stages"}))


def made(planned: PlannedRun) -> PlannerOutput:
    assert planned.planner_output is not None
    return planned.planner_output


def requests_made(planner: Any) -> dict[str, int]:
    return {role: count for role, count in planner.model.counts()["requests"].items() if count}


def failure(planner: Any, **options: Any) -> PlanningFailed:
    with pytest.raises(PlanningFailed) as failed:
        planner.plan(**options)
    return failed.value


def in_background(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Call in a thread; the list gets what it returns or raises."""
    ends: list[Any] = []

    def run() -> None:
        try:
            ends.append(call())
        except PlanningFailed as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ends


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that nobody announces, for a generous time."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- plans ----------------------------------------------------------------------------------------------------------------


def test_a_good_plan_needs_one_planning_and_says_how_it_was_made(planner: Any) -> None:
    planned = planner.plan()
    assert planned.plan.normalization_warnings == []
    assert (planned.plan.scenario_id, planned.plan.framework, planned.plan.mode) == ("codegen_exec", planner.framework, "live")
    assert requests_made(planner) == FIRST_CALLS[planner.framework]
    output = made(planned)
    native = load_adapters()[planner.framework].capabilities().native_version
    assert (output.framework, output.framework_version, output.repairs) == (planner.framework, native, 0)
    assert planned.trace["source"] == "live"
    assert len(output.trace) > 3
    assert planner.told
    assert all(isinstance(event["name"], str) for event in planner.told)


def test_the_native_trace_is_json_and_holds_neither_the_models_address_nor_a_key(planner: Any) -> None:
    output = made(planner.plan())
    text = dumps(output.model_dump(mode="json"))
    assert loads(text) == output.model_dump(mode="json")
    assert planner.model.url not in text
    assert "no-key-needed" not in text
    assert all(entry["at_ms"] >= 0 for entry in output.trace)
    assert "scripted-planner" in text or planner.framework == "autogen"


def test_the_same_seed_gives_the_same_plan_from_the_same_warm_process(planner: Any) -> None:
    first, before = planner.plan(seed=3), planner.pool.pids()
    again = planner.plan(seed=3)
    others = {plan_digest(planner.plan(seed=seed)) for seed in range(4, 12)}
    assert plan_digest(first) == plan_digest(again)
    assert others - {plan_digest(first)}
    assert planner.pool.pids() == before


def test_a_recording_of_a_live_plan_replays_to_the_same_plan(planner: Any) -> None:
    live = planner.plan()
    document = Recording(
        scenario_id="codegen_exec",
        scenario_digest="d",
        provider="mock",
        model="scripted-planner",
        seed=1,
        recorded_at="2026-01-01T00:00:00Z",
        output=made(live),
        plan_digest=plan_digest(live),
    ).model_dump(mode="json")
    adapter = load_adapters()[planner.framework]
    replayed = adapter.replay(planner.context(mode="replay"), loads(dumps(document)))
    assert plan_digest(replayed) == document["plan_digest"]
    assert replayed.plan.plan_id == live.plan.plan_id
    assert replayed.plan.normalization_warnings == ["$.mode: the text \"live\" became 'replay'"]
    assert replayed.trace["source"] == "recording"
    assert made(replayed) == made(live)
    raw = adapter.replay(planner.context(mode="replay"), made(live).raw)
    assert raw.plan == replayed.plan


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ("fenced_json", "$: the code fence around the plan was taken off"),
        ("prose_around_json", "$: the text around the plan was left out"),
    ],
)
def test_what_stands_around_a_plan_is_taken_off_without_asking_again(planner: Any, fault: str, warning: str) -> None:
    good = plan_digest(planner.plan())
    planner.model.order(fault)
    planned = planner.plan()
    assert planner.model.counts()["hits"]["planner"] == 1
    assert requests_made(planner) == FIRST_CALLS[planner.framework]
    assert planned.plan.normalization_warnings == [warning]
    assert plan_digest(planned) == good
    assert made(planned).repairs == 0


@pytest.mark.parametrize(
    "fault", ["malformed_json", "truncated_json", "hallucinated_tool", "wrong_dependency", "wrong_schema_version"]
)
def test_a_plan_that_is_wrong_once_is_mended_by_the_framework_itself(planner: Any, fault: str) -> None:
    good = plan_digest(planner.plan())
    planner.model.order(fault, count=1)
    planned = planner.plan()
    assert plan_digest(planned) == good
    assert made(planned).repairs == 1
    assert requests_made(planner) == {**FIRST_CALLS[planner.framework], "repair": 1}


@pytest.mark.parametrize("fault", ["malformed_json", "truncated_json"])
def test_what_never_gets_json_is_of_the_wrong_shape_after_two_repairs(planner: Any, fault: str) -> None:
    planner.model.order(fault)
    failed = failure(planner)
    assert (failed.code, failed.layer, failed.retryable) == ("planner_wrong_shape", "planner", False)
    assert "the plan is no JSON: " in failed.message
    asked = requests_made(planner)
    assert (asked["planner"], asked["repair"]) == (1, 2)


def test_a_plan_that_stays_wrong_is_returned_as_it_is_and_every_problem_listed(planner: Any) -> None:
    planner.model.order("hallucinated_tool")
    with pytest.raises(PlanInvalid) as invalid:
        planner.plan()
    assert {problem.code for problem in invalid.value.problems} == {"unknown_tool"}
    assert requests_made(planner)["repair"] == 2


# -- a model that gives no plan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "parameters", "code"),
    [
        ("refusal", {}, "planner_refused"),
        ("refusal", {"plain": True, "text": "I'm sorry, but I can't help with that."}, "planner_refused"),
        ("empty_choices", {}, "planner_no_plan"),
        ("status_400", {}, "planner_bad_request"),
        ("status_401", {}, "planner_unauthorized"),
        ("status_429", {"seconds": 600}, "planner_rate_limited"),
        ("status_500", {}, "planner_unavailable"),
        ("dropped", {}, "planner_unavailable"),
    ],
)
def test_a_model_that_does_not_answer_is_asked_once_and_told_by_its_code(
    planner: Any, fault: str, parameters: dict[str, Any], code: str
) -> None:
    planner.plan()
    before = planner.pool.pids()
    planner.model.order(fault, parameters=parameters)
    failed = failure(planner)
    assert (failed.code, failed.layer) == (code, "planner")
    assert failed.retryable is (code in ("planner_rate_limited", "planner_unavailable"))
    assert planner.model.counts()["hits"]["planner"] == 1
    planner.model.order()
    assert planner.plan().plan.normalization_warnings == []
    assert planner.pool.pids() == before, "the process had no part in it"


def test_a_reviewer_that_fails_is_a_model_that_fails(planner: Any) -> None:
    if planner.framework == "langgraph":
        pytest.skip("its graph has no reviewer")
    planner.model.order("status_500", role="reviewer")
    assert failure(planner).code == "planner_unavailable"


@pytest.mark.parametrize(
    ("fault", "role"), [("stalled_stream", "planner"), ("slow_first_byte", "planner"), ("slow_first_byte", "reviewer")]
)
def test_a_model_that_is_silent_until_the_deadline_is_told_in_time(planner: Any, fault: str, role: str) -> None:
    if role not in FIRST_CALLS[planner.framework]:
        pytest.skip("its graph has no reviewer")
    planner.plan()
    before = planner.pool.pids()
    planner.model.order(fault, parameters={"ms": 60_000}, role=role)
    failed = failure(planner, deadline_ms=5_000)
    assert (failed.code, failed.layer, failed.retryable) == ("planner_timed_out", "planner", True)
    assert planner.pool.pids() == before


@contextmanager
def answering(answer: Callable[[dict[str, Any]], bytes]) -> Iterator[str]:
    """Serve a model of the test's own, which gets a request's body and returns that of the answer; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_service_that_is_no_model_is_unavailable(planner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda body: b"<html><title>Welcome</title></html>") as url:
        monkeypatch.setattr(planner.model, "url", url)
        failed = failure(planner)
    assert (failed.code, failed.layer, failed.retryable) == ("planner_unavailable", "planner", True)
    assert "answered no chat completion, but: <html><title>Welcome</title></html>" in failed.message


@pytest.mark.parametrize("objections", [1, 9])
def test_a_plan_that_the_reviewer_objects_to_is_made_anew_at_most_twice(
    planner: Any, monkeypatch: pytest.MonkeyPatch, objections: int
) -> None:
    if "reviewer" not in FIRST_CALLS[planner.framework]:
        pytest.skip("its graph has no reviewer")
    plan = planner.plan().plan.model_dump(mode="json", exclude={"raw_trace_ref", "normalization_warnings"})
    orders: list[str] = []
    reviews = 0

    def answer(body: dict[str, Any]) -> bytes:
        nonlocal reviews
        system, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if "ROLE: reviewer" in system.splitlines():
            reviews += 1
            assert '"stages"' in last
            said = "Too little is read. I can't APPROVE that." if reviews <= objections else "APPROVE"
        else:
            orders.append(last)
            said = dumps({**plan, "plan_id": f"plan-{len(orders)}"})
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        base = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return dumps({**base, "choices": [message], "usage": usage}).encode()

    with answering(answer) as url:
        monkeypatch.setattr(planner.model, "url", url)
        planned = planner.plan()
    repairs = min(objections, 2)
    assert made(planned).repairs == repairs
    assert planned.plan.plan_id == f"plan-{repairs + 1}"
    assert len(orders) == repairs + 1
    assert all("the reviewer says: Too little is read." in order and "REPAIR:" in order for order in orders[1:])


# -- a process that fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signum", "code", "words"),
    [(signal.SIGKILL, "adapter_crashed", "was ended by SIGKILL"), (signal.SIGSTOP, "adapter_hung", "did not answer within")],
)
def test_a_process_that_is_killed_or_hangs_is_the_adapters_failure_and_replaced(
    planner: Any, signum: signal.Signals, code: str, words: str, tmp_path: Path
) -> None:
    with WorkerPool(os.environ, folder=tmp_path, grace_s=0.5) as pool:
        planner.pool = pool
        planner.plan()
        [pid] = pool.pids()
        planner.model.order("slow_first_byte", parameters={"ms": 60_000}, count=1)
        thread, ends = in_background(lambda: planner.plan(deadline_ms=8_000 if signum == signal.SIGSTOP else 60_000))
        until(lambda: planner.model.counts()["hits"]["planner"] == 1)
        os.kill(pid, signum)
        thread.join(60)
        [failed] = ends
        assert (failed.code, failed.layer, failed.retryable) == (code, "adapter", True)
        assert words in failed.message
        assert pool.pids() == []
        planner.model.order()
        assert planner.plan().plan.normalization_warnings == []
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(pid)


def test_a_framework_that_can_not_be_imported_is_unusable_and_says_why(planner: Any, tmp_path: Path) -> None:
    package = tmp_path / "path" / PACKAGES[planner.framework]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('half of it is missing')\n")
    path = f"{package.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with WorkerPool({**os.environ, "PYTHONPATH": path}, folder=tmp_path) as pool:
        planner.pool = pool
        failed = failure(planner)
    assert (failed.code, failed.layer, failed.retryable) == ("adapter_unusable", "adapter", False)
    assert f"{planner.framework} can't be used here: ImportError: half of it is missing" in failed.message
    assert json.dumps(planner.model.counts()["requests"]).count("0") == 3, "nobody asked the model"
