"""One line of a run's `timeline.jsonl`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pytest_execgo.plan.base import Document


class TimelineEvent(Document):
    """Something that happened in a run. `seq` counts from 1; `timestamp` is RFC 3339 in UTC; `monotonic_ns` orders and measures."""

    run_id: str
    seq: int
    timestamp: str
    monotonic_ns: int
    phase: str
    event_type: str
    status: str
    framework: str
    scenario_id: str
    stage_id: str | None = None
    task_id: str | None = None
    error_code: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
