"""Live planning against a model that gets things wrong, as users run it: mended by the framework, or explained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import BUILT_IN, load_adapters
from pytest_execgo.chaos.loader import discover_profiles
from pytest_execgo.core.bundle import bundled

PYTEST = [sys.executable, "-m", "pytest", "--execgo-matrix", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
PATIENCE = 600.0


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*PYTEST, "--execgo-scenario=vuln_scan", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def results(folder: Path) -> dict[str, Any]:
    """Return the runs' results by their chaos profiles."""
    found = [json.loads(path.read_text()) for path in folder.glob("var/runs/*/result.json")]
    return {run["chaos_profile"]: run for run in found}


@pytest.fixture(params=BUILT_IN)
def framework(request: pytest.FixtureRequest) -> str:
    able = load_adapters()[request.param].capabilities()
    if able.native_version is None:
        pytest.skip(f"{able.framework} is not installed: {able.install_hint}")
    return able.framework


def test_what_a_framework_can_mend_is_recovered_from_and_the_rest_is_explained(tmp_path: Path, framework: str) -> None:
    profiles = ["llm_hallucinated_tool", "llm_server_error", "llm_refusal", "llm_stalled", "llm_injected"]
    live = ["--execgo-mode=live", "--execgo-provider=mock", f"--execgo-framework={framework}"]
    finished = run_pytest(tmp_path, *live, f"--execgo-chaos={','.join(profiles)}")
    assert finished.returncode == 0, finished.stdout
    runs = results(tmp_path)
    assert set(runs) == set(profiles)
    for run in runs.values():
        (fault,) = run["faults"]
        assert fault["hit"]
        assert fault["observed"]["planner"] == 1
    for name in ("llm_hallucinated_tool", "llm_server_error"):
        assert runs[name]["metrics"]["recovery_success"] == 1.0
        assert (runs[name]["attribution"], runs[name]["history"]["outcome"]) == (None, "valid")
    for name, code in (("llm_refusal", "planner_refused"), ("llm_stalled", "planner_timed_out")):
        assert (runs[name]["attribution"]["layer"], runs[name]["attribution"]["code"]) == ("planner", code)
        assert not runs[name]["metrics"]["task_count"]
    injected = runs["llm_injected"]
    assert (injected["attribution"]["layer"], injected["history"]["outcome"]) == ("verifier", "valid")
    assert "2 requests to the effect sink left 2 effects" in injected["attribution"]["message"]


def test_in_replay_there_is_no_model_to_get_anything_wrong(tmp_path: Path) -> None:
    names = [name for name in discover_profiles([bundled("chaos")]) if name.startswith("llm_")]
    finished = run_pytest(tmp_path, "-rs", "--execgo-framework=langgraph", f"--execgo-chaos={','.join(names)}")
    assert finished.returncode == 0, finished.stdout
    assert f"{len(names)} skipped" in finished.stdout
    assert finished.stdout.count(": nobody asks a model in replay; use --execgo-mode live") >= len(names)
    assert results(tmp_path) == {}
