"""What the tests of executors with the real frameworks share. The frameworks are never imported by the tests' own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.optional import installed
from pytest_execgo.plan.executor import ExecutionContext

HERE = Path(__file__).parent
ENVIRONMENT = {"LANGSMITH_TRACING": "false", "LANGSMITH_TRACING_V2": "false"}


@pytest.fixture
def needs_metaflow() -> None:
    """Skip where Metaflow is missing."""
    if not installed("metaflow"):
        pytest.skip("metaflow is not installed: pip install 'pytest-execgo[metaflow]'")


@pytest.fixture
def needs_langgraph() -> None:
    """Skip where LangGraph is missing."""
    if not installed("langgraph"):
        pytest.skip("langgraph is not installed: pip install 'pytest-execgo[langgraph]'")


@pytest.fixture
def flows() -> Path:
    """The folder of the flows."""
    return HERE / "data/project/scenarios/squares/fixtures/flows"


@pytest.fixture
def context() -> Callable[..., ExecutionContext]:
    """Makes a context; its ids are `run-1` and `thread-1` unless said otherwise."""

    def make(**fields: Any) -> ExecutionContext:
        return ExecutionContext(**{"run_id": "run-1", "thread_id": "thread-1", **fields})

    return make


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., Any]:
    """Runs a case of a `*_driver.py` in a process of its own, in an empty folder, and returns the JSON that it printed."""

    def drive(name: str, case: str, *arguments: str) -> Any:
        command = [sys.executable, str(HERE / f"{name}_driver.py"), case, *arguments]
        env = {**os.environ, **ENVIRONMENT}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return drive
