"""What docs/adapters.md shows, works: a fourth framework in one file, and one in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import BUILT_IN, load_adapters
from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.plan.planning import PlanningRequest

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "adapters.md").read_text()
LIVE = (DOCS / "live-planning.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.mark.parametrize("mode", ["live", "replay"])
def test_the_fourth_framework_plans_and_its_plan_passes(tmp_path: Path, mode: str) -> None:
    adapter, conftest, _ = blocks("python")
    (tmp_path / "plainloop.py").write_text(adapter)
    (tmp_path / "conftest.py").write_text(conftest)
    [command] = blocks("text")
    words = command.replace("--execgo-mode=live", f"--execgo-mode={mode}").split()[1:]
    words += ["--execgo-scenario=vuln_scan", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    [trace] = (json.loads(file.read_text()) for file in tmp_path.glob("var/runs/*/adapter_trace.json"))
    assert (trace["framework"], trace["source"]) == ("plainloop", "live" if mode == "live" else "reference_plan")
    if mode == "live":
        assert [message["role"] for message in trace["native"]] == ["system", "user"]
        assert trace["framework_version"] == "1.0"


def test_a_planner_of_ones_own_is_called_in_a_process_of_its_own(tmp_path: Path, request_document: dict[str, Any]) -> None:
    (tmp_path / "apart.py").write_text(blocks("python")[2])
    (tmp_path / "folder").mkdir()
    with WorkerPool(
        {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}, folder=tmp_path / "folder"
    ) as pool:
        output = pool.plan("apart:plan", PlanningRequest.model_validate(request_document), lambda event: None)
    assert (output.framework, output.raw) == ("apart", {"answer": "…"})


@pytest.fixture
def request_document() -> dict[str, Any]:
    context = {
        "scenario_id": "demo",
        "framework": "apart",
        "mode": "live",
        "seed": 1,
        "objective": "",
        "scenario_input": {},
        "prompt_pack": {},
        "allowed_tools": ["os.noop"],
    }
    return {"context": context, "tools": {}, "plan_schema": {}, "model_url": "http://127.0.0.1:9/v1"}


def test_every_code_that_can_come_of_planning_is_on_the_page() -> None:
    package = Path(__file__).parents[3] / "pytest_execgo/adapters"
    text = "".join(file.read_text() for file in package.rglob("*.py"))
    codes = set(re.findall(r'"((?:planner|adapter)_[a-z_]+)"', text))
    told = set(re.findall(r"^\| `((?:planner|adapter)_[a-z_]+)` ", LIVE, re.M))
    assert codes == told


def test_every_framework_of_ours_is_on_the_page() -> None:
    rows = LIVE.split("\n## Adapters\n")[1].split("\n## ")[0]
    for name in BUILT_IN:
        assert re.search(rf"^\| `{name}` .*`{re.escape(load_adapters()[name].capabilities().install_hint)}`", rows, re.M), name
