"""A run that meets failures: stages tried again, services brought back, orders to stop, deaths of the process, faults."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.benchmark.metrics import measure
from pytest_execgo.client.kernel import KernelUnreachable
from pytest_execgo.observability.history import read_history
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile, Fault
from pytest_execgo.plan.fault import Surroundings
from pytest_execgo.plan.fault import World as ChaosWorld
from pytest_execgo.plan.scenario import RecoveryPolicy
from pytest_execgo.plan.stack import Service
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.runner.checkpoints.run_state import InterruptedRun, RunStore
from pytest_execgo.runner.run import run_cell

if TYPE_CHECKING:
    from tests.unit.runner.conftest import World

CELL = Cell("demo", "langgraph", "replay", "none")
PASSING = {"code": "external_failure", "message": "gone", "retryable": True}
GONE = {"status": "failed", "error": "gone", "runtime": {"error": PASSING}}


def submitted_ids(world: World) -> list[str]:
    return [task["id"].partition(":")[2] for graph in world.kernel.submitted for task in graph]


def fail_first(world: World, envelope: dict[str, Any], times: int = 1) -> None:
    """Let the task `first` end as `envelope` says, in its first attempts."""

    world.kernel.envelopes = {f"first:{attempt + 1}": envelope for attempt in range(times)}


def test_a_stage_that_may_succeed_is_tried_again_under_new_ids(world: World) -> None:
    fail_first(world, GONE)
    result = world.run()
    assert result.outcome == "passed"
    assert submitted_ids(world) == ["one:first:1", "one:first:2", "two:second:1"]
    record = world.records[0]
    assert [(stage.stage_id, stage.attempt, stage.superseded) for stage in record.stages] == [
        ("one", 1, True),
        ("one", 2, False),
        ("two", 1, False),
    ]
    decided = world.listener.events("recovery_decided")
    assert [(event.action, event.code, event.attempt) for event in decided] == [("retry_stage", "external_failure", 1)]


def test_a_stage_that_keeps_failing_fails_the_run_with_its_last_failure(world: World) -> None:
    world.recovery = RecoveryPolicy(stage_attempts=2)
    fail_first(world, GONE, times=9)
    result = world.run()
    assert result.outcome == "failed"
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code) == ("kernel", "external_failure")
    assert submitted_ids(world) == ["one:first:1", "one:first:2"]
    assert [event.action for event in world.listener.events("recovery_decided")] == ["retry_stage", "give_up"]


def test_a_stage_that_began_what_must_run_once_is_never_tried_again(world: World) -> None:
    once = {"id": "only", "type": "noop", "annotations": {"effect": "once"}}
    world.plan["stages"][0]["task_graph"]["tasks"].append(once)
    world.kernel.envelopes = {"first": GONE, "only": {"runtime": {"attempt": 1}}}
    assert world.run().outcome == "failed"
    assert submitted_ids(world) == ["one:first:1", "one:only:1"]
    assert "must run once alone" in world.listener.events("recovery_decided")[-1].reason


def test_a_stage_whose_single_task_never_began_may_be_tried_again(world: World) -> None:
    once = {"id": "only", "type": "noop", "annotations": {"effect": "once"}, "depends_on": ["first"]}
    world.plan["stages"][0]["task_graph"]["tasks"].append(once)
    world.kernel.envelopes = {"first:1": GONE, "only:1": {"status": "skipped", "result": None}}
    world.run()
    assert submitted_ids(world)[:4] == ["one:first:1", "one:only:1", "one:first:2", "one:only:2"]


def test_a_failure_that_can_not_pass_is_not_tried_again(world: World) -> None:
    world.kernel.envelopes = {"first": {"status": "failed", "error": "exit 1"}}
    assert world.run().outcome == "failed"
    assert submitted_ids(world) == ["one:first:1"]


def test_a_kernel_that_is_brought_back_is_asked_for_the_same_tasks(world: World) -> None:
    """The submission is not repeated when it was heard; the stage goes on under its own ids."""

    def die(_: object) -> None:
        world.kernel.down, world.stack.running = True, False
        raise KernelUnreachable("kernel_unreachable", "POST /tasks: Connection reset by peer")

    def revive(service: Service) -> bool:
        world.kernel.down, world.stack.running = False, True
        world.kernel.on_submit = lambda tasks: None
        return True

    world.kernel.on_submit = die
    world.stack.revive = revive  # type: ignore[method-assign]
    result = world.run()
    assert result.outcome == "passed"
    assert submitted_ids(world) == ["one:first:1", "two:second:1"]
    assert {"service_lost", "service_restarted"} <= {row.event.event_type for row in world.listener.stamped}
    assert world.records[0].restarts == 1


def test_what_a_fixtures_service_in_trouble_answered_is_no_data(world: World) -> None:
    world.plan["stages"][0]["task_graph"]["tasks"] = [
        {"id": "first", "type": "http", "input": {"method": "GET", "url": "${{ fixtures_url }}/advisories"}}
    ]
    world.allowed_tools.append("os.http")
    fail_first(world, {"result": {"status_code": 503, "body": "{}"}})
    result = world.run()
    assert submitted_ids(world)[:2] == ["one:first:1", "one:first:2"]
    decided = world.listener.events("recovery_decided")
    assert [(event.layer, event.code) for event in decided] == [("fixture", "http_503")]
    assert result.outcome == "passed"


@pytest.mark.parametrize(("url", "attempts"), [("${{ fixtures_url }}/effects", 2), ("http://elsewhere.test/", 1)])
def test_a_fixtures_service_that_was_away_may_be_back(world: World, url: str, attempts: int) -> None:
    refused = {"code": "external_failure", "message": "connection refused", "retryable": False}
    world.plan["stages"][0]["task_graph"]["tasks"] = [{"id": "first", "type": "http", "input": {"method": "GET", "url": url}}]
    del world.plan["stages"][1]["bindings"]
    world.allowed_tools.append("os.http")
    fail_first(world, {"status": "failed", "error": "connection refused", "runtime": {"error": refused}})
    assert world.run().outcome == ("passed" if attempts == 2 else "failed")
    assert submitted_ids(world)[:2] == ["one:first:1", "one:first:2"][:attempts]


def test_effects_carry_which_attempt_of_which_task_they_come_from(world: World) -> None:
    world.plan["stages"][0]["task_graph"]["tasks"] = [
        {"id": "first", "type": "http", "input": {"method": "GET", "url": "${{ fixtures_url }}/effects", "headers": {"A": "b"}}},
        {"id": "other", "type": "http", "input": {"method": "GET", "url": "http://fixtures.test:12/effects"}},
    ]
    world.allowed_tools.append("os.http")
    result = world.run()
    ours, others = world.kernel.submitted[0]
    assert ours["input"]["headers"] == {"A": "b", "X-Execgo-Task": f"{result.run_id}:one:first:1", "X-Fencing-Token": "1"}
    assert "headers" not in others["input"]


def test_a_deadline_stops_the_run_and_nothing_more_is_submitted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deadline_ms = 200

    class Deadline(threading.Timer):
        """Passes once something was submitted, however long it takes to come so far."""

        def run(self) -> None:
            if self.interval == 0.2 and submitted.wait(20):
                self.function(*self.args)

    def wait_for_it(_: object) -> None:
        submitted.set()
        ordered.wait(20)

    monkeypatch.setattr(threading, "Timer", Deadline)
    submitted, ordered = threading.Event(), threading.Event()
    world.kernel.on_submit = wait_for_it
    world.watchers = (OnEvent("stop_ordered", ordered.set),)
    world.kernel.envelopes["first"] = {"status": "running"}
    asked: list[tuple[str | None, int]] = []

    def applied_effects(run: str | None = None) -> int:
        asked.append((run, len(world.listener.events("run_stopped"))))
        return 0

    world.effects.applied_effects = applied_effects  # type: ignore[method-assign]
    result = world.run()
    assert asked == [(None, 0), (result.run_id, 0), (result.run_id, 0)], "the sink has let in what was sent before it is said"
    assert len(world.listener.events("run_stopped")) == 1
    assert result.outcome == "failed"
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code) == ("machine", "stopped")
    assert submitted_ids(world) == ["one:first:1"]
    assert world.records[0].stop_time_ms is not None
    assert world.listener.events("task_observed") == [], "the order found nothing to cancel yet, and is not waited out"
    assert world.kernel.deleted, "what was on its way is withdrawn"


def test_a_service_that_stays_lost_is_no_recovery(world: World) -> None:
    world.recovery = RecoveryPolicy(restarts=0)
    shaken(world, Shake())
    world.kernel.on_submit = lambda tasks: setattr(world.stack, "running", False)
    result = world.run()
    assert result.outcome == "error"
    assert "could not be brought back" in (result.error or "")
    assert world.records[0].recovered is False


@dataclass
class OnEvent:
    """Calls back at one kind of event."""

    kind: str
    call: Any

    def consume(self, stamped: Any) -> None:
        if stamped.event.event_type == self.kind:
            self.call()


class Died(BaseException):
    """The process is gone: nothing is cleaned up, nothing concluded."""


def cut_short(world: World, monkeypatch: pytest.MonkeyPatch, at_stage: str) -> InterruptedRun:
    """Run until a stage is submitted, and die there; return what is left."""

    def die(tasks: Sequence[Mapping[str, Any]]) -> None:
        if f":{at_stage}:" in str(tasks[0]["id"]):
            raise Died

    world.kernel.on_submit = die
    monkeypatch.setattr("pytest_execgo.runner.run.conclude_run", lambda course, ending: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        run_cell(CELL, world.parts())
    monkeypatch.undo()
    world.kernel.on_submit = lambda tasks: None
    (path,) = world.out.iterdir()
    with RunStore(path) as store:
        return InterruptedRun(path, store.latest(), None)


def test_a_run_that_was_cut_short_goes_on_and_repeats_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    left = cut_short(world, monkeypatch, "two")
    before = submitted_ids(world)
    assert before == ["one:first:1", "two:second:1"]
    result = run_cell(CELL, world.parts(), left)
    assert (result.outcome, result.resumed, result.run_id) == ("passed", 1, left.path.name)
    assert result.plan_source == "reference", "an earlier life obtained it"
    assert submitted_ids(world) == before, "the stage that was on its way is taken up where it is"
    assert [stage.stage_id for stage in world.records[-1].stages] == ["one", "two"]
    assert left.state is not None
    before_ms = left.state.record["elapsed_ms"]
    assert world.records[-1].wall_ms > before_ms > 0, "the time of all lives"
    kinds = [row["event_type"] for row in timeline(left)]
    assert kinds.count("run_started") == 1
    assert kinds.count("run_resumed") == 1
    assert [row["seq"] for row in timeline(left)] == list(range(1, len(kinds) + 1))
    assert {row.run for row in read_history(left.path)} == {left.path.name}


def test_what_was_never_heard_of_is_submitted_by_the_next_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    left = cut_short(world, monkeypatch, "two")
    del world.kernel.submitted[1]
    result = run_cell(CELL, world.parts(), left)
    assert result.outcome == "passed"
    assert submitted_ids(world) == ["one:first:1", "two:second:1"]
    assert world.kernel.submitted[1][0]["input"] == {"message": True}, "bound from the stage that an earlier life finished"


def test_what_an_earlier_life_submitted_is_read_at_the_end_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its attempt was withdrawn, so that the next life's has ids of its own: that it is over has to be seen all the same."""
    left = cut_short(world, monkeypatch, "two")
    assert left.state is not None
    again = replace(left, state=left.state.model_copy(update={"attempts": {"one": 1, "two": 1}}))
    result = run_cell(CELL, world.parts(), again)
    assert submitted_ids(world) == ["one:first:1", "two:second:1", "two:second:2"]
    final = [row.task for row in read_history(left.path) if row.f == "read" and row.value.get("final")]
    assert final == [f"{result.run_id}:{task}" for task in submitted_ids(world)]


