"""One run from its cell to its result: four ways to end, the artifacts whole in each of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.verdict import Verdict, VerifierContext
from pytest_execgo.runner.run import run_cell
from pytest_execgo.runner.workspace import new_run_id

if TYPE_CHECKING:
    from tests.unit.runner.conftest import World

CELL = Cell("demo", "langgraph", "replay", "none")


def test_a_run_that_passes(world: World) -> None:
    result = world.run()
    assert (result.outcome, result.error, result.attribution) == ("passed", None, None)
    assert result.verdict == Verdict(passed=True)
    assert result.metrics.wall_time_ms is not None
    assert result.metrics.wall_time_ms > 0
    assert result.versions == {"python": "3.11"}
    assert (result.seed, result.sweep_seed) == (7, None)
    folder = world.out / result.run_id
    assert json.loads((folder / "plan.json").read_text())["plan_id"] == "p"
    assert json.loads((folder / "adapter_trace.json").read_text())["source"] == "reference_plan"
    snapshots = [json.loads(line) for line in (folder / "execgo_snapshots.jsonl").read_text().splitlines()]
    assert [(row["task_id"], row["task"]["status"]) for row in snapshots] == [("first", "success"), ("second", "success")]
    assert [graph[0]["id"] for graph in world.kernel.submitted] == [f"{result.run_id}:one:first:1", f"{result.run_id}:two:second:1"]
    assert world.kernel.submitted[1][0]["input"] == {"message": True}, "bound from the stage before"


def test_the_verifier_sees_the_world_that_the_plan_left(world: World) -> None:
    seen: list[VerifierContext] = []
    world.expected = {"x": 1}

    def leave(_: object) -> None:
        next(world.out.glob("*/workspace")).joinpath("left.txt").write_text("here")

    world.kernel.on_submit = leave

    def verifier(context: VerifierContext) -> Verdict:
        seen.append(context)
        assert (context.workspace / "left.txt").read_text() == "here"
        assert (context.workspace / "out" / "report.json").read_text() == "{}", "the scenario's fixtures are laid out"
        return Verdict(passed=True, details={"n": 1})

    world.verifier = verifier
    result = world.run(replace(CELL, seed=99))
    assert result.outcome == "passed"
    assert result.verdict is not None
    assert result.verdict.details == {"n": 1}
    (context,) = seen
    assert (context.run_id, context.seed, context.expected) == (result.run_id, 99, {"x": 1})
    assert (result.seed, result.sweep_seed) == (99, 99)
    assert set(context.tasks) == {"first", "second"}
    assert context.plan.plan_id == "p"
    assert context.fixtures_url == "http://fixtures.test:1"


def test_a_verdict_that_says_no_fails_the_run_with_its_reasons(world: World) -> None:
    world.verifier = lambda _: Verdict(passed=False, reasons=["one", "two", "three", "four"])
    result = world.run()
    assert result.outcome == "failed"
    assert result.verdict is not None
    assert result.verdict.reasons == ["one", "two", "three", "four"]
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code, result.attribution.message) == (
        *("verifier", "verdict_failed", "one; two; three"),
    )
    assert world.listener.at(result.attribution.evidence[0]).event_type == "verdict_reached"
    (attributed,) = world.listener.events("failure_attributed")
    assert (attributed.layer, attributed.error_code) == ("verifier", "verdict_failed")


def test_an_assertion_in_the_verifier_is_a_failed_plan(world: World) -> None:
    def verifier(context: VerifierContext) -> Verdict:
        raise AssertionError("the report lacks a total")

    world.verifier = verifier
    result = world.run()
    assert result.outcome == "failed"
    assert result.verdict is not None
    assert result.verdict.reasons == ["the report lacks a total"]


def test_details_that_hold_odd_text_and_numbers_do_not_break_the_result(world: World) -> None:
    world.verifier = lambda _: Verdict(passed=True, details={"mean": float("nan"), "text": "half \ud800", "at": Path("x")})
    result = run_cell(CELL, world.parts())
    told = json.loads((world.out / result.run_id / "result.json").read_text("utf-8"))
    assert told["verdict"]["details"] == {"mean": None, "text": "half \ud800", "at": "x"}


def test_a_failing_stage_ends_the_run_before_the_next_one(world: World) -> None:
    world.kernel.envelopes = {"first": {"status": "failed", "error": "half \ud800", "runtime": {"error": {"code": "timeout"}}}}
    result = run_cell(CELL, world.parts())
    assert result.outcome == "failed"
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code) == ("kernel", "timeout")
    assert result.verdict is not None
    assert result.verdict.reasons == ["stage one, task first: half \ud800"]
    assert len(world.kernel.submitted) == 1
    assert world.listener.events("verdict_reached") == []
    assert json.loads((world.out / result.run_id / "result.json").read_text("utf-8"))["outcome"] == "failed"


def test_an_invalid_plan_fails_the_run_with_every_problem(world: World) -> None:
    world.plan["stages"][0]["task_graph"]["tasks"][0]["type"] = "shell"
    world.plan["surprise"] = 1
    result = world.run(rejected=True)
    assert result.outcome == "failed"
    assert result.attribution is not None
    assert (result.attribution.layer, result.attribution.code) == ("plan", "plan_invalid")
    rejected = world.listener.at(result.attribution.evidence[0])
    assert (rejected.event_type, len(rejected.problems)) == ("plan_rejected", 2)
    trace = json.loads((Path(result.artifacts.run_dir) / "adapter_trace.json").read_text())
    assert len(trace["problems"]) == 2
    assert trace["raw"]["stages"]
    assert world.records[0].plan_valid is False
    assert world.records[0].invalid_actions == 1
    assert (result.plan_digest, world.kernel.submitted) == (None, [])


@pytest.mark.parametrize(("before", "after", "allowed", "outcome"), [(5, 7, 2, "passed"), (5, 8, 2, "failed"), (0, 1, 0, "failed")])
def test_effects_beyond_the_budget_fail_the_run(world: World, before: int, after: int, allowed: int, outcome: str) -> None:
    world.effects.counts = [before, after]
    world.max_effects = allowed
    world.verifier = lambda _: Verdict(passed=True, details={"kept": 1})
    result = world.run()
    assert result.outcome == outcome
    over = max(after - before - allowed, 0)
    assert world.records[0].invalid_actions == over
    assert result.verdict is not None
    assert result.verdict.details == {"kept": 1}
    assert result.verdict.reasons == (
        [f"the plan applied {after - before} effects; the scenario's budget is {allowed}"] if over else []
    )


def test_repetitions_of_one_cell_share_digests_but_no_folder(world: World) -> None:
    first, second = world.run(), world.run()
    assert first.run_id != second.run_id
    assert first.plan_digest == second.plan_digest is not None
    assert first.outcome_digest == second.outcome_digest is not None
    world.verifier = lambda _: Verdict(passed=False)
    assert world.run().outcome_digest != first.outcome_digest
    world.plan["stages"][1]["task_graph"]["tasks"][0]["retry"] = 1
    assert world.run().plan_digest != first.plan_digest


def test_run_ids_are_never_the_same_and_fit_a_folder() -> None:
    long = Cell("s" * 120, "f" * 120, "replay", "none")
    ids = {new_run_id(long) for _ in range(200)}
    assert len(ids) == 200
    assert all(len(run_id) <= 120 for run_id in ids)
    assert "-demo-langgraph-" in new_run_id(CELL)


def test_known_hashes_of_artifacts_reach_the_figures(world: World) -> None:
    sha256 = hashlib.sha256(b"{}").hexdigest()
    world.expected = {"artifact_sha256": {"report": sha256}}
    world.run()
    assert world.records[0].known_hashes == world.records[0].artifact_hashes == {"report": sha256}
