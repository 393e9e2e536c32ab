"""A sweep that is cut short goes on where it was: nothing is run again that was finished, nothing is counted twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider"]
ALONE = ["-p", "no:xdist"]

VERIFIER = """\
from pytest_execgo import Verdict


def verify(context):
    said = (context.workspace / "log").read_text().split()
    return Verdict.of([] if said[-1] == "three" else [f"the log ends with {said[-1]!r}"], said=said)
"""

MANIFEST = """\
id: NAME
description: Three stages, of which the second waits for a file.
seed: 1
objective: wait
prompt_pack: {system: p.md, user: p.md}
verifier: verifier.py:verify
allowed_tools: [os.shell]
reference_plan: plan.json
"""


def stage(name: str, script: str) -> dict[str, Any]:
    line = f"cd '${{{{ workspace }}}}' && echo {name} >> log && {script}"
    task = {"id": f"{name}-task", "type": "shell", "params": {"script": line}}
    policy = {"poll_interval_ms": 100, "max_attempts": 1200}
    return {"stage_id": name, "task_graph": {"tasks": [task]}, "submit_policy": policy}


class Project:
    """A folder with scenarios of three stages. The second stage of `slow` waits until `go` exists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.out = path / "var" / "runs"
        self.go = path / "go"
        self.scenario("quick", "true")
        self.scenario("slow", f"while [ ! -e '{self.go}' ]; do sleep 0.02; done")

    def scenario(self, name: str, second: str) -> None:
        folder = self.path / "scenarios" / name
        folder.mkdir(parents=True)
        names = {"plan_id": "p", "scenario_id": name, "framework": "reference", "mode": "replay"}
        stages = [stage("one", "true"), stage("two", second), stage("three", "true")]
        (folder / "plan.json").write_text(json.dumps({**names, "stages": stages}))
        (folder / "verifier.py").write_text(VERIFIER)
        (folder / "p.md").write_text("Plan.")
        (folder / "scenario.yaml").write_text(MANIFEST.replace("NAME", name))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a sweep; return it once as many runs of `slow` wait in their second stage as there are frameworks."""
        command = [*PYTEST, *arguments]
        process = subprocess.Popen(command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        waiting = max(1, sum("-n" in argument for argument in arguments) * 2)
        self.wait_for(lambda: len(self.in_second_stage()) >= waiting)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a sweep; return once its services are gone, too: until then they see what the test does next, and go on with it."""
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.wait_for(lambda: not lives_in(self.path))

    def in_second_stage(self) -> list[Path]:
        return [log.parents[1] for log in self.out.glob("*-slow-*/workspace/log") if log.read_text().split() == ["one", "two"]]

    def wait_for(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not true():
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.02)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*PYTEST, *arguments], cwd=self.path, capture_output=True, text=True, timeout=180, check=False)

    def summary(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.out / "benchmark-summary.json").read_text())
        return document

    def runs(self) -> list[str]:
        return sorted(path.parent.name for path in self.out.glob("*/run.json"))

    def sweeps(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.out.glob("sweeps/*/sweep.json"))]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def lives_in(folder: Path) -> bool:
    """Tell whether a process works in a folder or names it. A zombie does neither."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = place.joinpath("cmdline").read_bytes()
            if str(folder).encode() in line or place.joinpath("cwd").readlink().is_relative_to(folder):
                return True
    return False


def assert_whole(run: Path) -> None:
    """Every artifact is there, the timeline has every number once and tells of two lives, and nothing is left over."""
    assert {path.name for path in run.iterdir()} >= {"plan.json", "timeline.jsonl", "history.jsonl", "result.json", "summary.md"}
    assert not list(run.glob("*.partial"))
    rows = [json.loads(line) for line in (run / "timeline.jsonl").read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    types = [row["event_type"] for row in rows]
    assert types.count("run_finished") == 1
    assert types.count("run_started") + types.count("run_resumed") == 2  # without a plan, the second life begins anew


def test_a_killed_sweep_goes_on_in_the_same_runs(project: Project) -> None:
    project.kill(project.start(*ALONE, "--execgo-framework=langgraph,crewai"))
    (interrupted,) = project.in_second_stage()
    (before,) = project.sweeps()
    finished = [path for path in project.out.glob("*/result.json")]
    assert len(finished) == 2, "the quick ones were first"
    project.go.touch()

    resumed = project.run(*ALONE, "--execgo-framework=langgraph,crewai", "--execgo-resume")
    assert "4 passed" in resumed.stdout, resumed.stdout
    summary = project.summary()
    assert summary["sweep_id"] == before["sweep_id"]
    assert len({run["cell_id"] for run in summary["runs"]}) == len(summary["runs"]) == 4
    assert {run["run_id"] for run in summary["runs"]} == set(project.runs())
    assert {path.parent.name for path in finished} | {interrupted.name} <= set(project.runs())
    assert len(project.runs()) == 4
    assert (interrupted / "workspace/log").read_text().split() == ["one", "two", "two", "three"], "the first was not run again"
    assert_whole(interrupted)
    (result,) = [run for run in summary["runs"] if run["run_id"] == interrupted.name]
    assert result["resumed"] == 1
    assert project.sweeps()[0]["finished_at"] is not None

    again = project.run("--execgo-framework=langgraph", *ALONE, "--execgo-resume")
    assert "2 passed" in again.stdout, again.stdout
    assert len(project.sweeps()) == 2, "there was nothing to resume: a new sweep"


def test_what_was_judged_stays_judged(project: Project) -> None:
    plan = json.loads((project.path / "scenarios/quick/plan.json").read_text())
    plan["stages"][2]["task_graph"]["tasks"][0]["params"]["script"] = "exit 3"
    (project.path / "scenarios/quick/plan.json").write_text(json.dumps(plan))
    project.kill(project.start(*ALONE, "--execgo-framework=langgraph"))
    project.go.touch()
    resumed = project.run(*ALONE, "--execgo-framework=langgraph", "--execgo-resume")
    assert resumed.returncode == 1
    assert "1 failed, 1 passed" in resumed.stdout, resumed.stdout
    assert len(project.runs()) == 2
    assert {run["outcome"] for run in project.summary()["runs"]} == {"failed", "passed"}


def test_a_sweep_of_two_workers_goes_on_with_one(project: Project) -> None:
    project.kill(project.start("-n2", "--execgo-scenario=slow", "--execgo-framework=langgraph,crewai"))
    interrupted = {path.name for path in project.in_second_stage()}
    assert len(interrupted) == 2
    project.go.touch()
    resumed = project.run(*ALONE, "--execgo-scenario=slow", "--execgo-framework=langgraph,crewai", "--execgo-resume")
    assert "2 passed" in resumed.stdout, resumed.stdout
    assert set(project.runs()) == interrupted == {run["run_id"] for run in project.summary()["runs"]}
    assert len(project.sweeps()) == 1


DEADLY = """\
import os, signal
from pytest_execgo.observability.artifacts import TimelineWriter

