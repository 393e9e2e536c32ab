"""The Protocol between the runner and a framework's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_execgo.plan.model import Mode, PlanContext, StandardPlan


@dataclass(frozen=True, slots=True)
class AdapterCapabilities:
    """What an adapter can do here. `native_version` is None when the framework is not installed."""

    framework: str
    modes: tuple[Mode, ...]
    native_version: str | None
    install_hint: str


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A plan and where it came from. `trace` becomes `adapter_trace.json`; token counts only where a provider reported them."""

    plan: StandardPlan
    trace: Mapping[str, Any]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Adapter(Protocol):
    """One agent framework."""

    @property
    def framework(self) -> str:
        """Name of the framework, as on the framework axis."""

    def capabilities(self) -> AdapterCapabilities:
        """Tell what is possible here, without importing the framework."""

    def replay(self, context: PlanContext, recording: Mapping[str, Any]) -> PlannedRun:
        """Normalise a recorded plan document; `PlanInvalid` lists every problem that can't be repaired."""

    def live(self, context: PlanContext) -> PlannedRun:
        """Let the framework plan; `Unsupported` where it can't."""
