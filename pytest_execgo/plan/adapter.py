"""The Protocol between the runner and a framework's adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_execgo.plan.model import Mode, PlanContext, StandardPlan
from pytest_execgo.plan.planning import PlannerOutput, PlanningRequest

Said = Callable[[Mapping[str, Any]], None]
"""Is told what a planner says while it plans: JSON objects with a `name`."""


@dataclass(frozen=True, slots=True)
class AdapterCapabilities:
    """What an adapter can do here. `native_version` is None when the framework is not installed.

    `install_hint` is the command that installs what live planning needs; empty for an adapter that only replays.
    """

    framework: str
    modes: tuple[Mode, ...]
    native_version: str | None
    install_hint: str


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A plan and where it came from. `trace` becomes `adapter_trace.json`; token counts only where a provider reported them.

    `planner_output` is what the plan was made of, where a framework made it: of a live planning, or of a recording of one.
    """

    plan: StandardPlan
    trace: Mapping[str, Any]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    planner_output: PlannerOutput | None = None


class PlannerPool(Protocol):
    """Processes in which frameworks plan."""

    def plan(self, framework: str, request: PlanningRequest, on_event: Said) -> PlannerOutput:
        """Let a framework plan in a process of its own; `PlanningFailed` when no plan comes of it.

        `framework` is one of the built-in ones, or `module:function` of somebody else's planner, a
        `function(request: PlanningRequest, say: Said) -> PlannerOutput`.
        """


@dataclass(frozen=True, slots=True)
class Planning:
    """What an adapter gets for one live planning, beside its context.

    `model_url` is the base URL of an OpenAI-compatible service (it ends in `/v1`; any key will do) which is there for this one
    planning; `deadline_ms` is the time for all of it. `pool` lends a process to plan in, for those who want one.
    """

    model_url: str
    deadline_ms: int
    pool: PlannerPool
    on_event: Said = lambda event: None


@runtime_checkable
class Adapter(Protocol):
    """One agent framework."""

    @property
    def framework(self) -> str:
        """Name of the framework, as on the framework axis."""

    def capabilities(self) -> AdapterCapabilities:
        """Tell what is possible here, without importing the framework."""

    def replay(self, context: PlanContext, recording: Mapping[str, Any]) -> PlannedRun:
        """Normalise what was planned before: a `Recording`, the framework's own output, or a plan document.

        `PlanInvalid` lists every problem that can't be repaired; `PlanningFailed` when there is no plan in it.
        """

    def live(self, context: PlanContext, planning: Planning) -> PlannedRun:
        """Let the framework plan; `PlanningFailed`, `PlanInvalid`, or `Unsupported` where it can't."""
