"""Each framework's recorded output is unwrapped as that framework has it; the trace says where the plan came from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.adapters.replay import ReplayAdapter
from pytest_execgo.core.errors import MissingDependency, Unsupported, UsageError
from pytest_execgo.plan.adapter import Planning, Said
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, PlanningRequest, Recording
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
    ("langgraph", {"values": [1]}),
    ("langgraph", {"plan": 5, "messages": "none"}),
    ("crewai", {"json_dict": "text", "tasks_output": []}),
    ("crewai", {"tasks_output": [{"json_dict": {}}, None]}),
    ("autogen", {"messages": []}),
    ("autogen", {"messages": {"content": {}}}),
    ("autogen", {"messages": [{"content": 'an order with a {"stages": []} in it', "source": "user"}]}),
]
SPEECH: list[tuple[str, dict[str, Any]]] = [
    ("langgraph", {"plan": "text"}),
    ("langgraph", {"plan": None, "messages": [{"type": "human", "content": "{}"}, {"type": "ai", "content": [{"text": "text"}]}]}),
    ("crewai", {"raw": "text", "tasks_output": []}),
    ("autogen", {"messages": [{"content": "text"}]}),
]


def as_text(plan: Any) -> str:
    return f"Here it is:\n```json\n{json.dumps(plan)}\n```\nGood luck!"


IN_WORDS: list[tuple[str, Wrap]] = [
    ("langgraph", lambda plan: {"plan": as_text(plan), "messages": []}),
    ("langgraph", lambda plan: {"messages": [{"type": "ai", "content": as_text(plan)}, {"type": "human", "content": "thanks"}]}),
    ("langgraph", lambda plan: {"messages": [{"type": "ai", "content": [{"type": "text", "text": as_text(plan)}]}]}),
    ("crewai", lambda plan: {"raw": "APPROVE", "json_dict": None, "tasks_output": [{"raw": as_text(plan)}, {"raw": "APPROVE"}]}),
    ("crewai", lambda plan: {"raw": as_text(plan)}),
    (
        "autogen",
        lambda plan: {
            "messages": [
                {"source": "user", "content": as_text(OTHER)},
                {"source": "planner", "content": as_text(OTHER)},
                {"source": "planner", "content": as_text(plan)},
                {"source": "critic", "content": "APPROVE"},
            ]
        },
    ),
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


@pytest.mark.parametrize(("framework", "recording"), SPEECH)
def test_a_recording_of_mere_words_holds_no_plan(framework: str, recording: dict[str, Any], context: PlanContext) -> None:
    with pytest.raises(PlanningFailed, match="the model said: text") as failed:
        load_adapters()[framework].replay(for_framework(context, framework), recording)
    assert (failed.value.code, failed.value.layer) == ("planner_no_plan", "planner")


@pytest.mark.parametrize(("framework", "wrap"), IN_WORDS)
def test_a_plan_is_found_in_what_a_model_said(framework: str, wrap: Wrap, document: dict[str, Any], context: PlanContext) -> None:
    planned = load_adapters()[framework].replay(for_framework(context, framework), wrap({**document, "framework": framework}))
    assert planned.plan.plan_id == "p"
    assert planned.plan.normalization_warnings == ["$: the text around the plan was left out"]
    assert planned.trace["source"] == "recording"


def recording(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    output = {
        "framework": "langgraph",
        "framework_version": "1.2",
        "raw": {"plan": document},
        "trace": [{"kind": "x"}],
        "repairs": 1,
    }
    return {
        "scenario_id": "demo",
        "scenario_digest": "d",
        "provider": "mock",
        "model": "m",
        "seed": 1,
        "recorded_at": "2026-01-01T00:00:00Z",
        "output": output,
        "plan_digest": "d",
        **changes,
    }


def test_a_recording_document_is_replayed_and_its_origin_said(document: dict[str, Any], context: PlanContext) -> None:
    planned = load_adapters()["langgraph"].replay(context, recording(document))
    assert planned.plan.plan_id == "p"
    assert planned.planner_output is not None
    assert (planned.planner_output.framework_version, planned.planner_output.repairs) == ("1.2", 1)
    said = {name: planned.trace[name] for name in ("source", "mode", "framework_version", "repairs", "native", "provider", "model")}
    assert said == {
        "source": "recording",
        "mode": "replay",
        "framework_version": "1.2",
        "repairs": 1,
        "native": [{"kind": "x"}],
        "provider": "mock",
        "model": "m",
    }
    assert planned.trace["raw"] == {"plan": document}


def test_a_recording_that_is_broken_or_somebody_elses_is_the_users_mistake(document: dict[str, Any], context: PlanContext) -> None:
    with pytest.raises(UsageError, match=r"\$\.seed: found the text \"one\"") as refused:
        load_adapters()["langgraph"].replay(context, recording(document, seed="one"))
    assert refused.value.code == "invalid_recording"
    with pytest.raises(UsageError, match="one of langgraph, and can't be replayed as crewai"):
        load_adapters()["crewai"].replay(for_framework(context, "crewai"), recording(document))


def test_an_adapter_that_only_replays_refuses_to_plan_with_what_works(context: PlanContext) -> None:
    with pytest.raises(Unsupported, match="the adapter of mine only replays") as refused:
        ReplayAdapter("mine", "mine", "mine", lambda raw: None).live(context, Planning("http://127.0.0.1:9/v1", 1, Pool()))
    assert refused.value.code == "live_unsupported"
    assert "--execgo-mode replay" in refused.value.hint


@pytest.mark.parametrize("version", ["9.8.7", None])
def test_an_adapter_that_only_replays_needs_nothing_installed(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", lookup)
    able = ReplayAdapter("mine", "mine", "mine", lambda raw: None).capabilities()
    assert (able.modes, able.native_version, able.install_hint) == (("replay",), version, "")


def test_a_document_that_unwrapping_gives_back_as_it_came_is_no_recording(document: dict[str, Any], context: PlanContext) -> None:
    adapter = ReplayAdapter("langgraph", "langgraph", "langgraph", lambda raw: raw.get("result", raw))
    assert adapter.replay(context, document).trace["source"] == "reference_plan"
    assert adapter.replay(context, {"result": document}).trace["source"] == "recording"


@dataclass
class Pool:
    """Plans without a process: answers what it was given, and keeps what it was asked."""

    raw: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, PlanningRequest]] = field(default_factory=list)

    def plan(self, framework: str, request: PlanningRequest, on_event: Said) -> PlannerOutput:
        self.asked.append((framework, request))
        on_event({"name": "planning"})
        return PlannerOutput(framework=framework, framework_version="1.2", raw=self.raw, trace=[{"kind": "x"}], repairs=2)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.8.7")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("framework", "wrap"), IN_WORDS)
def test_a_live_plan_comes_from_the_pool_through_the_same_repairs(
    framework: str, wrap: Wrap, document: dict[str, Any], context: PlanContext
) -> None:
    context = for_framework(context, framework).model_copy(update={"mode": "live"})
    pool, told = Pool(wrap({**document, "framework": framework, "mode": "live"})), list[Any]()
    planned = load_adapters()[framework].live(context, Planning("http://127.0.0.1:9/x/v1", 1234, pool, told.append))
    assert planned.plan.plan_id == "p"
    assert planned.plan.normalization_warnings == ["$: the text around the plan was left out"]
    assert planned.planner_output is not None
    assert planned.planner_output.raw == planned.trace["raw"] == pool.raw
    said = {name: planned.trace[name] for name in ("source", "mode", "framework_version", "native_version", "repairs", "native")}
    assert said == {
        "source": "live",
        "mode": "live",
        "framework_version": "1.2",
        "native_version": "9.8.7",
        "repairs": 2,
        "native": [{"kind": "x"}],
    }
    assert told == [{"name": "planning"}]
    [(asked, request)] = pool.asked
    assert (asked, request.context, request.model_url, request.deadline_ms) == (framework, context, "http://127.0.0.1:9/x/v1", 1234)
    assert set(request.tools) == set(context.allowed_tools)
    assert request.tools["os.file"]["required"] == ["action", "path"]
    assert "stages" in request.plan_schema["properties"]


@pytest.mark.usefixtures("installed")
def test_an_output_without_a_plan_is_no_plan(context: PlanContext) -> None:
    with pytest.raises(PlanningFailed, match="there is no plan in what autogen gave") as failed:
        load_adapters()["autogen"].live(for_framework(context, "autogen"), Planning("http://x/v1", 1, Pool({"messages": []})))
    assert failed.value.code == "planner_no_plan"


@pytest.mark.parametrize("framework", ["langgraph", "crewai", "autogen"])
def test_a_framework_that_is_not_installed_says_how_to_get_it(
    framework: str, monkeypatch: pytest.MonkeyPatch, context: PlanContext
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    pool = Pool()
    with pytest.raises(MissingDependency, match=f"{framework} is not installed") as refused:
        load_adapters()[framework].live(for_framework(context, framework), Planning("http://x/v1", 1, pool))
    assert refused.value.hint == f"pip install 'pytest-execgo[{framework}]'"
    assert pool.asked == []


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
    modes = ("replay",) if version is None else ("replay", "live")
    assert (capabilities.framework, capabilities.native_version, capabilities.modes) == (framework, version, modes)
    assert capabilities.install_hint == f"pip install 'pytest-execgo[{framework}]'"
    assert adapter.replay(for_framework(context, framework), document).trace["native_version"] == version


@pytest.mark.parametrize("version", ["0.9", "1.1.99", "unknown"])
def test_a_recording_of_an_older_framework_is_refused_with_what_to_do(context: PlanContext, version: str) -> None:
    recording = Recording(
        scenario_id="demo",
        scenario_digest="0" * 64,
        provider="mock",
        model="m",
        seed=1,
        recorded_at="2026-01-01T00:00:00Z",
        output=PlannerOutput(framework="langgraph", framework_version=version, raw={"plan": {}}),
        plan_digest="0" * 64,
    )
    with pytest.raises(UsageError, match=rf"made with langgraph {version}") as refused:
        load_adapters()["langgraph"].replay(context, recording.model_dump(mode="json"))
    assert "1.2 or newer" in refused.value.hint
