"""What every framework's planner and reviewer are told; each framework says it in its own messages."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.planning import PlanningRequest

APPROVE = "APPROVE"
REVIEWER_LINE = "ROLE: reviewer"
REPAIR_LINE = "REPAIR:"


def planner_instructions(request: PlanningRequest) -> str:
    """Return a planner's system text: the scenario's prompt and constraints, the catalogue of tools, the plan's schema."""
    context = request.context
    parts = [
        context.prompt_pack.system.strip(),
        context.prompt_pack.constraints.strip(),
        f"# Given names\n\n`scenario_id`: {context.scenario_id}, `framework`: {context.framework}, `mode`: {context.mode}. "
        f"Allowed tools: {', '.join(context.allowed_tools)}. At most {context.max_tasks} tasks.",
        f"# Tool catalogue (what a task's `input` takes, as JSON Schema)\n\n{dumps(request.tools)}" if request.tools else "",
        f"# JSON Schema of a plan\n\n{dumps(request.plan_schema)}" if request.plan_schema else "",
    ]
    return "\n\n".join(part for part in parts if part)


def planning_order(request: PlanningRequest) -> str:
    """Return what a planner is asked for: the objective, the scenario's prompt and its input."""
    context = request.context
    parts = [
        f"Objective: {context.objective.strip()}" if context.objective.strip() else "",
        context.prompt_pack.user.strip(),
        f"# Input\n\n{dumps(context.scenario_input)}" if context.scenario_input else "",
        "Answer with the plan: one JSON object, nothing before or after it.",
    ]
    return "\n\n".join(part for part in parts if part)


def repair_order(problems: Iterable[str]) -> str:
    """Return the message that asks a planner to mend its plan."""
    lines = "\n".join(f"- {problem}" for problem in problems)
    return f"{REPAIR_LINE}\n{lines}\n\nAnswer with the whole plan, mended: one JSON object, nothing before or after it."


def reviewer_instructions(request: PlanningRequest) -> str:
    """Return a reviewer's system text."""
    context = request.context
    return (
        f"{REVIEWER_LINE}\n\nYou review plans for an execution kernel before they are run; you never write one yourself. "
        f"The objective is: {context.objective.strip()}\n\n"
        f"Allowed tools: {', '.join(context.allowed_tools)}; at most {context.max_tasks} tasks. Its form was checked already.\n\n"
        f"When the plan reaches the objective within these limits, answer with the one word {APPROVE}. Otherwise say in a few "
        "sentences what is wrong with it, and what would be right."
    )


def review_order(plan: str) -> str:
    """Return the message that shows a reviewer a plan."""
    return f"Review this plan:\n\n{plan}"
