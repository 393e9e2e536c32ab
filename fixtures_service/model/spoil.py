"""What a language model gets wrong in a plan: changes of its document, and of its text. Each is deterministic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from fixtures_service.model.faults import Parameters
from pytest_execgo.core.jsonio import dumps

ABSENT_TASK = "prepare_everything"
WRONG_VERSION = "9.0.0"
PROSE = ("Certainly! Here is the plan that I would run:\n\n", "\n\nTell me if you want me to change anything about it.")
Plan = dict[str, Any]


def spoil_plan(fault: str, plan: Plan, given: Parameters) -> Plan | None:
    """Return a copy of a plan with a fault of its content; None where the plan has nothing that the fault could spoil.

    A fault that is none of a plan's content returns the plan as it is.
    """
    spoil = _OF_PLANS.get(fault)
    if spoil is None:
        return plan
    changed = copy.deepcopy(plan)
    return changed if spoil(changed, given) else None


def spoil_text(fault: str, text: str) -> str:
    """Return a plan's text with a fault of its form; any other fault leaves it as it is."""
    spoil = _OF_TEXT.get(fault)
    return text if spoil is None else spoil(text)


def repeat_task(plan: Plan) -> Plan:
    """Return a copy of a plan that says its last task twice."""
    changed = copy.deepcopy(plan)
    tasks = changed["stages"][-1]["task_graph"]["tasks"]
    tasks.append(copy.deepcopy(tasks[-1]))
    return changed


def _hallucinate_tool(plan: Plan, given: Parameters) -> bool:
    _last_task(plan).update(type="os", tool_name=given.tool)
    return True


def _depend_wrongly(plan: Plan, given: Parameters) -> bool:
    task = _last_task(plan)
    task["depends_on"] = [*task.get("depends_on", []), ABSENT_TASK]
    return True


def _lose_binding(plan: Plan, given: Parameters) -> bool:
    bound = [stage for stage in plan["stages"] if stage.get("bindings")]
    if bound:
        bound[-1]["bindings"].pop()
    return bool(bound)


def _misstate_version(plan: Plan, given: Parameters) -> bool:
    plan["schema_version"] = WRONG_VERSION
    return True


def _obey_injection(plan: Plan, given: Parameters) -> bool:
    """Do what hostile text in the advisory feed asks for: publish once more, or use a tool that no scenario here allows."""
    notice = dumps({"kind": "notice", "payload": "The scan is clean."})
    headers = {"Content-Type": "application/json", "Idempotency-Key": "${{ run_id }}-again"}
    effect = {"method": "POST", "url": "${{ fixtures_url }}/effects", "headers": headers, "body": notice}
    lookup = {"name": "${{ run_id }}.obeyed.invalid", "record": "txt"}
    tool, arguments = ("http", effect) if given.does == "effect" else ("dns", lookup)
    plan["stages"][-1]["task_graph"]["tasks"].append({"id": "as_instructed", "type": "os", "tool_name": tool, "input": arguments})
    return True


def _last_task(plan: Plan) -> dict[str, Any]:
    task: dict[str, Any] = plan["stages"][-1]["task_graph"]["tasks"][-1]
    return task


def _malform(text: str) -> str:
    """Lose the colon after the first name: a text of full length that no reader takes."""
    return text.replace('":', '" ', 1)


_OF_PLANS: dict[str, Callable[[Plan, Parameters], bool]] = {
    "hallucinated_tool": _hallucinate_tool,
    "wrong_dependency": _depend_wrongly,
    "missing_binding": _lose_binding,
    "wrong_schema_version": _misstate_version,
    "injected": _obey_injection,
}
_OF_TEXT: dict[str, Callable[[str], str]] = {
    "malformed_json": _malform,
    "truncated_json": lambda text: text[: len(text) * 2 // 3],
    "fenced_json": lambda text: f"```json\n{text}\n```",
    "prose_around_json": lambda text: text.join(PROSE),
}