consume = TimelineWriter.consume


def die(writer, stamped):
    consume(writer, stamped)
    if stamped.seq == LINES:
        os.kill(os.getpid(), signal.SIGKILL)


TimelineWriter.consume = die
"""


@pytest.mark.parametrize("lines", [1, 4, 8, 12])
def test_a_run_goes_on_wherever_it_was_killed(project: Project, lines: int) -> None:
    project.scenario("steady", "sleep 0.3")
    (project.path / "conftest.py").write_text(DEADLY.replace("LINES", str(lines)))  # its next life has other numbers
    arguments = [*ALONE, "--execgo-scenario=steady", "--execgo-framework=langgraph"]
    assert project.run(*arguments).returncode == -signal.SIGKILL
    (run,) = project.runs()
    resumed = project.run(*arguments, "--execgo-resume")
    assert "1 passed" in resumed.stdout, resumed.stdout
    assert project.runs() == [run]
    said = (project.out / run / "workspace/log").read_text().split()
    assert said[0] == "one"
    assert sorted(dict.fromkeys(said), key=said.index) == ["one", "two", "three"]
    assert_whole(project.out / run)


def test_what_ctrl_c_broke_off_goes_on_too(project: Project) -> None:
    process = project.start(*ALONE, "--execgo-scenario=slow", "--execgo-framework=langgraph")
    (run,) = project.in_second_stage()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert json.loads((run / "result.json").read_text())["outcome"] == "inconclusive"
    project.go.touch()
    resumed = project.run(*ALONE, "--execgo-scenario=slow", "--execgo-framework=langgraph", "--execgo-resume")
    assert "1 passed" in resumed.stdout, resumed.stdout
    assert project.runs() == [run.name]
    assert (run / "result.1.json").is_file()
    assert [row["outcome"] for row in project.summary()["runs"]] == ["passed"]


def test_a_run_that_can_not_go_on_is_left_and_its_cell_run_anew(project: Project) -> None:
    project.kill(project.start(*ALONE, "--execgo-scenario=slow", "--execgo-framework=langgraph"))
    (run,) = project.in_second_stage()
    project.go.touch()
    for stack in project.out.glob("stacks/*"):
        shutil.rmtree(stack)
    resumed = project.run(*ALONE, "--execgo-scenario=slow", "--execgo-framework=langgraph", "--execgo-resume")
    assert "1 passed" in resumed.stdout, resumed.stdout
    assert "not there any more" in json.loads((run / "abandoned.json").read_text())["reason"]
    assert not (run / "result.json").exists()
    (result,) = project.summary()["runs"]
    assert result["run_id"] != run.name
    assert result["resumed"] == 0


def test_the_command_line_resumes_a_sweep(project: Project, command_line: Any) -> None:
    project.kill(project.start(*ALONE, "--execgo-framework=langgraph"))
    project.go.touch()
    resumed = command_line("benchmark", "--framework", "langgraph", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "1 runs are finished, 1 were cut short" in resumed.stdout
    assert "2 cells: 2 passed" in resumed.stdout
    assert len(project.runs()) == 2


def test_one_run_is_looked_at_resumed_and_set_back(project: Project, command_line: Any) -> None:
    project.kill(project.start(*ALONE, "--execgo-scenario=slow", "--execgo-framework=crewai"))
    (run,) = project.in_second_stage()
    listed = command_line("runs", "list")
    assert listed.returncode == 0
    assert f"{run.name}  slow[crewai-replay-none-0]  interrupted  2" in listed.stdout
    shown = command_line("runs", "show", run.name)
    assert "1 of 3 stages  stage one  1 success" in shown.stdout, shown.stdout
    project.go.touch()
    resumed = command_line("runs", "resume", run.name)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "passed       slow[crewai-replay-none-0]" in resumed.stdout
    assert (run / "workspace/log").read_text().split() == ["one", "two", "two", "three"]

    for command in ("resume", "rollback"):
        refused = command_line("runs", command, f"{run.name}x")
        assert refused.returncode == 2
        assert "unknown run" in refused.stderr
    refused = command_line("runs", "resume", run.name)
    assert refused.returncode == 2
    assert "has ended: passed" in refused.stderr

    back = command_line("runs", "rollback", run.name)
    assert back.returncode == 0, back.stderr
    assert "back at" in back.stdout
    assert (run / "result.1.json").is_file()
    assert f"{run.name}  slow[crewai-replay-none-0]  interrupted" in command_line("runs", "list").stdout
    resumed = command_line("runs", "resume", run.name)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert (run / "workspace/log").read_text().split() == ["one", "two", "two", "three", "three"], "the last stage ran again"
    assert json.loads((run / "result.json").read_text())["resumed"] == 2
    assert os.listdir(run).count("result.1.json") == 1  # noqa: PTH208
