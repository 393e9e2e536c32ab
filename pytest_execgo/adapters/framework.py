"""An adapter whose framework plans live, in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pytest_execgo.adapters.replay import ReplayAdapter, installed_version
from pytest_execgo.core.errors import MissingDependency
from pytest_execgo.plan.adapter import AdapterCapabilities, PlannedRun, Planning
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.planning import PlanningRequest
from pytest_execgo.plan.schema import schema_of
from pytest_execgo.plan.tool_inputs import TOOL_INPUTS


@dataclass(frozen=True, slots=True)
class FrameworkAdapter(ReplayAdapter):
    """An adapter that replays, and plans live where `distribution` is installed.

    `planner` is what the pool calls: a built-in framework's name, or `module:function`.
    """

    planner: str = field(kw_only=True)

    def capabilities(self) -> AdapterCapabilities:
        """Tell which modes there are here, without importing the framework."""
        version = installed_version(self.distribution)
        return AdapterCapabilities(
            self.framework, ("replay",) if version is None else ("replay", "live"), version, self.install_hint
        )

    def live(self, context: PlanContext, planning: Planning) -> PlannedRun:
        """Let the framework plan in one of the pool's processes, and normalise what it gives.

        `MissingDependency` with the command that installs it; `PlanningFailed` and `PlanInvalid` when no plan came of it.
        """
        if installed_version(self.distribution) is None:
            raise MissingDependency("package_missing", f"{self.framework} is not installed", self.install_hint)
        request = planning_request(context, planning)
        output = planning.pool.plan(self.planner, request, planning.on_event)
        return self.planned(context, output)


def planning_request(context: PlanContext, planning: Planning) -> PlanningRequest:
    """Return what a planner's process gets: the context, what each allowed tool takes, a plan's schema, the model's place."""
    return PlanningRequest(
        context=context,
        tools={name: _tool_schema(name) for name in sorted({*context.allowed_tools} & {*TOOL_INPUTS})},
        plan_schema=_plan_schema(),
        model_url=planning.model_url,
        deadline_ms=planning.deadline_ms,
    )


@cache
def _tool_schema(name: str) -> dict[str, Any]:
    return TOOL_INPUTS[name].model_json_schema()


@cache
def _plan_schema() -> dict[str, Any]:
    return schema_of("standard_plan")