def timeline(run: InterruptedRun) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (run.path / "timeline.jsonl").read_text().splitlines()]


@dataclass
class Shake:
    """An action that does nothing but say that it hit, or did not."""

    hits: bool = True
    worlds: list[ChaosWorld] = field(default_factory=list)
    undone: int = 0

    @property
    def targets(self) -> frozenset[str]:
        return frozenset({"machine"})

    def problems(self, fault: Fault) -> list[str]:
        return []

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        return None

    def apply(self, fault: Fault, world: ChaosWorld, draw: random.Random) -> Shake:
        self.worlds.append(world)
        return self

    def undo(self) -> None:
        self.undone += 1

    def observed(self) -> Mapping[str, Any]:
        return {"hit": self.hits}


def shaken(world: World, shake: Shake, expectation: str = "should_recover", code: str | None = None) -> None:
    fault = {"action": "shake", "target": "machine", "trigger": {"phase": "submit", "event": "stage_submitted"}}
    document = {"id": "none", "description": "x", "faults": [fault], "recovery_expectation": expectation, "expected_code": code}
    world.profile, world.actions = ChaosProfile.model_validate(document), {"shake": shake}


def test_a_fault_strikes_when_its_event_comes_and_is_lifted_before_the_verifier_looks(world: World) -> None:
    shake = Shake()
    shaken(world, shake)
    undone: list[int] = []

    def verifier(_: object) -> Verdict:
        undone.append(shake.undone)
        return Verdict(passed=True)

    world.verifier = verifier
    result = world.run()
    kinds = [row.event.event_type for row in world.listener.stamped]
    assert kinds[kinds.index("stage_submitted") + 1] == "fault_injected"
    assert (shake.undone, undone) == (1, [1])
    assert [(fault.action, fault.fired, fault.hit) for fault in result.faults] == [("shake", True, True)]
    (given,) = shake.worlds
    assert (given.run_id, given.seed) == (result.run_id, 7)
    assert not given.scratch.exists()


