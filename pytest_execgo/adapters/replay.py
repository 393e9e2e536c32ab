"""What every adapter's replay has in common: a recorded plan, unwrapped by the adapter, normalised, with a trace that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.core.errors import Unsupported
from pytest_execgo.plan.adapter import AdapterCapabilities, PlannedRun
from pytest_execgo.plan.model import PlanContext

TRACE_REF = "adapter_trace.json"


@dataclass(frozen=True, slots=True)
class ReplayAdapter:
    """An adapter that replays. `distribution` is the framework's own package, whose version is reported, never imported here.

    `unwrap` finds the plan document in the framework's raw output, or returns None when the output is the document itself.
    """

    framework: str
    distribution: str
    extra: str
    unwrap: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]

    def capabilities(self) -> AdapterCapabilities:
        """Tell that replay works without the framework, and which version of it is installed."""
        return AdapterCapabilities(
            self.framework, ("replay",), _version(self.distribution), f"pip install 'pytest-execgo[{self.extra}]'"
        )

    def replay(self, context: PlanContext, recording: Mapping[str, Any]) -> PlannedRun:
        """Normalise a recording: this framework's raw output, or a plan document such as the scenario's reference plan."""
        inner = self.unwrap(recording)
        document = recording if inner is None else inner
        plan = normalize(document, context, trace_ref=TRACE_REF)
        trace = {
            "framework": self.framework,
            "mode": "replay",
            "source": "reference_plan" if inner is None else "recording",
            "native_version": _version(self.distribution),
            "raw": dict(recording),
            "normalization_warnings": plan.normalization_warnings,
        }
        return PlannedRun(plan, trace)

    def live(self, context: PlanContext) -> PlannedRun:
        """Refuse: no adapter of this version lets its framework plan."""
        raise Unsupported(
            "live_unsupported", f"live planning with {self.framework} is not part of this version", "use --execgo-mode replay"
        )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
