"""Makes the golden sweep anew: runs its cells, and keeps their artifacts without this machine's paths."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.planning import PlannerOutput, Recording
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.recordings import planning_digest, write_recording

HERE = Path(__file__).resolve().parent
PROJECT = "/project"
"""Stands for the project's folder, wherever the sweep was run."""
_SCENARIO = """\
id: relay
description: Draft a notice with a script, and publish it once.
seed: 7
objective: Draft the notice and publish it in the effect sink, once.
verifier: verifier.py:verify
allowed_tools: [runtime.script, os.http, os.file]
effect_budget: {max_tasks: 8, max_effects: 2}
reference_plan: reference_plan.json
"""
_VERIFIER = """\
import json
from urllib.request import urlopen

from pytest_execgo import Verdict

def verify(context):
    with urlopen(f"{context.fixtures_url}/effects?run={context.run_id}", timeout=5) as answer:
        effects = json.load(answer)["effects"]
    problems = [] if len(effects) == 1 else [f"the notice was published {len(effects)} times, not once"]
    return Verdict.of(problems, published=len(effects))
"""


def task(name: str, kind: str, depends_on: tuple[str, ...] = (), **given: Any) -> dict[str, Any]:
    """Return one task of a plan."""
    return {"id": name, "type": kind, "input": given, "depends_on": list(depends_on), "retry": 1, "timeout": 10_000}


def effect(key: str, **headers: str) -> dict[str, Any]:
    """Return a request that applies an effect."""
    named = {"Content-Type": "application/json", "Idempotency-Key": f"${{{{ run_id }}}}-{key}", **headers}
    return {"method": "POST", "url": "${{ fixtures_url }}/effects", "headers": named, "body": ""}


def plan(name: str, framework: str, *more: dict[str, Any]) -> dict[str, Any]:
    """Return a plan of two stages and those that are added."""
    notice = dumps(dumps({"kind": "notice", "payload": {"text": "maintenance tonight"}}))
    script = f"sleep 0.05; cat <<'END'\n{{\"body\": {notice}}}\nEND\n"
    draft = task("draft", "runtime", execution={"kind": "script", "interpreter": "sh", "script": script, "cwd": "${{ workspace }}"})
    note = task("note", "file", ("draft",), action="write", path="${{ workspace }}/out/note.txt", content="drafted")
    publish = {"task_graph": {"tasks": [task("announce", "http", **effect("notice"))]}, "bindings": [_bound("announce")]}
    stages = [{"stage_id": "prepare", "task_graph": {"tasks": [draft, note]}}, {"stage_id": "publish", **publish}, *more]
    return {"plan_id": name, "scenario_id": "relay", "framework": framework, "mode": "replay", "stages": stages}


def _bound(target: str) -> dict[str, str]:
    source = {"source_task_id": "draft", "source_path": "output.body"}
    return {**source, "target_task_id": target, "target_param_path": "input.body"}


def write_project(folder: Path) -> None:
    """Write a project with one scenario; langgraph's recorded plan publishes again, in the name of a task that has ended."""
    scenario = folder / "scenarios/relay"
    scenario.mkdir(parents=True)
    (scenario / "scenario.yaml").write_text(_SCENARIO, "utf-8")
    (scenario / "verifier.py").write_text(_VERIFIER, "utf-8")
    (scenario / "reference_plan.json").write_text(dumps(plan("relay-reference", "reference"), indent=2), "utf-8")
    again = task("remind", "http", **effect("reminder", **{"X-Execgo-Task": "${{ run_id }}:publish:announce:1"}))
    remind = {"stage_id": "remind", "task_graph": {"tasks": [again]}, "bindings": [_bound("remind")]}
    text = dumps(plan("relay-twice", "langgraph", remind))
    loaded = load_scenario(scenario / "scenario.yaml")
    output = PlannerOutput(framework="langgraph", framework_version="1.2.0", raw={"plan": text})
    recording = Recording(
        scenario_id="relay",
        scenario_digest=planning_digest(loaded),
        provider="none: written by hand",
        model="none",
        seed=7,
        recorded_at="2026-01-01T00:00:00Z",
        output=output,
        plan_digest="",
    )
    write_recording(loaded, recording)


def keep(runs: Path, project: str) -> None:
    """Copy what reports are made of, with the project's path replaced; services' data and workspaces stay behind."""
    texts: dict[Path, str] = {}
    hashes: dict[str, str] = {}
    for file in sorted(runs.rglob("*")):
        place = file.relative_to(runs)
        wanted = (".log",) if place.parts[0] == "stacks" else (".json", ".jsonl", ".md")
        if not file.is_file() or file.suffix not in wanted or "workspace" in place.parts or "runtime-data" in place.parts:
            continue
        before = file.read_text("utf-8")
        texts[place] = before.replace(project, PROJECT)
        hashes[sha256(before.encode()).hexdigest()] = sha256(texts[place].encode()).hexdigest()
    shutil.rmtree(HERE / "runs", ignore_errors=True)
    for place, text in texts.items():
        for old, new in hashes.items():  # a result lists its artifacts with their hashes
            text = text.replace(old, new)
        target = HERE / "runs" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def main() -> None:
    """Run the sweep in a folder of its own, and keep its artifacts."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name).resolve()
        write_project(project)
        axes = ["--execgo-framework=crewai,langgraph", "--execgo-chaos=none,runtime_restart,llm_slow"]
        command = [sys.executable, "-m", "pytest", "-q", "--execgo-matrix", *axes]
        status = subprocess.run(command, cwd=project, check=False).returncode
        totals = json.loads((project / "var/runs/benchmark-summary.json").read_text("utf-8"))["totals"]
        if status != 1 or (totals["passed"], totals["failed"], totals["skipped"]) != (2, 2, 2):
            raise SystemExit(f"two cells each were to pass, to fail and to be skipped: {totals}")
        keep(project / "var/runs", str(project))


if __name__ == "__main__":
    main()
