"""Faults of the scripted model: what planners and reviewers get in place of a good answer."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from pytest_execgo.chaos.actions.checks import never_used, parameter_problems, parsed
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, FixturesControl, Surroundings, World
from pytest_execgo.plan.stack import Service
from pytest_execgo.plan.view import listed, view_plan

SCRIPTED = "mock"
"""The provider whose model can be told what to get wrong."""

PlanFault = Literal[
    "malformed_json",
    "truncated_json",
    "fenced_json",
    "prose_around_json",
    "hallucinated_tool",
    "wrong_dependency",
    "missing_binding",
    "wrong_schema_version",
    "injected",
    "duplicate_tool_call",
]
AnswerFault = Literal[
    "empty_choices",
    "refusal",
    "status_400",
    "status_401",
    "status_429",
    "status_500",
    "slow_first_byte",
    "stalled_stream",
    "dropped",
]
FaultName = Literal[PlanFault, AnswerFault]
"""Everything that the scripted model can get wrong, as the fixtures service calls it."""

OWN_PARAMETERS: Mapping[str, frozenset[str]] = {
    "hallucinated_tool": frozenset({"tool"}),
    "injected": frozenset({"does"}),
    "refusal": frozenset({"text", "plain"}),
    "status_429": frozenset({"seconds"}),
    "slow_first_byte": frozenset({"ms"}),
    "stalled_stream": frozenset({"ms", "chunks"}),
}
"""What goes with each fault, beside `count` and `role`; with the others, nothing does."""

BEFORE_PLANNING = "run_started"
"""The one event of a run after which a model is asked."""

_TRIGGER = f"{{phase: plan, event: {BEFORE_PLANNING}}}"
_OF_PLANS = frozenset(get_args(PlanFault))
_COMMON = frozenset({"fault", "count", "role"})


class ModelFaultOptions(Document):
    """An order for the scripted model (see `docs/live-planning.md`, which states the defaults of what is None here)."""

    fault: FaultName
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = 1
    role: Literal["planner", "reviewer", "any"] = "any"
    tool: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    does: Literal["effect", "tool"] | None = None
    text: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    plain: bool | None = None
    seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    ms: Annotated[int, Field(ge=0, le=600_000)] | None = None
    chunks: Annotated[int, Field(ge=0, le=10_000)] | None = None

    def order(self) -> dict[str, Any]:
        """Return it as the model's control plane takes it."""
        own = self.model_dump(exclude=set(_COMMON), exclude_none=True)
        return {"fault": self.fault, "count": self.count, "role": self.role, "parameters": own}


@dataclass(slots=True)
class Misled:
    """A fault of the model in force. `hits` are the answers that suffered from it, by role, once it was undone."""

    fixtures: FixturesControl
    role: str
    hits: Mapping[str, int]

    def undo(self) -> None:
        """Count, then let the model answer well."""
        try:
            self.hits = dict(self.fixtures.model_hits())
        finally:
            self.fixtures.set_model({})

    def observed(self) -> Mapping[str, Any]:
        """Tell how many answers suffered, as the service counted."""
        suffered = sum(count for role, count in self.hits.items() if self.role in ("any", role))
        return {"hit": suffered > 0, **self.hits}


@dataclass(frozen=True, slots=True)
class ModelFault:
    """What the scripted model gets wrong, for as long as it is told to."""

    model: type[ModelFaultOptions] = ModelFaultOptions
    targets: frozenset[str] = frozenset({"model"})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters, those of another fault too, and about a fault that nobody would suffer from."""
        found = parameter_problems(self.model, fault)
        if found:
            return found
        given = parsed(self.model, fault)
        own = OWN_PARAMETERS.get(given.fault, frozenset())
        takes = f"takes {', '.join(sorted(own))}" if own else "takes none but count and role"
        strange = sorted(fault.parameters.keys() - _COMMON - own)
        found += [f"parameters.{name}: {given.fault} {takes}" for name in strange]
        if given.fault in _OF_PLANS and given.role == "reviewer":
            found.append(f"parameters.role: {given.fault} spoils a plan, and a reviewer writes none; allowed: planner, any")
        if fault.trigger.event != BEFORE_PLANNING:
            found.append(f"trigger: a model is asked before there is a plan, and not again; allowed: {_TRIGGER}")
        return found

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a planning that asks the scripted model, and a plan that the fault can spoil."""
        if surroundings.mode == "replay":
            return "nobody asks a model in replay; use --execgo-mode live"
        if surroundings.provider != SCRIPTED:
            return f"only a scripted model does as it is told; use --execgo-provider {SCRIPTED}"
        given = parsed(self.model, fault)
        if given.fault == "missing_binding" and not _binds(surroundings.plan):
            return "the scenario's plan has no binding that could be missing"
        if given.fault == "injected" and given.does != "tool":
            return never_used(str(Service.FIXTURES), surroundings.plan)
        return None

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Let the next answers suffer."""
        given = parsed(self.model, fault)
        world.fixtures.set_model(given.order())
        return Misled(world.fixtures, given.role, {})


def _binds(plan: Mapping[str, Any]) -> bool:
    return any(listed(stage.raw.get("bindings")) for stage in view_plan(plan).stages)


MODEL_ACTIONS: dict[str, Action] = {"model_fault": ModelFault()}
"""Faults of the model by name."""
