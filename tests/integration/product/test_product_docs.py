"""What docs/scenarios.md and docs/verifiers.md show, works: scenarios, framework, hooks, chaos profile, tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pytest_execgo.chaos.loader import load_profile_file
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.tool_inputs import TOOL_INPUTS
from pytest_execgo.plan.verdict import TaskOutcome, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.verifiers import judge, load_verifier

DOCS = Path(__file__).parents[3] / "docs"
SCENARIOS, VERIFIERS = (DOCS / "scenarios.md").read_text(), (DOCS / "verifiers.md").read_text()
PAGE = SCENARIOS + VERIFIERS


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language on the page about scenarios, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SCENARIOS, re.S | re.M)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with everything that the page shows."""
    scenario = tmp_path / "scenarios" / "join"
    (scenario / "fixtures/tools").mkdir(parents=True)
    (tmp_path / "chaos").mkdir()
    script, verifier, framework, hooks = blocks("python")
    (scenario / "scenario.yaml").write_text(blocks("yaml")[0])
    (scenario / "reference_plan.json").write_text(blocks("json")[0])
    (scenario / "fixtures/tools/join.py").write_text(script)
    (scenario / "verifier.py").write_text(verifier)
    (tmp_path / "conftest.py").write_text(framework + hooks)
    (tmp_path / "chaos/kernel_crash.yaml").write_text(blocks("yaml")[1])
    return tmp_path


def run_pytest(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-rs", "-p", "no:cacheprovider", "--execgo-matrix", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False).stdout


def test_the_scenario_runs_for_every_framework_and_listeners_are_told(project: Path) -> None:
    out = run_pytest(project)
    assert "4 passed" in out
    assert "join[mine-replay-none-0]: passed" in out
    assert "'passed': 4" in out
    assert "plans: 4 of the reference plan (no recordings)" in out


def test_the_scenario_is_really_judged(project: Path) -> None:
    script = project / "scenarios/join/fixtures/tools/join.py"
    script.write_text(script.read_text().replace("41", "42"))
    assert "1 failed" in run_pytest(project, "--execgo-framework=mine")


def test_the_scenarios_verifier_has_a_reason_for_a_file_that_was_not_made(project: Path) -> None:
    verifier = load_verifier(load_scenario(project / "scenarios/join/scenario.yaml"), {})
    verdict = judge(verifier, cast(VerifierContext, SimpleNamespace(workspace=project / "empty")))
    assert verdict.reasons == ["people.json is not there", "count.txt is not there"]


def test_the_registered_verifier_judges(project: Path) -> None:
    scenario = project / "scenarios/join/scenario.yaml"
    scenario.write_text(scenario.read_text().replace("verifier.py:verify", "not_empty"))
    assert "1 passed" in run_pytest(project, "--execgo-framework=mine")


def test_the_framework_only_replays_and_its_run_gets_over_a_crash(project: Path) -> None:
    out = run_pytest(project, "--execgo-framework=mine", "--execgo-mode=live", "--execgo-provider=mock")
    assert "1 skipped" in out
    assert "the adapter of mine only replays; use --execgo-mode replay" in out
    assert load_profile_file(project / "chaos/kernel_crash.yaml").faults[0].action == "kill"
    assert "1 passed" in run_pytest(project, "--execgo-framework=mine", "--execgo-chaos=kernel_crash")


@pytest.fixture
def notice(tmp_path: Path) -> Path:
    """A project with the scenario of the page about verifiers."""
    for file, block in re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", VERIFIERS, re.S | re.M):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(block)
    return tmp_path


def test_the_verifiers_example_passes_also_when_an_answer_is_lost(notice: Path) -> None:
    assert "2 passed" in run_pytest(notice, "--execgo-framework=langgraph", "--execgo-chaos=none,fixture_drop")


def test_the_verifiers_example_sees_a_wrong_order_and_a_wrong_effect(notice: Path) -> None:
    plan = notice / "scenarios/notice/reference_plan.json"
    document = json.loads(plan.read_text())
    document["stages"].reverse()
    task = document["stages"][0]["task_graph"]["tasks"][0]
    task["params"]["body"] = '{"kind": "notice", "payload": "Nothing is well."}'
    del document["stages"][0]["bindings"]
    plan.write_text(json.dumps(document))
    out = run_pytest(notice, "--execgo-framework=langgraph")
    assert "1 failed" in out
    assert re.search(r"published [\d.]+ ms before the check had ended", out)
    assert "the sink has [{'kind': 'notice', 'payload': 'Nothing is well.'}]" in out


def test_every_field_is_on_the_pages() -> None:
    fields = [*ScenarioSpec.model_fields, *BenchmarkResult.model_fields, *TOOL_INPUTS]
    fields += [*TaskOutcome.__dataclass_fields__, *VerifierContext.__dataclass_fields__]
    for tool, model in TOOL_INPUTS.items():
        fields += model.model_fields if tool.startswith("os.") else ()
        execution = model.model_fields.get("execution")
        fields += getattr(execution.annotation, "model_fields", ()) if execution else ()
    assert [name for name in fields if not re.search(rf"`[^`\n]*\b{re.escape(name)}\b[^`\n]*`", PAGE)] == []
