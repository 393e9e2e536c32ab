"""What docs/executors.md shows, works, and it names every field and every option."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execgo.executors import ExecutionContext, ExecutionMode, ExecutionResult, ExecutionStatus, FlowExecutor

PAGE = (Path(__file__).parents[3] / "docs/executors.md").read_text()
SIMPLE, GRAPH, FLOW, RUN_FLOW, PLANNER = (0, 1, 2, 3, 4)

SCENARIO = """
id: total
description: d
seed: 1
objective: o
verifier: verifier.py:verify
allowed_tools: [os.noop]
reference_plan: reference_plan.json
"""
VERIFIER = """
from pytest_execgo import Verdict


def verify(context):
    told = context.tasks["total"].output["message"]
    return Verdict.of([] if told == "14" else [f"the flow told {told}"])
"""


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's flow."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/squares.py").write_text(blocks("python")[FLOW])
    return tmp_path


def run(folder: Path, *command: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_EXECGO_")}
    env |= {"LANGSMITH_TRACING": "false", "LANGSMITH_TRACING_V2": "false"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def test_callables(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", blocks("python")[SIMPLE]) == blocks("text")[0]


@pytest.mark.usefixtures("needs_langgraph")
def test_a_graph(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", blocks("python")[GRAPH]) == blocks("text")[1]


@pytest.mark.usefixtures("needs_metaflow")
def test_a_flow(folder: Path) -> None:
    assert run(folder, "-c", blocks("python")[RUN_FLOW]) == blocks("text")[2]
    assert sorted(path.name for path in folder.iterdir()) == ["flows", "kept"]


@pytest.mark.usefixtures("needs_metaflow")
def test_a_flow_as_a_command_says_what_the_page_says(folder: Path) -> None:
    (command,) = blocks("sh")
    told = json.loads(run(folder, *command.split()[1:]))
    assert told["output"]["total"] == 14
    page = PAGE.split("## A flow as a stage")[1]
    assert [name for name in told if f"`{name}`" not in page] == []


def test_the_task_is_a_task() -> None:
    from pytest_execgo.plan.validate import load_plan

    (task,) = [json.loads(block) for block in blocks("json")]
    stage = {"stage_id": "s", "task_graph": {"tasks": [task]}}
    plan = {"plan_id": "p", "scenario_id": "x", "framework": "f", "mode": "live", "stages": [stage]}
    assert load_plan(plan, allowed_tools=["runtime.command"], max_tasks=1).stages[0].stage_id == "s"


@pytest.mark.usefixtures("needs_metaflow")
def test_a_flow_as_a_planner(folder: Path) -> None:
    scenario = folder / "scenarios/total"
    scenario.mkdir(parents=True)
    (scenario / "scenario.yaml").write_text(SCENARIO)
    (scenario / "verifier.py").write_text(VERIFIER)
    (scenario / "reference_plan.json").write_text("{}")
    (folder / "conftest.py").write_text(blocks("python")[PLANNER])
    options = ["--execgo-matrix", "--execgo-mode=live", "--execgo-provider=mock", "--execgo-framework=squares_flow"]
    out = run(folder, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:langsmith_plugin", *options)
    assert "1 passed" in out, out


def test_every_field_option_and_value_is_on_the_page() -> None:
    names = [*ExecutionContext.model_fields, *ExecutionResult.model_fields, *ExecutionMode, *ExecutionStatus]
    names += [name for name in inspect.signature(FlowExecutor).parameters]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
