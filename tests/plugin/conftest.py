"""A user's project with one small scenario, in a folder of its own."""

from __future__ import annotations

import http.cookiejar  # noqa: F401 - stays loaded, as `http` does: runs in this process forget what they import
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCENARIO = """\
id: hello
description: Write a greeting and read it back.
seed: 7
objective: Leave the file greeting.txt with the text hello.
prompt_pack: {system: system.md, user: user.md}
verifier: verifier.py:verify
allowed_tools: [os.file, os.shell, os.sleep, os.http]
artifacts: {greeting: greeting.txt}
reference_plan: reference_plan.json
"""

VERIFIER = """\
from pytest_execgo import Verdict


def verify(context):
    text = (context.workspace / "greeting.txt").read_text()
    return Verdict.of([] if text == "hello" else [f"greeting is {text!r}"], length=len(text))
"""


def greeting_plan(*more: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a plan of one stage that writes the greeting, then runs `more` tasks after it."""
    write = {"action": "write", "path": "${{ workspace }}/greeting.txt", "content": "hello"}
    tasks = [{"id": "greet", "type": "file", "params": write}, *({**task, "depends_on": ["greet"]} for task in more)]
    stage = {"stage_id": "write", "task_graph": {"tasks": tasks}, "expected_artifacts": ["greeting"]}
    names = {"plan_id": "p", "scenario_id": "hello", "framework": "reference", "mode": "replay"}
    return {**names, "stages": [stage], **changes}


class Project:
    """The project's folder, and how pytest is run in it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.scenario("hello")

    def scenario(self, name: str, *, text: str = SCENARIO, verifier: str = VERIFIER, plan: dict[str, Any] | None = None) -> Path:
        """Write a scenario's folder."""
        folder = self.path / "scenarios" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scenario.yaml").write_text(text.replace("id: hello", f"id: {name}"))
        (folder / "verifier.py").write_text(verifier)
        for prompt in ("system.md", "user.md"):
            (folder / prompt).write_text("Plan.")
        (folder / "reference_plan.json").write_text(json.dumps({**(plan or greeting_plan()), "scenario_id": name}))
        return folder

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run the matrix for one framework, unless the arguments say otherwise."""
        return self.pytester.runpytest("--execgo-matrix", "--execgo-framework=langgraph", *arguments)

    def run_plain(self, *arguments: str) -> pytest.RunResult:
        """Run pytest with just these arguments."""
        return self.pytester.runpytest(*arguments)

    def results(self) -> list[dict[str, Any]]:
        """Read every `result.json`."""
        return [json.loads(path.read_text()) for path in sorted(self.path.glob("var/runs/*/result.json"))]

    def summary(self) -> dict[str, Any]:
        """Read the latest summary."""
        document: dict[str, Any] = json.loads((self.path / "var/runs/benchmark-summary.json").read_text())
        return document


@pytest.fixture
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Give a project with the scenario `hello`."""
    addopts = os.environ["PYTEST_ADDOPTS"]
    pytester = request.getfixturevalue("pytester")  # takes that variable away
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    return Project(pytester)


MakePlan = Callable[..., dict[str, Any]]


@pytest.fixture
def plan() -> MakePlan:
    """Give the function that builds plans."""
    return greeting_plan
