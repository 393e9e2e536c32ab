"""A plan without a problem, for tests to break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Document = dict[str, Any]


def noop(name: str, *depends_on: str) -> Document:
    return {"id": name, "type": "noop", "params": {"message": name}, "depends_on": list(depends_on)}


def good_plan() -> Document:
    run = {
        "id": "run",
        "type": "runtime",
        "timeout": 5000,
        "retry": 1,
        "input": {
            "execution": {
                "kind": "command",
                "program": "python3",
                "args": ["${{ workspace }}/a.py"],
                "env": {"SEED": "${{ seed }}"},
            }
        },
    }
    return {
        "plan_id": "p-1",
        "scenario_id": "codegen_exec",
        "framework": "langgraph",
        "mode": "replay",
        "stages": [
            {
                "stage_id": "collect",
                "task_graph": {"tasks": [noop("fetch"), noop("parse", "fetch"), noop("merge", "fetch", "parse")]},
            },
            {
                "stage_id": "execute",
                "task_graph": {
                    "tasks": [run, {"id": "save", "type": "os", "tool_name": "file", "input": {"action": "stat", "path": "/x"}}]
                },
                "bindings": [
                    {
                        "source_task_id": "fetch",
                        "source_path": "output.files.0",
                        "target_task_id": "run",
                        "target_param_path": "input.execution.env.FILE",
                    }
                ],
                "submit_policy": {"poll_interval_ms": 100, "max_attempts": 50, "stop_on_failure": True},
                "expected_artifacts": ["report", "out/report.json"],
            },
        ],
        "raw_trace_ref": None,
        "normalization_warnings": [],
    }


@pytest.fixture(scope="session")
def make_plan() -> Callable[[], Document]:
    """Makes a good plan, a new one at each call: stages collect (fetch, parse, merge) and execute (run, save), one binding."""
    return good_plan


@pytest.fixture
def plan() -> Document:
    """A good plan of this test's own."""
    return good_plan()
