"""Every plan variant of the built-in scenarios on a real stack: the verifier of its scenario passes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pytest_execgo.core.bundle import bundled


def test_every_variant_passes_its_verifier_on_a_real_stack(tmp_path: Path) -> None:
    """One sweep: a copy of the scenario for each of its variants, which takes the place of the reference plan."""
    wanted = set()
    for plan in sorted(bundled("scenarios").glob("*/plans/*.json")):
        source = plan.parent.parent
        folder = tmp_path / "scenarios" / f"{source.name}-{plan.stem}"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("plans", "recordings", ".*", "__pycache__"))
        shutil.copy(plan, folder / "reference_plan.json")
        file = folder / "scenario.yaml"
        file.write_text(re.sub(r"^id: .*", f"id: {folder.name}", file.read_text("utf-8"), count=1), "utf-8")
        wanted.add(folder.name)
    assert len(wanted) >= 12
    options = ["--scenario", ",".join(sorted(wanted)), "--framework", "langgraph", "--out", str(tmp_path / "out")]
    argv = [sys.executable, "-m", "pytest_execgo", "benchmark", *options]
    ended = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    results = [json.loads(file.read_text("utf-8")) for file in (tmp_path / "out").glob("**/result.json")]
    outcomes = {one["scenario_id"]: (one["outcome"], (one["verdict"] or {}).get("reasons")) for one in results}
    assert outcomes == {name: ("passed", []) for name in wanted}, ended.stdout + ended.stderr
    assert ended.returncode == 0
