"""CrewAI: a plan is found in the crew's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.adapters.replay import ReplayAdapter


def _from_crew_output(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `json_dict` of a crew's output, or of its last task's output."""
    if isinstance(raw.get("json_dict"), Mapping):
        return raw["json_dict"]  # type: ignore[no-any-return]
    outputs = raw.get("tasks_output")
    last = outputs[-1] if isinstance(outputs, list) and outputs else None
    plan = last.get("json_dict") if isinstance(last, Mapping) else None
    return plan if isinstance(plan, Mapping) else None


adapter = ReplayAdapter("crewai", "crewai", "crewai", _from_crew_output)
