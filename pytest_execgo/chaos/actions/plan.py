"""Faults of the plan itself, done to its document before it is checked: what a language model gets wrong."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from pytest_execgo.chaos.actions.checks import duration_idle, parameter_problems, parsed
from pytest_execgo.core.jsonvalue import shortened
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import PlanAction, Surroundings
from pytest_execgo.plan.view import PlanView, StageView, TaskView, listed, view_plan

PLAN = "plan"
UNDECLARED_TOOL = "undeclared_tool"
ABSENT_TASK = "absent_task"
ABSENT_FIELD = "absent_field"
_SLOW = ("runtime", "sleep")


class InStage(Document):
    """Which stage is struck; drawn when absent."""

    stage_id: Annotated[str, Field(min_length=1)] | None = None


class InTask(InStage):
    """Which task is struck, and in which stage; drawn among those that fit when absent."""

    task_id: Annotated[str, Field(min_length=1)] | None = None


class Budget(InStage):
    """The budget that a stage is left with, in milliseconds."""

    budget_ms: Annotated[int, Field(ge=1, le=60_000)] = 1


Given = TypeVar("Given", bound=InStage)
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class PlanFault(Generic[Given, Place]):
    """One kind of fault of a plan: `places` finds what it could strike, `change` changes one in place and says how.

    `lacking` says what a plan without such a place is without.
    """

    model: type[Given]
    places: Callable[[PlanView, Given], list[Place]]
    change: Callable[[PlanView, Place, Given], str]
    lacking: str

    def problems(self, fault: Fault) -> list[str]:
        """Return what is wrong with the fault's parameters, duration or trigger."""
        trigger = fault.trigger
        moment = trigger.phase == "plan" and trigger.event is None and trigger.delay_ms == 0
        late = [] if moment else [f"trigger: {fault.action} strikes the plan before it is checked; allowed: {{phase: plan}} alone"]
        return parameter_problems(self.model, fault) + late + duration_idle(fault, "the plan stays as it is for the whole run")

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Say that the scenario's plan has nothing that the fault could strike."""
        given = parsed(self.model, fault)
        if self.places(view_plan(surroundings.plan), given):
            return None
        named = ", ".join(f"{name} {value!r}" for name, value in fault.parameters.items() if name in ("stage_id", "task_id"))
        return f"the scenario's plan has no {self.lacking}" + (f" with {named}" if named else "")

    def disturb(self, fault: Fault, plan: Mapping[str, Any], draw: random.Random) -> tuple[dict[str, Any], str] | None:
        """Return a changed copy of the plan, and what was changed."""
        given = parsed(self.model, fault)
        changed = copy.deepcopy(dict(plan))
        view = view_plan(changed)
        places = self.places(view, given)
        if not places:
            return None
        return changed, self.change(view, draw.choice(places), given)


def _stages(view: PlanView, given: InStage) -> list[StageView]:
    return [stage for stage in view.stages if given.stage_id in (None, stage.id)]


def _tasks(view: PlanView, given: InTask) -> list[TaskView]:
    return [task for stage in _stages(view, given) for task in stage.tasks if task.id and given.task_id in (None, task.id)]


def _untool(view: PlanView, task: TaskView, given: InTask) -> str:
    used, task.raw["type"] = task.raw.get("type"), UNDECLARED_TOOL
    return f"task {_name(task.id)} uses the tool {UNDECLARED_TOOL!r} instead of {shortened(str(used), 40)!r}"


def _depend(view: PlanView, task: TaskView, given: InTask) -> str:
    absent = ABSENT_TASK
    while absent in view.tasks:
        absent += "_"
    task.raw["depends_on"] = [*listed(task.raw.get("depends_on")), absent]
    return f"task {_name(task.id)} depends on {absent!r}, which does not exist"


def _bindings(view: PlanView, given: InTask) -> list[dict[str, Any]]:
    """Return the required bindings whose target fits."""
    return [
        binding
        for stage in _stages(view, given)
        for binding in listed(stage.raw.get("bindings"))
        if isinstance(binding, dict)
        and binding.get("required", True) is True
        and given.task_id in (None, binding.get("target_task_id"))
    ]


def _unbind(view: PlanView, binding: dict[str, Any], given: InTask) -> str:
    binding["source_path"] = f"output.{ABSENT_FIELD}"
    target = f"{binding.get('target_task_id')}.{binding.get('target_param_path')}"
    source = _name(binding.get("source_task_id"))
    return f"the binding to {_name(target)} takes {binding['source_path']!r} of {source}, which is not there"


def _slow_stages(view: PlanView, given: InStage) -> list[StageView]:
    """Return the stages that surely take longer than a moment: those that start a command in the runtime, or sleep."""
    return [stage for stage in _stages(view, given) if any(map(_slow, stage.tasks))]


def _slow(task: TaskView) -> bool:
    kind = task.raw.get("type")
    return (task.raw.get("tool_name") if kind == "os" else kind) in _SLOW


def _starve(view: PlanView, stage: StageView, given: Budget) -> str:
    policy = stage.raw.get("submit_policy")
    kept = policy if isinstance(policy, dict) else {}
    stage.raw["submit_policy"] = {**kept, "poll_interval_ms": 1, "max_attempts": given.budget_ms}
    return f"stage {_name(stage.id)} has a budget of {given.budget_ms} ms"


def _name(name: object) -> str:
    return repr(shortened(str(name), 80))


PLAN_ACTIONS: dict[str, PlanAction] = {
    "invalid_tool": PlanFault(InTask, _tasks, _untool, "task"),
    "bad_dependency": PlanFault(InTask, _tasks, _depend, "task"),
    "missing_binding": PlanFault(InTask, _bindings, _unbind, "required binding"),
    "timeout_budget": PlanFault(Budget, _slow_stages, _starve, "stage that runs longer than a moment"),
}
"""Faults of the plan by name."""
