"""What every adapter has in common: a plan, unwrapped by the adapter, normalised, with a trace that says where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.version import InvalidVersion, Version

from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.core.errors import Unsupported, UsageError
from pytest_execgo.plan.adapter import AdapterCapabilities, PlannedRun, Planning
from pytest_execgo.plan.model import PlanContext, StandardPlan
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, Recording
from pytest_execgo.plan.problems import invalid_file
from pytest_execgo.plan.shape import check_shape

TRACE_REF = "adapter_trace.json"
_OF_A_RECORDING = frozenset({"output", "plan_digest", "scenario_digest"})
Unwrap = Callable[[Mapping[str, Any]], Mapping[str, Any] | str | None]


@dataclass(frozen=True, slots=True)
class ReplayAdapter:
    """An adapter that only replays. `distribution` is the framework's own package, whose version is reported, never imported here.

    `unwrap` finds the plan (a document, or a text with one in it) in the framework's raw output, or returns None when the output
    is the document itself. Recordings of framework versions below `oldest` are refused (empty: none are).
    """

    framework: str
    distribution: str
    extra: str
    unwrap: Unwrap
    oldest: str = ""

    def capabilities(self) -> AdapterCapabilities:
        """Tell that there is replay, for which nothing has to be installed, and which version of the framework is."""
        return AdapterCapabilities(self.framework, ("replay",), installed_version(self.distribution), install_hint="")

    @property
    def install_hint(self) -> str:
        """The command that installs the framework, with what plans in it."""
        return f"pip install 'pytest-execgo[{self.extra}]'"

    def replay(self, context: PlanContext, recording: Mapping[str, Any]) -> PlannedRun:
        """Normalise what was planned before, with the same repairs as a live plan.

        It is a `Recording` document, this framework's raw output, or a plan document such as the scenario's reference plan; the
        trace's `source` says which. `UsageError` for a recording that can't be used.
        """
        recorded = self._recorded(recording)
        raw = recording if recorded is None else recorded.output.raw
        inner = self.unwrap(raw)
        plan = normalize(raw if inner is None else inner, context, trace_ref=TRACE_REF)
        source = "reference_plan" if recorded is None and (inner is None or inner is raw) else "recording"
        trace = self.traced("replay", source, plan, dict(raw))
        if recorded is None:
            return PlannedRun(plan, trace)
        whence = {name: getattr(recorded, name) for name in ("provider", "model", "recorded_at")}
        return PlannedRun(plan, {**trace, **whence, **made(recorded.output)}, planner_output=recorded.output)

    def live(self, context: PlanContext, planning: Planning) -> PlannedRun:
        """Refuse: this adapter does not let its framework plan."""
        raise Unsupported(
            "live_unsupported", f"the adapter of {self.framework} only replays, it can't plan live", "use --execgo-mode replay"
        )

    def planned(self, context: PlanContext, output: PlannerOutput) -> PlannedRun:
        """Return the plan that is in what a framework gave, live; `PlanningFailed` and `PlanInvalid` when none is."""
        inner = self.unwrap(output.raw)
        if inner is None:
            raise PlanningFailed("planner_no_plan", f"there is no plan in what {self.framework} gave")
        plan = normalize(inner, context, trace_ref=TRACE_REF)
        trace = {**self.traced("live", "live", plan, output.raw), **made(output)}
        return PlannedRun(plan, trace, planner_output=output)

    def traced(self, mode: str, source: str, plan: StandardPlan, raw: dict[str, Any]) -> dict[str, Any]:
        """Return what every trace has. `native_version` is what is installed here; what made the plan may be another one."""
        return {
            "framework": self.framework,
            "mode": mode,
            "source": source,
            "native_version": installed_version(self.distribution),
            "raw": raw,
            "normalization_warnings": plan.normalization_warnings,
        }

    def _recorded(self, document: Mapping[str, Any]) -> Recording | None:
        """Return the recording that a document is; None for one that is something else."""
        if not document.keys() >= _OF_A_RECORDING:
            return None
        recording, _, problems = check_shape(Recording, dict(document))
        if recording is None:
            raise invalid_file("recording", [str(problem) for problem in problems])
        if recording.output.framework != self.framework:
            said = f"the recording is one of {recording.output.framework}, and can't be replayed as {self.framework}"
            raise UsageError("recording_mismatch", said, "replay each framework's own recording")
        if self.oldest and _older(recording.output.framework_version, self.oldest):
            said = f"the recording was made with {self.framework} {recording.output.framework_version}"
            hint = f"record it again with {self.oldest} or newer (--execgo-mode live --execgo-record)"
            raise UsageError("recording_too_old", f"{said}, whose output this adapter does not read", hint)
        return recording


def _older(version: str, oldest: str) -> bool:
    """Tell whether a version lies below another one; what is no version is older than any."""
    try:
        return Version(version) < Version(oldest)
    except InvalidVersion:
        return True


def made(output: PlannerOutput) -> dict[str, Any]:
    """Return what a trace says of how a framework made its plan."""
    return {"framework_version": output.framework_version, "repairs": output.repairs, "native": output.trace}


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed package, without importing it; None if it isn't installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
