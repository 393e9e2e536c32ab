"""Live planning through the plugin, with a framework of the project's own that asks the scripted model."""

from __future__ import annotations

from typing import Any

import pytest

PLANNER = """
import json
from importlib import metadata

import pytest
import requests

from pytest_execgo.plan.adapter import AdapterCapabilities, PlannedRun
from pytest_execgo.plan.planning import PlannerOutput
from pytest_execgo.plan.validate import load_plan


class Plain:
    framework = "plain"

    def capabilities(self):
        return AdapterCapabilities("plain", ("live", "replay"), metadata.version("requests"), "pip install requests")

    def replay(self, context, recording):
        plan = load_plan({**json.loads(recording["output"]["raw"]["text"]), "framework": "plain", "mode": "replay"})
        return PlannedRun(plan, {"source": "recording"})

    def live(self, context, planning):
        body = {"model": "m", "messages": [{"role": "system", "content": "Plan."}, {"role": "user", "content": "Go."}]}
        answer = requests.post(planning.model_url + "/chat/completions", json=body, timeout=30)
        text = answer.json()["choices"][0]["message"]["content"]
        plan = load_plan({**json.loads(text), "framework": "plain", "mode": "live"})
        output = PlannerOutput(framework="plain", framework_version="1", raw={"text": text})
        return PlannedRun(plan, {"source": "live"}, planner_output=output)


def pytest_execgo_frameworks(config):
    return {"plain": Plain()}
"""
LIVE = ("--execgo-matrix", "--execgo-mode=live", "--execgo-framework=plain")


@pytest.fixture
def live(project: Any) -> Any:
    project.pytester.makeconftest(PLANNER)
    return project


def test_a_live_cell_needs_a_provider_that_is_named(live: Any) -> None:
    result = live.run_plain(*LIVE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*live planning needs a provider, and none was named*", "*--execgo-provider mock*"])
    assert not (live.path / "var").exists()


def test_a_real_provider_needs_its_key_at_once(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = live.run_plain(*LIVE, "--execgo-provider=openai", "--execgo-model=gpt-x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*OPENAI_API_KEY*"])


def test_a_plan_of_the_scripted_model_runs_and_its_recording_replays(live: Any) -> None:
    result = live.run_plain(*LIVE, "--execgo-provider=mock", "--execgo-record")
    result.assert_outcomes(passed=1)
    (planned,) = live.results()
    assert planned["metrics"]["model_time_ms"] <= planned["metrics"]["planning_time_ms"]
    assert planned["metrics"]["prompt_tokens"] > 0
    assert (live.path / "scenarios/hello/recordings/plain.json").is_file()
    live.run_plain("--execgo-matrix", "--execgo-framework=plain").assert_outcomes(passed=1)
    replayed = next(result for result in live.results() if result["mode"] == "replay")
    assert replayed["plan_digest"] == planned["plan_digest"]
    assert (planned["plan_source"], replayed["plan_source"]) == ("live", "recording")


@pytest.mark.parametrize("framework", ["langgraph", "crewai", "autogen"])
def test_a_framework_that_is_not_installed_is_skipped_with_the_command(
    project: Any, framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_execgo.adapters.replay.installed_version", lambda distribution: None)
    monkeypatch.setattr("pytest_execgo.adapters.framework.installed_version", lambda distribution: None)
    options = ("--execgo-matrix", "--execgo-mode=live", "--execgo-provider=mock", f"--execgo-framework={framework}", "-rs")
    result = project.run_plain(*options)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"*{framework} is not installed*pip install 'pytest-execgo*{framework}*'*"])
