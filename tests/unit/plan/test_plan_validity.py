"""How much of a plan is valid."""

from __future__ import annotations

import pytest

from pytest_execgo.plan.problems import Problem
from pytest_execgo.plan.validity import validity_of

PLAN = {
    "stages": [
        {"task_graph": {"tasks": [{"id": "a"}, {"id": "b"}]}},
        {"task_graph": {"tasks": [{"id": "c"}]}, "bindings": [{"source_task_id": "a"}]},
    ]
}
"""Seven parts: the plan, two stages, three tasks, a binding."""


def problem(path: str) -> Problem:
    return Problem(path, "x", "wrong")


@pytest.mark.parametrize(
    ("paths", "share"),
    [
        ([], 1.0),
        (["$.stages[0].task_graph.tasks[1].type"], 6 / 7),
        (["$.stages[0].task_graph.tasks[1].type", "$.stages[0].task_graph.tasks[1].id"], 6 / 7),
        (["$.stages[1].bindings[0].source_path", "$.stages[1].stage_id", "$.plan_id"], 4 / 7),
        (["$.stages[0].task_graph.tasks[10].type"], 6 / 7),
    ],
)
def test_a_part_with_problems_counts_once(paths: list[str], share: float) -> None:
    assert validity_of(PLAN, map(problem, paths)) == pytest.approx(share)


@pytest.mark.parametrize("document", [None, [], "plan", {"stages": 3}, {"stages": [None]}])
def test_what_is_no_plan_has_no_valid_part_but_those_it_has(document: object) -> None:
    assert 0 <= validity_of(document, [problem("$")]) < 1
