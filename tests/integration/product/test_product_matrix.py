"""The main job on the built-in scenarios, from an empty folder, on each backend that needs nothing from outside."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = {"codegen_exec", "vuln_scan", "multi_step_agent", "long_chain_dag"}
PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider"]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTEST, *arguments], cwd=folder, capture_output=True, text=True, timeout=180, check=False)


def read_summary(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "var/runs/benchmark-summary.json").read_text())
    return document


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
def test_twelve_cells_pass(tmp_path: Path, mode: list[str]) -> None:
    finished = run_pytest(tmp_path, *mode, "--junitxml=j.xml", "--html=r.html", "--self-contained-html")
    assert finished.returncode == 0, finished.stdout
    assert "12 passed" in finished.stdout
    summary = read_summary(tmp_path)
    assert {run["scenario_id"] for run in summary["runs"]} == SCENARIOS
    for run in summary["runs"]:
        assert run["outcome"] == "passed"
        assert run["metrics"]["critical_path_ms"] > 0
        assert run["metrics"]["submit_accept_rate"] == 1.0
        assert Path(run["artifacts"]["run_dir"], "timeline.jsonl").is_file()
        assert run["metrics"]["artifact_hash_match"] == (1.0 if run["scenario_id"] == "vuln_scan" else None)


def test_the_command_line_gives_the_same_results(tmp_path: Path, command_line: Any) -> None:
    finished = command_line("benchmark", "--framework", "langgraph", "--framework", "crewai", "--mode", "replay", "--chaos", "none")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "8 cells: 8 passed" in finished.stdout
    (path,) = {path.parent for path in tmp_path.glob("var/runs/*codegen_exec-crewai*/result.json")}
    assert {"plan.json", "timeline.jsonl", "summary.md"} <= {file.name for file in path.iterdir()}
    run = command_line("run", "--scenario", "multi_step_agent", "--framework", "autogen", "--mode", "replay", "--chaos", "none")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "artifacts: " in run.stdout


def test_the_command_line_explains_mistakes(command_line: Any) -> None:
    for arguments, said in (
        (["run", "--scenario", "codegen"], "unknown scenario 'codegen'"),
        (["run", "--scenario", "codegen_exec"], "`run` takes one"),
        (["bench"], "error: unknown command 'bench'\n  hint: did you mean 'benchmark'?"),
        (["benchmark", "--repeat", "0"], "error: --repeat: '0' can't be used"),
        (["benchmark", "--base-image", "own:1"], "--base-image does not go with backend 'embedded'"),
        (["benchmark", "--backend", "native"], "needs the kernel's binary"),
        (["benchmark", "--out", "/dev/null/runs"], "can't write to /dev/null/runs"),
    ):
        finished = command_line(*arguments)
        assert finished.returncode == 2
        assert said in finished.stderr
        assert "Traceback" not in finished.stderr
        assert "usage:" not in finished.stderr, "the error is what is to be seen"


def test_one_bad_scenario_is_told_before_anything_runs(tmp_path: Path, command_line: Any) -> None:
    for name in ("bad", "worse"):
        (tmp_path / "scenarios" / name).mkdir(parents=True)
        (tmp_path / "scenarios" / name / "scenario.yaml").write_text(f"id: {name}\n")
    finished = command_line("benchmark", "--scenario", "bad,worse,codegen_exec")
    assert finished.returncode == 2
    assert "bad/scenario.yaml" in finished.stderr
    assert "worse/scenario.yaml" in finished.stderr
    assert not (tmp_path / "var").exists()


def test_a_stack_that_dies_at_start_still_leaves_a_summary(tmp_path: Path, command_line: Any) -> None:
    finished = command_line("benchmark", "--scenario", "codegen_exec", "--backend", "native", "--bin", "/bin/false")
    assert finished.returncode == 3
    assert read_summary(tmp_path)["totals"]["error"] == 3


def test_a_given_binary_can_be_the_kernel(tmp_path: Path) -> None:
    binary = tmp_path / "execgo"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pytest_execgo serve kernel "$@"\n')
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    finished = run_pytest(tmp_path, "--execgo-backend=native", f"--execgo-bin={binary}", "--execgo-framework=crewai")
    assert "4 passed" in finished.stdout, finished.stdout
    assert {run["backend"] for run in read_summary(tmp_path)["runs"]} == {"native"}


def test_a_stack_that_already_runs_can_be_used(tmp_path: Path, command_line: Any, free_ports: list[int]) -> None:
    kernel, runtime, fixtures = map(str, free_ports)
    up = command_line("harness", "up", "--port", kernel, "--runtime-port", runtime, "--fixtures-port", fixtures, "--dir", "stack")
    assert up.returncode == 0, up.stderr
    try:
        urls = [
            f"--execgo-{name}=http://127.0.0.1:{port}"
            for name, port in zip(("url", "runtime-url", "fixtures-url"), free_ports, strict=True)
        ]
        finished = run_pytest(tmp_path, "--execgo-backend=external", *urls, "--execgo-framework=langgraph")
        assert "4 passed" in finished.stdout, finished.stdout
    finally:
        assert command_line("harness", "down", "--dir", "stack").returncode == 0


def test_nothing_outlives_a_killed_pytest(tmp_path: Path) -> None:
    scenario = tmp_path / "scenarios" / "slow"
    scenario.mkdir(parents=True)
    names = {"plan_id": "p", "scenario_id": "slow", "framework": "reference", "mode": "replay"}
    marker = f"{297.0 + os.getpid() / 1e7}"
    command = {"kind": "command", "program": "sleep", "args": [marker]}
    tasks = [
        {"id": "sleep", "type": "runtime", "input": {"execution": command}},
        {"id": "sh", "type": "shell", "params": {"script": f"sleep {marker}"}},
    ]
    (scenario / "plan.json").write_text(json.dumps({**names, "stages": [{"stage_id": "s", "task_graph": {"tasks": tasks}}]}))
    (scenario / "verifier.py").write_text("def verify(context): ...\n")
    (scenario / "p.md").write_text("")
    (scenario / "scenario.yaml").write_text(
        "id: slow\ndescription: x\nseed: 1\nobjective: wait\nprompt_pack: {system: p.md, user: p.md}\n"
        "verifier: verifier.py:verify\nallowed_tools: [os.shell, runtime.command]\nreference_plan: plan.json\n"
    )
    pytest_process = subprocess.Popen([*PYTEST, "--execgo-framework=langgraph"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(processes_with(marker)) >= 2, 180, "both sleeps run")
        stack = processes_with(str(tmp_path))
        assert len(stack) >= 3
    finally:
        pytest_process.send_signal(signal.SIGKILL)
        pytest_process.wait()
    wait_until(lambda: not processes_with(marker) and not processes_with(str(tmp_path)), 60, "everything is gone")


def processes_with(text: str) -> list[int]:
    """Return live processes with a text on their command line or as their working folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = place.joinpath("cmdline").read_bytes().decode(errors="replace")
            folder = str(place.joinpath("cwd").readlink())
            state = place.joinpath("stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and (text in line or folder.startswith(text)):
            found.append(int(place.name))
    return found


def wait_until(true: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
