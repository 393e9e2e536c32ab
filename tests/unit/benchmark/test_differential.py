"""Plans side by side: where they differ, and whether the outcome does."""

from __future__ import annotations

from typing import Any

from pytest_execgo.benchmark.differential import compare_plans
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult, PlanShape
from pytest_execgo.wiring.unrun import not_run

SHAPE = PlanShape(stages=2, tasks=3, bindings=1, tools={"os.file": 2, "os.http": 1})


def run(
    framework: str, shape: PlanShape | None = SHAPE, digest: str = "a", outcome: str = "passed", **cell: Any
) -> BenchmarkResult:
    made = Cell("demo", framework, "live", cell.get("chaos", "none"), cell.get("repetition", 0), 7)
    result = not_run(made, "error", "x")
    return result.model_copy(update={"plan_shape": shape, "plan_digest": digest, "outcome": outcome, "seed": 7})


def test_one_plan_for_all_differs_in_nothing() -> None:
    (found,) = compare_plans([run("langgraph"), run("crewai"), run("autogen")])
    assert (found.scenario_id, found.mode, found.seed) == ("demo", "live", 7)
    assert list(found.shapes) == ["autogen", "crewai", "langgraph"]
    assert (found.differ_in, found.outcomes_differ) == ([], False)


def test_what_differs_is_named() -> None:
    other = SHAPE.model_copy(update={"stages": 4, "tools": {"os.file": 3}})
    (found,) = compare_plans([run("langgraph"), run("crewai", other, "b", "failed")])
    assert (found.differ_in, found.outcomes_differ) == (["stages", "tools"], True)
    assert found.outcomes == {"crewai": "failed", "langgraph": "passed"}


def test_plans_of_one_shape_may_differ_in_details() -> None:
    (found,) = compare_plans([run("langgraph"), run("crewai", digest="b")])
    assert found.differ_in == ["details"]


def test_only_undisturbed_plans_of_the_same_repetition_are_compared() -> None:
    runs = [run("langgraph"), run("crewai", chaos="kernel_crash"), run("autogen", repetition=1), run("crewai", None)]
    assert compare_plans(runs) == []
