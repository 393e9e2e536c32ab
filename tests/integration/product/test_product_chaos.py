"""The matrix under faults, as users run it: what hits is recovered from or explained, a run stops when told, nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.observability.history import read_history

PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider"]
PATIENCE = 480.0

LOOP = """
import json, os, sys, time, urllib.request
run, url = os.environ["RUN_ID"], sys.argv[1]
for number in range(2000):
    body = json.dumps({"kind": "tick", "payload": number}).encode()
    headers = {"Idempotency-Key": f"{run}-tick-{number}", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url + "/effects", body, headers)).read()
    time.sleep(0.01)
"""
"""A command that leaves an effect every 10 ms, for as long as it lives."""


def run_pytest(folder: Path, *arguments: str, plugins: str = "no:xdist") -> subprocess.CompletedProcess[str]:
    command = [*PYTEST, "-p", plugins, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("var/runs/*/result.json"))]


def processes_in(folder: Path) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state = place.joinpath("stat").read_text().rpartition(")")[2].split()[0]
            command = place.joinpath("cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if state != "Z" and (str(folder) in command or str(folder) in str(place.joinpath("cwd").readlink())):
                found.append(command)
        except OSError:
            continue
    return found


def ticking(folder: Path, **more: str) -> Path:
    """Write a scenario whose plan leaves effects until it is stopped."""
    place = folder / "scenarios" / "ticking"
    (place / "fixtures").mkdir(parents=True)
    (place / "fixtures" / "loop.py").write_text(LOOP)
    command = {"kind": "command", "program": "python3", "args": ["loop.py", "${{ fixtures_url }}"], "cwd": "${{ workspace }}"}
    execution = {**command, "env": {"RUN_ID": "${{ run_id }}"}}
    stage = {"stage_id": "tick", "task_graph": {"tasks": [{"id": "loop", "type": "runtime", "input": {"execution": execution}}]}}
    names = {"plan_id": "p", "scenario_id": "ticking", "framework": "reference", "mode": "replay"}
    (place / "plan.json").write_text(json.dumps({**names, "stages": [stage]}))
    (place / "verifier.py").write_text("def verify(context): ...\n")
    extra = "".join(f"{name}: {value}\n" for name, value in more.items())
    (place / "scenario.yaml").write_text(
        "id: ticking\ndescription: x\nseed: 1\nobjective: tick\nverifier: verifier.py:verify\nfixtures: fixtures\n"
        f"allowed_tools: [runtime.command]\neffect_budget: {{max_effects: 100000}}\nreference_plan: plan.json\n{extra}"
    )
    return place


def ticks(folder: Path) -> list[int]:
    """Return when each effect of the only run was applied (monotonic ns)."""
    (run,) = folder.glob("var/runs/*/history.jsonl")
    rows = read_history(run)
    return [row.monotonic_ns for row in rows if row.process == "sink" and row.value.get("outcome") == "applied"]


def test_every_profile_is_recovered_from_or_fails_as_expected(tmp_path: Path) -> None:
    finished = run_pytest(tmp_path, "--execgo-scenario=vuln_scan", "--execgo-framework=crewai", "--execgo-chaos=all")
    assert finished.returncode == 0, finished.stdout
    runs = results(tmp_path)
    assert len(runs) > 20
    for run in runs:
        assert run["outcome"] == "passed", run
        if run["chaos_profile"] != "none":
            assert run["faults"]
            assert all(fault["hit"] for fault in run["faults"]), run
        if run["metrics"]["task_count"]:
            assert (run["history"]["outcome"], run["history"]["violations"]) == ("valid", []), run
    recovered = {run["chaos_profile"] for run in runs if run["metrics"]["recovery_success"] == 1.0}
    assert {"kernel_crash", "runtime_kill", "response_lost", "duplicate_delivery", "disk_full"} <= recovered
    assert processes_in(tmp_path) == []


def test_the_same_seed_gives_the_same_faults_at_the_same_events(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    fault = "{action: kill, target: runtime, trigger: {phase: poll, event: stage_finished, occurrence: 2}, probability: 0.5}"
    (tmp_path / "chaos" / "maybe.yaml").write_text(f"id: maybe\ndescription: x\nfaults: [{fault}]\n")
    seen: list[dict[str, list[tuple[bool, bool]]]] = []
    for seed in ("5", "5", "6"):
        arguments = [f"--execgo-seed={seed}", "--execgo-chaos=maybe", "--execgo-scenario=vuln_scan", "--execgo-repeat=4"]
        assert run_pytest(tmp_path, *arguments, f"--execgo-out={seed}-{len(seen)}").returncode == 0
        summary = json.loads((tmp_path / f"{seed}-{len(seen)}" / "benchmark-summary.json").read_text())
        seen.append({run["cell_id"]: [(fault["drawn"], fault["fired"]) for fault in run["faults"]] for run in summary["runs"]})
    assert seen[0] == seen[1]
    drawn = [fault for faults in (seen[0] | seen[2]).values() for fault in faults]
    assert {(True, True), (False, False)} == set(drawn), "some struck, some were spared, and none did half of it"


def test_a_run_past_its_deadline_is_stopped_and_leaves_no_effect_after_that(tmp_path: Path) -> None:
    for deadline_ms in ("1500", "8000", "40000"):  # however busy the machine is, before one of them the command has begun
        folder = tmp_path / deadline_ms
        ticking(folder, deadline_ms=deadline_ms)
        finished = run_pytest(folder, "--execgo-framework=langgraph")
        assert finished.returncode == 1, finished.stdout
        if applied := ticks(folder):
            break
    (run,) = results(folder)
    assert (run["attribution"]["layer"], run["attribution"]["code"]) == ("machine", "stopped")
    assert run["history"]["outcome"] == "valid"
    assert run["metrics"]["stop_time_ms"] > 0
    (path,) = folder.glob("var/runs/*/history.jsonl")
    obeyed = [row.monotonic_ns for row in read_history(path) if row.f == "stop" and row.value.get("obeyed")]
    assert applied, "it did something before it was stopped"
    assert len(obeyed) == 1
    assert max(applied) < obeyed[0]
    assert processes_in(tmp_path) == []


def test_ctrl_c_stops_what_runs_and_leaves_no_process(tmp_path: Path) -> None:
    ticking(tmp_path)
    process = subprocess.Popen([*PYTEST, "-p", "no:xdist", "--execgo-framework=langgraph"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not any("loop.py" in command for command in processes_in(tmp_path)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    assert processes_in(tmp_path) == []
    (run,) = results(tmp_path)
    assert (run["outcome"], run["error"].startswith("interrupted: KeyboardInterrupt")) == ("inconclusive", True)
    assert run["metrics"]["stop_time_ms"] > 0


def test_no_fault_outlives_a_pytest_that_is_killed(tmp_path: Path) -> None:
    ticking(tmp_path)
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "busy.yaml").write_text(
        "id: busy\ndescription: x\nfaults:\n"
        "- {action: cpu_pressure, target: machine, parameters: {processes: 1}, trigger: {phase: submit, event: stage_started}}\n"
        "- {action: pause, target: kernel, trigger: {phase: submit, event: stage_submitted}, duration_ms: 60000}\n"
    )
    process = subprocess.Popen(
        [*PYTEST, "-p", "no:xdist", "--execgo-framework=langgraph", "--execgo-chaos=busy"], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while not any(
        path.read_text().count('"event_type":"fault_injected"') == 2 for path in tmp_path.glob("var/runs/*/timeline.jsonl.partial")
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    while left := processes_in(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_an_orderly_restart_costs_a_plan_that_asks_for_no_retry_its_attempt_only(tmp_path: Path) -> None:
    place = ticking(tmp_path)
    (place / "fixtures" / "loop.py").write_text("import time\ntime.sleep(0.4)\n")
    (place / "verifier.py").write_text("from pytest_execgo import Verdict\n\n\ndef verify(context):\n    return Verdict.of([])\n")
    finished = run_pytest(tmp_path, "--execgo-framework=langgraph", "--execgo-chaos=runtime_restart")
    (result,) = results(tmp_path)
    assert result["outcome"] == "passed", finished.stdout
    assert [fault["hit"] for fault in result["faults"]] == [True]
    assert result["metrics"]["recovery_success"] == 1


def test_pytest_can_be_killed_and_the_sweep_goes_on(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "reports" / "prove_resume.py"
    kills = os.environ.get("PYTEST_EXECGO_PROOF_KILLS", "3")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_EXECGO_")}
    command = [sys.executable, str(script), "--kills", kills]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=3000, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"sweeps, \d+ kills of pytest, .* 0 broken promises", finished.stdout)
