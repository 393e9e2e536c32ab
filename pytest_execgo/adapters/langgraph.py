"""LangGraph: a plan is found in the final state of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.adapters.replay import ReplayAdapter


def _from_state(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `plan` of a final state (`{"plan": …}`), bare or under `values` as a state snapshot has it."""
    state = raw.get("values", raw)
    plan = state.get("plan") if isinstance(state, Mapping) else None
    return plan if isinstance(plan, Mapping) else None


adapter = ReplayAdapter("langgraph", "langgraph", "langgraph", _from_state)
