"""What actions check alike: parameters against their model, durations, the moment, and what a plan ever touches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Surroundings
from pytest_execgo.plan.placeholders import placeholders_in
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.plan.stack import Capability, Service
from pytest_execgo.plan.view import view_plan

Parameters = TypeVar("Parameters", bound=Document)


class NoParameters(Document):
    """For an action that takes none."""


def parameter_problems(model: type[Document], fault: Fault) -> list[str]:
    """Say what is wrong with a fault's parameters, each sentence with its place: `parameters.rate: found …; allowed: …`."""
    problems = check_shape(model, fault.parameters)[2]
    return [f"parameters{problem.path[1:]}: {problem.message}" for problem in problems]


def parsed(model: type[Parameters], fault: Fault) -> Parameters:
    """Return a fault's parameters, which `parameter_problems` found nothing wrong with."""
    return model.model_validate(fault.parameters)


def duration_missing(fault: Fault, why: str) -> list[str]:
    """Complain about a fault without a duration that would never end by itself."""
    return [] if fault.duration_ms else [f"duration_ms: {fault.action} needs a duration of at least 1 ms: {why}"]


def duration_idle(fault: Fault, why: str) -> list[str]:
    """Complain about a duration that would mean nothing."""
    return [] if fault.duration_ms is None else [f"duration_ms: {fault.action} takes no duration: {why}"]


def missing(capability: Capability, surroundings: Surroundings) -> str | None:
    """Say that the backend lacks what an action needs; None when it has it."""
    if capability in surroundings.capabilities:
        return None
    return f"the backend can't {capability} a service"


def never_used(target: str, plan: Mapping[str, Any]) -> str | None:
    """Say that a plan never touches a service, or a leg of the network that leads to it; None when it does."""
    service = target.rpartition("-")[2]
    if service == Service.RUNTIME and not uses_runtime(plan):
        return "no task of the scenario's plan runs in the runtime"
    if service == Service.FIXTURES and "fixtures_url" not in placeholders_in(plan):
        return "the scenario's plan never talks to the fixtures service (${{ fixtures_url }} does not occur in it)"
    return None


def uses_runtime(plan: Mapping[str, Any]) -> bool:
    """Tell whether any task of a plan document runs in the runtime."""
    return any(task.raw.get("type") == "runtime" for stage in view_plan(plan).stages for task in stage.tasks)
