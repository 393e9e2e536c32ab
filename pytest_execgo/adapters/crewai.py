"""CrewAI: a crew of a planner and a reviewer; the plan is the planner's task output."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from pytest_execgo.adapters.checks import MOST_REPAIRS, problems_of
from pytest_execgo.adapters.extract import newest_plan
from pytest_execgo.adapters.framework import FrameworkAdapter
from pytest_execgo.adapters.prompts import (
    APPROVE,
    planner_instructions,
    planning_order,
    repair_order,
    reviewer_instructions,
)
from pytest_execgo.adapters.trace import Trace
from pytest_execgo.adapters.wire import DUMMY_KEY, Wire, async_client, sync_client
from pytest_execgo.plan.planning import PlannerOutput, PlanningRequest

if TYPE_CHECKING:
    from collections.abc import Callable

_FLUSH_S = 10.0  # for handlers of events that are still under way; they only take notes


def _from_crew_output(raw: Mapping[str, Any]) -> Mapping[str, Any] | str | None:
    """Return the `json_dict` of a crew's output, or of its last task's output, else the newest text with a plan in it."""
    if isinstance(raw.get("json_dict"), Mapping):
        return raw["json_dict"]  # type: ignore[no-any-return]
    given = raw.get("tasks_output")
    outputs = [output for output in reversed(given if isinstance(given, list) else []) if isinstance(output, Mapping)]
    if outputs and isinstance(outputs[0].get("json_dict"), Mapping):
        return outputs[0]["json_dict"]  # type: ignore[no-any-return]
    structured = [output["json_dict"] for output in outputs if isinstance(output.get("json_dict"), Mapping)]
    return newest_plan([*structured, *(output.get("raw") for output in (*outputs, raw))])


adapter = FrameworkAdapter("crewai", "crewai", "crewai", _from_crew_output, "1.15", planner="crewai")


def prepare() -> None:
    """Import what planning needs. For the planner's process only, like all that follows."""
    import_module("crewai")
    _llm_class()


def plan(request: PlanningRequest, say: Callable[[Mapping[str, Any]], None]) -> PlannerOutput:
    """Plan with a crew whose planning task has the plan's checks as guardrail: two requests to the model for a good plan."""
    from crewai.events import crewai_event_bus

    wire = Wire(request)
    trace = Trace(wire.hidden)
    try:
        with sync_client(wire, final=(429,)) as client, crewai_event_bus.scoped_handlers():
            _take_notes(crewai_event_bus, trace, say)
            output, repairs = _crew_work(request, _llm(request, wire, client))
            crewai_event_bus.flush(_FLUSH_S)
    except Exception as error:
        raise wire.blame(error) from error
    trace.entries.sort(key=lambda entry: entry.get("emission_sequence") or 0)  # handlers run in threads
    tasks = [{"name": one.name, "agent": one.agent, "raw": one.raw, "json_dict": one.json_dict} for one in output.tasks_output]
    usage = output.token_usage.model_dump()
    raw = {"raw": output.raw, "json_dict": output.json_dict, "tasks_output": tasks, "token_usage": usage}
    version = metadata.version("crewai")
    return PlannerOutput(
        framework=request.context.framework, framework_version=version, raw=raw, trace=trace.done(), repairs=repairs
    )


def _crew_work(request: PlanningRequest, llm: Any) -> tuple[Any, int]:
    """Let a crew plan and review, again with the reviewer's objection while repairs are left; return its output and the repairs."""
    repairs, objections = 0, ""

    def guardrail(output: Any) -> tuple[bool, Any]:
        nonlocal repairs
        problems = problems_of(output.raw, request.context)
        if not problems or repairs >= MOST_REPAIRS:
            return True, output.raw
        repairs += 1
        return False, repair_order(problems)

    while True:
        # CrewAI looks at a guardrail's annotations, and can't read those of this module
        output = _crew(request, llm, lambda output: guardrail(output), objections).kickoff()
        review = output.raw.strip()
        if review.startswith(APPROVE) or repairs >= MOST_REPAIRS:
            return output, repairs
        repairs += 1
        before = output.tasks_output[0].raw
        objections = f"\n\nYour last plan:\n\n{before}\n\n{repair_order([f'the reviewer says: {review}'])}"


