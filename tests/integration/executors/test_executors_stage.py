"""A flow as a command: `flow run` by hand, and as a stage of a scenario on the embedded stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("needs_metaflow")


def flow_run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_execgo", "flow", "run", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def test_it_prints_one_json_object(flows: Path, tmp_path: Path) -> None:
    parameters = ["--param", "count=3", "--param", "pet-name=007", "--param", 'weights={"2": 3}']
    done = flow_run(tmp_path, str(flows / "squares.py"), *parameters, "--max-workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["status"], told["error"]) == ("succeeded", None)
    assert told["output"]["summary"] == "007: 13"
    assert told["output"]["squares"] == [0, 1, 12]
    assert told["steps"]["square"] == {"status": "succeeded", "tasks": 3}
    assert list(tmp_path.iterdir()) == []


def test_a_failing_flow_is_told_and_ends_with_1(flows: Path, tmp_path: Path) -> None:
    done = flow_run(tmp_path, str(flows / "faulty.py"), "--param", "how=raise")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["output"]) == (1, "failed", None)
    assert told["exceptions"][0]["message"] == "item 2 is too odd"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.py"], "there is no flow file 'nope.py'"),
        (["{flows}/squares.py", "--param", "count"], "is no NAME=VALUE"),
        (["{flows}/squares.py", "--param", "count=many"], "parameter 'count': many is not a valid integer"),
        (["{flows}/squares.py", "--param", "counts=1"], "did you mean 'count'?"),
        (["{flows}/squares.py", "--max-workers", "0"], "must be at least 1"),
    ],
)
def test_mistakes_are_one_clear_error(arguments: list[str], said: str, flows: Path, tmp_path: Path) -> None:
    done = flow_run(tmp_path, *(argument.format(flows=flows) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_is_a_flow_passes_and_its_verifier_judges(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(Path(__file__).parent / "data/project", project, ignore=shutil.ignore_patterns("__pycache__"))
    assert "1 passed" in sweep(project)
    told = json.loads(next(project.glob("var/runs/*/result.json")).read_text())
    assert told["verdict"]["details"] == {"total": 30}
    plan = project / "scenarios/squares/reference_plan.json"
    plan.write_text(plan.read_text().replace("count=5", "count=6"))
    assert "the flow told" in (out := sweep(project)), out
    plan.write_text(plan.read_text().replace("count=6", "cuont=6"))
    assert "did you mean 'count'?" in (out := sweep(project)), out


def sweep(project: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:langsmith_plugin"]
    command += ["--execgo-matrix", "--execgo-framework=langgraph"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_EXECGO_")}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr
