"""Faults of the fixtures service's answers: late, failing, or hostile."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.chaos.actions.checks import never_used, parameter_problems, parsed
from pytest_execgo.chaos.fixture_layers import FixtureLayers, Layer
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings, World
from pytest_execgo.plan.stack import Service

Routes = Annotated[list[Literal["/advisories", "/effects"]], Field(min_length=1)]


class LatencyOptions(Document):
    """How long every answer is held back."""

    latency_ms: Annotated[int, Field(ge=1, le=60_000)]
    routes: Routes | None = None


class ErrorOptions(Document):
    """What requests get in place of an answer, which share of them, and how many at most."""

    error_mode: Literal["error_500", "error_503", "drop", "garbage"]
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    routes: Routes | None = None


class InjectionOptions(Document):
    """The hostile text that the feed's data holds; the service's own when absent."""

    text: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


def _late(given: LatencyOptions, draw: random.Random) -> dict[str, Any]:
    return {"latency_ms": given.latency_ms, "routes": given.routes}


def _failing(given: ErrorOptions, draw: random.Random) -> dict[str, Any]:
    fields = {"error_mode": given.error_mode, "error_rate": given.rate, "routes": given.routes, "seed": draw.getrandbits(32)}
    return fields if given.count is None else {**fields, "count": given.count}


def _hostile(given: InjectionOptions, draw: random.Random) -> dict[str, Any]:
    return {"inject": given.text or True, "routes": ["/advisories"]}


@dataclass(frozen=True, slots=True)
class Suffering:
    """A fault of the fixtures service in force."""

    layer: Layer

    def undo(self) -> None:
        """Take it out of the service's mode."""
        self.layer.lift()

    def observed(self) -> Mapping[str, Any]:
        """Tell how many requests suffered from it, as the service counted."""
        return {"hit": self.layer.hits() > 0, "requests": self.layer.hits()}


@dataclass(frozen=True, slots=True)
class FixtureFault:
    """One kind of fault of the fixtures service: `suffered` is what its hits are counted as, `fields` makes the mode's fields."""

    model: type[Document]
    suffered: str
    fields: Callable[[Any, random.Random], Mapping[str, Any]]
    targets: frozenset[str] = frozenset({str(Service.FIXTURES)})

    def problems(self, fault: Fault) -> list[str]:
        """Complain about parameters."""
        return parameter_problems(self.model, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a plan that talks to the service."""
        return never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Let requests suffer from now on."""
        fields = self.fields(parsed(self.model, fault), draw)
        return Suffering(FixtureLayers.over(world.fixtures).add(self.suffered, fields))


FIXTURE_ACTIONS: dict[str, Action] = {
    "fixture_latency": FixtureFault(LatencyOptions, "latency", _late),
    "fixture_error": FixtureFault(ErrorOptions, "error", _failing),
    "fixture_injection": FixtureFault(InjectionOptions, "inject", _hostile),
}
"""Faults of the fixtures service by name."""