def _crew(request: PlanningRequest, llm: Any, guardrail: Callable[[Any], tuple[bool, Any]], objections: str) -> Any:
    from crewai import Agent, Crew, Process, Task

    def agent(role: str, goal: str, backstory: str) -> Any:
        return Agent(role=role, goal=goal, backstory=backstory, llm=llm, max_retry_limit=0, allow_delegation=False, verbose=False)

    planner = agent("Planner", "Write a plan that reaches the objective.", planner_instructions(request))
    reviewer = agent("Reviewer", "Let no plan pass that would fail.", f"You review.\n{reviewer_instructions(request)}")
    planning = Task(
        name="plan",
        description=planning_order(request) + objections,
        expected_output="The plan: one JSON object.",
        agent=planner,
        guardrail=guardrail,
        guardrail_max_retries=MOST_REPAIRS,
    )
    reviewing = Task(
        name="review",
        description="Review the plan that you are given.",
        expected_output=f"{APPROVE}, or what is wrong with the plan.",
        agent=reviewer,
        context=[planning],
    )
    agents, tasks = [planner, reviewer], [planning, reviewing]
    return Crew(agents=agents, tasks=tasks, process=Process.sequential, verbose=False, cache=False, memory=False)


def _llm(request: PlanningRequest, wire: Wire, client: Any) -> Any:
    profile = request.context.model_profile
    llm = _llm_class()(
        model=profile.model or "default",
        base_url=wire.url,
        api_key=DUMMY_KEY,
        temperature=profile.temperature,
        max_completion_tokens=profile.max_tokens,
        seed=profile.seed,
        timeout=wire.timeout_s,
        max_retries=0,
        client_params={"wire": wire, "client": client},
    )
    return llm


@cache
def _llm_class() -> Any:
    """Return CrewAI's client for OpenAI-compatible services, over an HTTP client of ours (its own take 160 ms to make)."""
    from crewai.llms.providers.openai.completion import OpenAICompletion
    from openai import AsyncOpenAI, OpenAI

    class WiredCompletion(OpenAICompletion):  # type: ignore[misc]
        def _own(self, client: Any) -> dict[str, Any]:
            return {
                "base_url": self.base_url,
                "api_key": DUMMY_KEY,
                "timeout": self.timeout,
                "max_retries": 0,
                "http_client": client,
            }

        def _build_sync_client(self) -> Any:
            return OpenAI(**self._own((self.client_params or {})["client"]))

        def _build_async_client(self) -> Any:
            return AsyncOpenAI(**self._own(async_client((self.client_params or {})["wire"])))

    return WiredCompletion


def _take_notes(bus: Any, trace: Trace, say: Callable[[Mapping[str, Any]], None]) -> None:
    """Note the events of crews, tasks, agents, guardrails and models."""
    from crewai.events import event_types
    from crewai.events.base_events import BaseEvent

    families = ("CrewKickoff", "Task", "AgentExecution", "LLMCall", "LLMGuardrail")
    found = [
        value
        for name, value in vars(event_types).items()
        if isinstance(value, type) and issubclass(value, BaseEvent) and name.startswith(families) and name.endswith("Event")
    ]
    skipped = {"timestamp", "type", "previous_event_id", "fingerprint_metadata", "source_fingerprint", "agent", "task"}

    def note(source: Any, event: Any) -> None:
        fields = {name: getattr(event, name) for name in type(event).model_fields if name not in skipped}
        trace.add(event.type, **{name: value for name, value in fields.items() if _plain(value)})
        say({"name": event.type, "agent": event.agent_role})

    for kind in found:
        bus.on(kind)(note)


def _plain(value: Any) -> bool:
    return value is not None and isinstance(value, bool | int | float | str | list | dict)
