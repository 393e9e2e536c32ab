"""The validator that a framework's own loop uses: what is wrong with a model's answer, in the words that it is sent back with."""

from __future__ import annotations

from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.planning import PlanningFailed
from pytest_execgo.plan.problems import PlanInvalid

MOST_REPAIRS = 2
"""How often a framework has its model mend a plan; what is still wrong then is returned as it is."""

_MOST_PROBLEMS = 20


def problems_of(text: str, context: PlanContext) -> list[str]:
    """List what keeps a model's answer from being a plan for a context, after all repairs that need no model.

    An answer that refuses raises `PlanningFailed`: asking again is no repair.
    """
    try:
        normalize(text, context, trace_ref="")
    except PlanInvalid as invalid:
        lines = [str(problem) for problem in invalid.problems]
        more = len(lines) - _MOST_PROBLEMS
        return [*lines[:_MOST_PROBLEMS], *([f"… and {more} more"] if more > 0 else [])]
    except PlanningFailed as failed:
        if failed.code == "planner_refused":
            raise
        return [failed.message]
    return []
