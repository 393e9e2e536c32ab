"""Each framework's recorded output is unwrapped as that framework has it; the trace says where the plan came from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.core.errors import Unsupported
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.problems import PlanInvalid

Wrap = Callable[[Any], dict[str, Any]]
OTHER = {"plan_id": "other", "stages": []}

RECORDINGS: list[tuple[str, Wrap]] = [
    ("langgraph", lambda plan: {"plan": plan, "messages": ["…"]}),
    ("langgraph", lambda plan: {"values": {"plan": plan}, "next": [], "config": {}}),
    ("crewai", lambda plan: {"raw": "…", "json_dict": plan, "tasks_output": [{"json_dict": OTHER}]}),
    ("crewai", lambda plan: {"raw": "…", "json_dict": None, "tasks_output": [{"json_dict": OTHER}, {"json_dict": plan}]}),
    ("autogen", lambda plan: {"messages": [{"content": OTHER}, {"content": plan}], "stop_reason": "APPROVE"}),
    ("autogen", lambda plan: {"messages": [{"content": plan}, {"content": "APPROVE"}, {"content": ["x"]}, "text", None]}),
]
EMPTY: list[tuple[str, dict[str, Any]]] = [
    ("langgraph", {"plan": "text"}),
    ("langgraph", {"values": [1]}),
    ("crewai", {"json_dict": "text", "tasks_output": []}),
    ("crewai", {"tasks_output": [{"json_dict": {}}, None]}),
    ("autogen", {"messages": []}),
    ("autogen", {"messages": {"content": {}}}),
    ("autogen", {"messages": [{"content": "text"}]}),
]


def for_framework(context: PlanContext, framework: str) -> PlanContext:
    return context.model_copy(update={"framework": framework})


@pytest.mark.parametrize(("framework", "wrap"), RECORDINGS)
def test_a_recording_is_unwrapped(framework: str, wrap: Wrap, document: dict[str, Any], context: PlanContext) -> None:
    recording = wrap({**document, "framework": framework})
    before = copy.deepcopy(recording)
    planned = load_adapters()[framework].replay(for_framework(context, framework), recording)
    assert planned.plan.plan_id == "p"
    assert planned.plan.framework == framework
    assert planned.plan.normalization_warnings == []
    assert planned.plan.raw_trace_ref == "adapter_trace.json"
    assert planned.trace["source"] == "recording"
    assert planned.trace["raw"] == before == recording
    assert (planned.trace["framework"], planned.trace["mode"]) == (framework, "replay")


@pytest.mark.parametrize("framework", ["langgraph", "crewai", "autogen"])
def test_a_plan_document_itself_is_stated_as_a_reference_plan(
    framework: str, document: dict[str, Any], context: PlanContext
) -> None:
    planned = load_adapters()[framework].replay(for_framework(context, framework), {**document, "framework": "reference"})
    assert planned.trace["source"] == "reference_plan"
    assert planned.trace["raw"]["framework"] == "reference"
    assert planned.trace["normalization_warnings"] == planned.plan.normalization_warnings
    assert planned.plan.normalization_warnings == [f"$.framework: the text \"reference\" became '{framework}'"]


@pytest.mark.parametrize(("framework", "recording"), EMPTY)
def test_a_recording_without_a_plan_is_an_invalid_plan(framework: str, recording: dict[str, Any], context: PlanContext) -> None:
    with pytest.raises(PlanInvalid):
        load_adapters()[framework].replay(for_framework(context, framework), recording)


@pytest.mark.parametrize("framework", ["langgraph", "crewai", "autogen"])
def test_live_planning_is_refused_with_what_works(framework: str, context: PlanContext) -> None:
    with pytest.raises(Unsupported, match=f"live planning with {framework}") as refused:
        load_adapters()[framework].live(context)
    assert refused.value.code == "live_unsupported"
    assert "--execgo-mode replay" in refused.value.hint


@pytest.mark.parametrize(
    ("framework", "distribution"), [("langgraph", "langgraph"), ("crewai", "crewai"), ("autogen", "autogen-agentchat")]
)
@pytest.mark.parametrize("version", ["9.8.7", None])
def test_the_installed_version_is_reported_without_importing(
    framework: str,
    distribution: str,
    version: str | None,
    monkeypatch: pytest.MonkeyPatch,
    document: Mapping[str, Any],
    context: PlanContext,
) -> None:
    def lookup(name: str) -> str:
        assert name == distribution
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", lookup)
    adapter = load_adapters()[framework]
    capabilities = adapter.capabilities()
    assert (capabilities.framework, capabilities.native_version, capabilities.modes) == (framework, version, ("replay",))
    assert capabilities.install_hint == f"pip install 'pytest-execgo[{framework}]'"
    assert adapter.replay(for_framework(context, framework), document).trace["native_version"] == version
