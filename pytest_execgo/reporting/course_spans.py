"""The course of a run as spans: its steps and stages, the faults that struck it, the services that came back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_execgo.reporting.run_clock import RunClock
from pytest_execgo.reporting.spans import TEXT, Kind, Moment, Scalar, Sighting, Span, Status, about_row
from pytest_execgo.reporting.text import one_line


class Course:
    """Reads a run's course off its timeline, row by row: steps, stages, faults, services, moments, and sightings of tasks."""

    def __init__(self, clock: RunClock) -> None:
        self.spans: list[Span] = []
        self.moments: list[Moment] = []
        self.sightings: list[Sighting] = []
        self.stages: dict[str, str] = {}
        """The span of the stage with which each task (its id in the kernel) was submitted."""
        self.applied: list[tuple[str, str, int]] = []
        """Bindings that carried a value: the source (a task's id and a path), the target task's id, when."""
        self._clock = clock
        self._stage: tuple[str, int, dict[str, Scalar]] | None = None
        self._submitted: int | None = None
        self._latest: dict[str, str] = {}
        self._faults: dict[object, list[tuple[str, int, dict[str, Scalar]]]] = {}
        self._done = self._last = 0
        self._handlers: dict[str, Callable[[Mapping[str, Any], int], None]] = {
            "plan_obtained": self._plan,
            "plan_rejected": self._plan,
            "stage_started": self._stage_started,
            "binding_applied": self._bound,
            "stage_submitted": self._stage_submitted,
            "submit_refused": self._submit_refused,
            "stage_finished": self._stage_finished,
            "task_observed": self._task_observed,
            "fault_injected": self._fault_injected,
            "fault_lifted": self._fault_lifted,
            "service_restarted": self._service_restarted,
            "run_resumed": self._run_resumed,
            "run_started": lambda row, at: None,
            "run_finished": self._run_finished,
        }

    def read(self, timeline: list[dict[str, Any]]) -> None:
        """Take all rows; what is still open at the end lasted until then."""
        for row, at in zip(timeline, self._clock.times, strict=True):
            kind = str(row.get("event_type"))
            self._handlers.get(kind, self._moment)(row, at)
            self._last = at
        self._close_stage(self._clock.end_ns, "unknown", cut=True)
        for waiting in self._faults.values():
            for key, start, about in waiting:
                self._add(key, "fault", _fault(about), start, self._clock.end_ns, "unknown", "run", {**about, "lifted": False})

    def _add(
        self, key: str, kind: Kind, name: str, start: int, end: int, status: Status, parent: str, about: dict[str, Scalar]
    ) -> None:
        self.spans.append(Span(key, kind, one_line(name, TEXT), start, max(end, start), status, parent, about))

    def _moment(self, row: Mapping[str, Any], at: int) -> None:
        parent = self._stage[0] if self._stage is not None and row.get("stage_id") is not None else "run"
        self.moments.append(Moment(one_line(row.get("event_type", "event"), TEXT), at, parent, about_row(row)))

    # -- steps ----------------------------------------------------------------------------------------------------------

    def _plan(self, row: Mapping[str, Any], at: int) -> None:
        self._close_stage(at, "unknown", cut=True)
        status: Status = "ok" if row.get("event_type") == "plan_obtained" else "failed"
        self._add(f"plan/{row.get('seq')}", "plan", "plan", self._done, at, status, "run", about_row(row))
        self._done = at

    def _stage_started(self, row: Mapping[str, Any], at: int) -> None:
        self._close_stage(at, "unknown", cut=True)
        key = f"stage/{row.get('seq')}"
        self._stage = (key, at, about_row(row))
        self._latest[str(row.get("stage_id"))] = key

    def _bound(self, row: Mapping[str, Any], at: int) -> None:
        metadata = row.get("metadata")
        source = str(metadata.get("source")) if isinstance(metadata, Mapping) else ""
        self.applied.append((source, str(row.get("task_id")), at))

    def _stage_submitted(self, row: Mapping[str, Any], at: int) -> None:
        if self._stage is not None:
            key, start, _ = self._stage
            self._add(f"{key}/submit", "submit", "submit", start, at, "ok", key, {})
            self._submitted = at
            metadata = row.get("metadata")
            wires = metadata.get("wire_ids") if isinstance(metadata, Mapping) else None
            self.stages.update((str(wire), key) for wire in (wires if isinstance(wires, list) else ()))

    def _submit_refused(self, row: Mapping[str, Any], at: int) -> None:
        if self._stage is not None:
            key, start, _ = self._stage
            self._add(f"{key}/submit", "submit", "submit", start, at, "failed", key, about_row(row))
            self._close_stage(at, "failed")

    def _stage_finished(self, row: Mapping[str, Any], at: int) -> None:
        if self._stage is not None:
            self._stage[2].update({name: value for name, value in about_row(row).items() if name not in ("seq", "stage_id")})
            self._close_stage(at, "ok" if row.get("status") == "ok" else "failed")

    def _close_stage(self, at: int, status: Status, *, cut: bool = False) -> None:
        if self._stage is None:
            return
        key, start, about = self._stage
        if self._submitted is not None:
            self._add(f"{key}/wait", "wait", "wait", self._submitted, at, status, key, {})
        more: dict[str, Scalar] = {"cut": True} if cut else {}
        self._add(key, "stage", f"stage {about.get('stage_id')}", start, at, status, "run", {**about, **more})
        self._stage, self._submitted, self._done = None, None, at

    def _task_observed(self, row: Mapping[str, Any], at: int) -> None:
        metadata = row.get("metadata")
        wire = metadata.get("wire_id") if isinstance(metadata, Mapping) else None
        stage = self._latest.get(str(row.get("stage_id")), "run")
        self.sightings.append(Sighting(str(wire), str(row.get("task_id")), stage, at, str(row.get("status"))))

    def _run_resumed(self, row: Mapping[str, Any], at: int) -> None:
        self._close_stage(self._last, "unknown", cut=True)
        self._add(f"away/{row.get('seq')}", "away", "cut short", self._last, at, "unknown", "run", about_row(row))
        self._done = at

    def _run_finished(self, row: Mapping[str, Any], at: int) -> None:
        self._close_stage(at, "unknown", cut=True)
        self._add("conclude", "conclude", "conclude", self._done, at, "ok", "run", {})
        self._done = at

    # -- chaos and services ---------------------------------------------------------------------------------------------

    def _fault_injected(self, row: Mapping[str, Any], at: int) -> None:
        about = about_row(row)
        self._faults.setdefault(about.get("fault"), []).append((f"fault/{row.get('seq')}", at, about))

    def _fault_lifted(self, row: Mapping[str, Any], at: int) -> None:
        about = about_row(row)
        waiting = self._faults.get(about.get("fault"))
        if not waiting:
            self._moment(row, at)
            return
        key, start, told = waiting.pop(0)
        status: Status = "ok" if row.get("status") == "ok" else "failed"
        self._add(key, "fault", _fault(told), start, at, status, "run", {**told, **about, "lifted": True})

    def _service_restarted(self, row: Mapping[str, Any], at: int) -> None:
        about = about_row(row)
        took = about.get("took_ms")
        start = max(at - int(took * 1e6), 0) if isinstance(took, int | float) and 0 <= took < 1e9 else at
        self._add(f"restart/{row.get('seq')}", "restart", f"restart {about.get('service')}", start, at, "ok", "run", about)


def _fault(about: Mapping[str, Scalar]) -> str:
    return f"{about.get('action')} {about.get('target')}"