def test_a_run_whose_verifier_says_no_has_not_recovered_and_took_no_time_to(world: World) -> None:
    shaken(world, Shake())
    world.verifier = lambda _: Verdict(passed=False, reasons=["no"])
    assert world.run().outcome == "failed"
    (record,) = world.records
    assert record.progress_ns, "its tasks went on after the fault"
    figures = measure(record)
    assert (figures.recovery_success, figures.recovery_time_ms) == (0.0, None)


def test_a_fault_that_hit_nothing_makes_the_run_inconclusive(world: World) -> None:
    shaken(world, Shake(hits=False))
    result = world.run()
    assert result.outcome == "inconclusive"
    assert result.error is not None
    assert "hit nothing" in result.error


def test_a_fault_is_lifted_when_the_run_raises(world: World) -> None:
    shake = Shake()
    shaken(world, shake)

    def interrupt(stamped: Any) -> None:
        raise KeyboardInterrupt

    world.verifier = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, world.parts())
    assert shake.undone == 1


def test_an_expected_failure_passes_and_is_no_success_of_the_scenario(world: World) -> None:
    shaken(world, Shake(), "expected_failure", "task_failed")
    world.kernel.envelopes = {"second": {"status": "failed", "error": "exit 1"}}
    result = world.run()
    assert result.outcome == "passed"
    assert result.verdict is not None
    assert result.verdict.reasons[0].startswith("failed as profile 'none' expects")
    assert world.records[0].verdict is not None
    assert not world.records[0].verdict.passed
    assert replace(CELL) == result.cell
