"""A run as spans: what lasted, from when to when, and within what. Traces, whatever their format, are written from these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.reporting.text import one_line

Kind = Literal["run", "plan", "stage", "submit", "wait", "conclude", "away", "task", "attempt", "fault", "restart"]
Status = Literal["ok", "failed", "unknown"]
Scalar = str | bool | int | float

TEXT = 300  # characters of one attribute


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasted, on the run's clock (ns). `key` identifies it within the run; `parent` is the key of what holds it."""

    key: str
    kind: Kind
    name: str
    start_ns: int
    end_ns: int
    status: Status
    parent: str | None
    attributes: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at once, on the run's clock (ns); `parent` is the key of the span that it belongs to."""

    name: str
    at_ns: int
    parent: str
    attributes: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Arrow:
    """One task waited for another: keys of their spans. `dependency` within a stage, `binding` from an earlier stage."""

    kind: Literal["dependency", "binding"]
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A task as the timeline shows it: seen at `at_ns` with that status, while its stage's span was `stage`."""

    wire_id: str
    task_id: str
    stage: str
    at_ns: int
    status: str


@dataclass(slots=True)
class RunTrace:
    """A whole run. `began_ns` is the wall time (ns since the epoch) at which its clock is 0; `attributes` say which run it is."""

    run_id: str
    began_ns: int
    attributes: dict[str, Scalar]
    spans: list[Span] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        """When the last of it was over."""
        return max((span.end_ns for span in self.spans), default=0)


def about_row(row: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return what a timeline's row carries, as plain values: texts are cut, lists and objects become JSON."""
    found: dict[str, Any] = {name: row.get(name) for name in ("seq", "status", "error_code", "stage_id", "task_id")}
    metadata = row.get("metadata")
    if isinstance(metadata, Mapping):
        found = {**metadata, **{name: value for name, value in found.items() if value is not None}}
    return {str(name): plain(value) for name, value in found.items() if value not in (None, [], {})}


def plain(value: object) -> Scalar:
    """Return a value as an attribute of a trace can hold it."""
    if isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    try:
        return one_line(value if isinstance(value, str) else dumps(value), TEXT)
    except ValueError:  # Python reads NaN and infinities from JSON, which has none
        return one_line(value, TEXT)
