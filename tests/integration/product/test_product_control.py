"""The plugin on a kernel without the extensions, and what it leaves running when a stage is out of time."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings

PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTEST, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def read_summary(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "var/runs/benchmark-summary.json").read_text())
    return document


def live_processes_with(text: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = place.joinpath("cmdline").read_bytes().decode(errors="replace")
            state = place.joinpath("stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and text in line:
            found.append(line)
    return found


def test_the_whole_matrix_passes_on_a_kernel_without_extensions(tmp_path: Path) -> None:
    binary = tmp_path / "execgo"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pytest_execgo serve kernel --compat "$@"\n')
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    finished = run_pytest(tmp_path, "--execgo-backend=native", f"--execgo-bin={binary}")
    assert "12 passed" in finished.stdout, finished.stdout
    runs = read_summary(tmp_path)["runs"]
    assert {(run["backend"], run["outcome"]) for run in runs} == {("native", "passed")}


def test_a_kernel_that_can_tell_is_not_polled(tmp_path: Path) -> None:
    finished = run_pytest(tmp_path, "--execgo-scenario=long_chain_dag", "--execgo-framework=langgraph")
    assert "1 passed" in finished.stdout, finished.stdout
    (log,) = tmp_path.glob("var/runs/stacks/*/kernel.log")
    rows = [json.loads(line) for line in log.read_text().splitlines() if '"msg": "request"' in line]
    asked = [(row["method"], row["path"]) for row in rows]
    assert ("POST", "/tasks/wait") in asked
    assert not [path for method, path in asked if method == "GET" and path.startswith("/tasks/")]


def test_the_plugins_stack_serves_its_own_address_only(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=os.environ))
    endpoints = stack.up()
    try:
        client = KernelClient(endpoints.kernel, endpoints.token)
        assert {"wait", "cancel", "token"} <= client.capabilities()
        task = {"id": "a", "type": "sleep", "params": {"duration_ms": 600_000}}
        assert client.submit([task, {"id": "b", "type": "noop", "depends_on": ["a"]}]) == ["a", "b"]
        assert not client.wait(["a", "b"], 0.01).done
        assert client.cancel("a")["id"] == "a"
        waited = client.wait(["a", "b", "c"], 30)
        assert (waited.done, [task["status"] for task in waited.tasks], waited.missing) == (True, ["failed", "skipped"], ["c"])
        client.close()
        headers = {"Host": "evil.example", "Authorization": f"Bearer {endpoints.token}"}
        assert requests.get(f"{endpoints.kernel}/tasks", headers=headers, timeout=30).status_code == 421
    finally:
        stack.down()


def write_scenario(folder: Path, marker: str) -> None:
    """Write a scenario whose stage outlives its budget, and then wants to see that nothing of it runs any more."""
    folder.mkdir(parents=True)
    command = {"kind": "command", "program": "sleep", "args": [marker]}
    tasks = [
        {"id": "there", "type": "runtime", "input": {"execution": command}},
        {"id": "here", "type": "shell", "params": {"script": f"sleep {marker}"}},
        {"id": "next", "type": "noop", "depends_on": ["here"]},
    ]
    stage = {"stage_id": "s", "task_graph": {"tasks": tasks}, "submit_policy": {"poll_interval_ms": 50, "max_attempts": 20}}
    names = {"plan_id": "p", "scenario_id": "slow", "framework": "reference", "mode": "replay"}
    (folder / "plan.json").write_text(json.dumps({**names, "stages": [stage]}))
    (folder / "verifier.py").write_text("def verify(context): ...\n")
    (folder / "p.md").write_text("")
    (folder / "scenario.yaml").write_text(
        "id: slow\ndescription: x\nseed: 1\nobjective: wait\nprompt_pack: {system: p.md, user: p.md}\n"
        "verifier: verifier.py:verify\nallowed_tools: [os.shell, os.noop, runtime.command]\nreference_plan: plan.json\n"
    )


def test_what_outlives_its_stage_is_cancelled_before_the_next_cell(tmp_path: Path) -> None:
    marker = f"{296.0 + os.getpid() / 1e7}"
    write_scenario(tmp_path / "scenarios" / "slow", marker)
    watch = tmp_path / "conftest.py"
    watch.write_text(
        "import contextlib, pathlib, pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_runtest_logreport(report):\n"
        "    if report.when != 'teardown' or 'crewai' in report.nodeid: return\n"
        "    left = 0\n"
        "    for place in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        with contextlib.suppress(OSError):\n"
        f"            left += {marker.encode()!r} in place.read_bytes()\n"
        "    pathlib.Path('left').write_text(str(left))\n"
    )
    finished = run_pytest(tmp_path, "--execgo-framework=langgraph,crewai")
    assert "2 failed" in finished.stdout, finished.stdout
    assert (tmp_path / "left").read_text() == "0"  # while the stack was still up
    for run in read_summary(tmp_path)["runs"]:
        assert (run["outcome"], run["attribution"]["code"]) == ("failed", "stage_timeout")
    (path, _) = tmp_path.glob("var/runs/*/execgo_snapshots.jsonl")
    last = {row["task_id"]: row["task"] for row in map(json.loads, path.read_text().splitlines())}
    cancelled, skipped = ("failed", "cancelled"), ("skipped", None)
    ends = sorted((row["status"], row.get("run_status")) for row in last.values())
    assert ends in ([cancelled, cancelled, skipped], [cancelled] * 3)  # the one that waits: skipped, or cancelled just before
    end = time.monotonic() + 60
    while live_processes_with(marker):
        assert time.monotonic() < end
        time.sleep(0.05)
