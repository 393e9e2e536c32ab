"""Is a document a plan that can be executed? Every problem at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Collection

from pytest_execgo.plan.check_bindings import check_bindings
from pytest_execgo.plan.check_graph import check_dependencies, check_ids
from pytest_execgo.plan.check_inputs import check_inputs
from pytest_execgo.plan.check_tools import check_artifacts, check_limits, check_placeholders, check_tools
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.problems import PlanInvalid, Problem, Suggester
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.plan.validity import validity_of
from pytest_execgo.plan.view import view_plan

_DIGITS = re.compile(r"([0-9]+)")


def check_plan(document: object, *, allowed_tools: Collection[str] | None = None, max_tasks: int | None = None) -> list[Problem]:
    """List everything that keeps a document from being executed as a plan; an empty list for a good one.

    `document` is any JSON value. `allowed_tools` and `max_tasks` are the scenario's, None where they don't matter. Problems of
    shape don't hide others: the parts that are well-formed are checked for sense too. Sorted by place. Nothing is raised,
    whatever the document holds.
    """
    return _check(document, allowed_tools, max_tasks)[1]


def load_plan(document: object, *, allowed_tools: Collection[str] | None = None, max_tasks: int | None = None) -> StandardPlan:
    """Return the plan that a document holds, else raise `PlanInvalid` with every problem (see `check_plan`)."""
    plan, problems = _check(document, allowed_tools, max_tasks)
    if plan is None or problems:
        raise PlanInvalid(problems, validity_of(document, problems))
    return plan


def _check(
    document: object, allowed_tools: Collection[str] | None, max_tasks: int | None
) -> tuple[StandardPlan | None, list[Problem]]:
    plan, clean, problems = check_shape(StandardPlan, document)
    view, suggest = view_plan(clean), Suggester()
    problems += check_ids(view)
    problems += check_dependencies(view, suggest)
    problems += check_tools(view, allowed_tools, suggest)
    problems += check_bindings(view, suggest)
    problems += check_placeholders(view, suggest)
    problems += check_limits(view, max_tasks)
    problems += check_artifacts(view)
    problems += check_inputs(view, {problem.path for problem in problems}, suggest)
    return plan, sorted(problems, key=_order)


def _order(problem: Problem) -> list[str | int]:
    """Sort by place, the numbers in it as numbers; text and numbers alternate, so that like is compared with like."""
    return [int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(problem.path))]
