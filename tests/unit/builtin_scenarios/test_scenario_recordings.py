"""Recordings of a scenario: kept, found again, refused when they answer another question."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.planning import PlannerOutput, Recording
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.scenarios.recordings import plan_source, planning_digest, recording_of, write_recording


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    folder = tmp_path / "vuln_scan"
    shutil.copytree(bundled("scenarios") / "vuln_scan", folder, ignore=shutil.ignore_patterns("recordings"))
    return load_scenario(folder / "scenario.yaml")


def recording(scenario: Scenario) -> Recording:
    return Recording(
        scenario_id="vuln_scan",
        scenario_digest=planning_digest(scenario),
        provider="mock",
        model="m",
        seed=1,
        recorded_at="2026-01-01T00:00:00Z",
        output=PlannerOutput(framework="crewai", framework_version="1.15", raw={"raw": "{}"}),
        plan_digest="0" * 64,
    )


def test_what_was_kept_is_found_for_its_framework_alone(scenario: Scenario) -> None:
    assert recording_of(scenario, "crewai") is None
    file = write_recording(scenario, recording(scenario))
    assert file == scenario.folder / "recordings" / "crewai.json"
    assert recording_of(scenario, "crewai") == recording(scenario).model_dump(mode="json")
    assert recording_of(scenario, "langgraph") is None


@pytest.mark.parametrize("wrap", [lambda plan: plan, lambda plan: {"result": plan}])
def test_a_plan_is_no_recording_and_where_it_belongs_is_said(scenario: Scenario, wrap: Callable[[Any], Any]) -> None:
    file = write_recording(scenario, recording(scenario))
    file.write_text(json.dumps(wrap({"plan_id": "p", "scenario_id": "vuln_scan", "stages": []})))
    with pytest.raises(
        UsageError, match=r"crewai\.json: this is no recording of a live planning: it lacks .*scenario_digest"
    ) as refused:
        recording_of(scenario, "crewai")
    assert refused.value.code == "no_recording"
    assert str(scenario.folder / "reference_plan.json") in refused.value.hint


def test_where_a_plan_would_come_from(scenario: Scenario) -> None:
    assert plan_source(scenario, "crewai", "replay") == "reference"
    write_recording(scenario, recording(scenario))
    found = [plan_source(scenario, name, "replay") for name in ("crewai", "langgraph")]
    assert [*found, plan_source(scenario, "crewai", "live")] == ["recording", "reference", "live"]


def test_a_recording_that_answers_another_question_is_refused(scenario: Scenario) -> None:
    write_recording(scenario, recording(scenario))
    file = scenario.folder / "scenario.yaml"
    file.write_text(file.read_text().replace("publish one notice", "publish two notices"))
    changed = load_scenario(file)
    with pytest.raises(UsageError, match="answers another question") as refused:
        recording_of(changed, "crewai")
    assert "crewai.json" in refused.value.message
    assert "--execgo-record" in refused.value.hint


def test_what_no_planner_sees_does_not_matter(scenario: Scenario) -> None:
    write_recording(scenario, recording(scenario))
    (scenario.folder / "verifier.py").write_text("def verify(context): ...\n")
    assert recording_of(load_scenario(scenario.folder / "scenario.yaml"), "crewai") is not None


@pytest.mark.parametrize("text", ["[]", "{", '"plan"'])
def test_a_file_that_is_no_recording_is_named(scenario: Scenario, text: str) -> None:
    (scenario.folder / "recordings").mkdir()
    (scenario.folder / "recordings" / "crewai.json").write_text(text)
    with pytest.raises(UsageError, match=r"crewai\.json"):
        recording_of(scenario, "crewai")


def test_the_recordings_that_are_shipped_answer_their_scenarios_and_say_who_the_model_was() -> None:
    for name in ("codegen_exec", "vuln_scan", "multi_step_agent", "long_chain_dag"):
        shipped = load_scenario(bundled("scenarios") / name / "scenario.yaml")
        for framework in ("langgraph", "crewai", "autogen"):
            document = recording_of(shipped, framework)
            assert document is not None, (name, framework)
            read = Recording.model_validate_json(json.dumps(document))
            assert read.output.framework == framework
            assert "scripted" in read.provider, "nobody shall take it for a language model's"
