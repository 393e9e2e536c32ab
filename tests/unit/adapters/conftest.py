"""A plan document and the context that it is made for."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_execgo.plan.model import PlanContext, PromptPack


@pytest.fixture
def context() -> PlanContext:
    return PlanContext(
        scenario_id="demo",
        framework="langgraph",
        mode="replay",
        seed=1,
        objective="do it",
        scenario_input={},
        prompt_pack=PromptPack(),
        allowed_tools=["os.noop", "os.file", "runtime.command"],
        max_tasks=5,
    )


@pytest.fixture
def document() -> dict[str, Any]:
    """A plan that needs no repair in `context`."""
    run = {"id": "run", "type": "runtime", "input": {"execution": {"kind": "command", "program": "true"}}, "depends_on": ["say"]}
    return {
        "plan_id": "p",
        "scenario_id": "demo",
        "framework": "langgraph",
        "mode": "replay",
        "stages": [{"stage_id": "one", "task_graph": {"tasks": [{"id": "say", "type": "noop"}, run]}}],
    }
