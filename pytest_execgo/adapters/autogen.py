"""AutoGen: a planner and a critic in a group chat; the plan is the last message that holds one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from pytest_execgo.adapters.checks import MOST_REPAIRS, problems_of
from pytest_execgo.adapters.extract import newest_plan, text_of
from pytest_execgo.adapters.framework import FrameworkAdapter
from pytest_execgo.adapters.prompts import (
    APPROVE,
    planner_instructions,
    planning_order,
    repair_order,
    review_order,
    reviewer_instructions,
)
from pytest_execgo.adapters.trace import Trace
from pytest_execgo.adapters.wire import DUMMY_KEY, Wire, async_client
from pytest_execgo.plan.planning import PlannerOutput, PlanningRequest

if TYPE_CHECKING:
    from collections.abc import Callable

_USER, _PLANNER, _CRITIC = "user", "planner", "critic"
_MOST_MESSAGES = 2 + 2 * MOST_REPAIRS  # the order, the plan, and for each repair what is wrong and the next plan


def _from_messages(raw: Mapping[str, Any]) -> Mapping[str, Any] | str | None:
    """Return the newest plan among the messages of a task result (`{"messages": […]}`): structured content, or a text."""
    messages = raw.get("messages")
    said = [message for message in reversed(messages if isinstance(messages, list) else []) if isinstance(message, Mapping)]
    return newest_plan(text_of(message.get("content")) for message in said if message.get("source") != _USER)


adapter = FrameworkAdapter("autogen", "autogen-agentchat", "autogen", _from_messages, "0.7.5", planner="autogen")


def prepare() -> None:
    """Import what planning needs. For the planner's process only, like all that follows."""
    for name in ("autogen_agentchat.agents", "autogen_agentchat.teams", "autogen_ext.models.openai"):
        import_module(name)


def plan(request: PlanningRequest, say: Callable[[Mapping[str, Any]], None]) -> PlannerOutput:
    """Plan with two agents that take turns: two requests to the model when the first plan is good."""
    wire = Wire(request)
    trace = Trace(wire.hidden)
    try:
        result = asyncio.run(_chat(request, wire, trace, say))
    except Exception as error:
        raise wire.blame(error) from error
    messages = [{"type": one.type, "source": one.source, "content": one.to_text()} for one in result.messages]
    raw = {"messages": messages, "stop_reason": result.stop_reason}
    plans = sum(message["source"] == _PLANNER for message in messages)
    version = metadata.version("autogen-agentchat")
    return PlannerOutput(
        framework=request.context.framework, framework_version=version, raw=raw, trace=trace.done(), repairs=max(0, plans - 1)
    )


async def _chat(request: PlanningRequest, wire: Wire, trace: Trace, say: Callable[[Mapping[str, Any]], None]) -> Any:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.base import TaskResult
    from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
    from autogen_agentchat.teams import RoundRobinGroupChat

    async with async_client(wire) as http:
        model = _model(request, wire, http)
        planner = AssistantAgent(_PLANNER, model_client=model, system_message=planner_instructions(request))
        reviewer = AssistantAgent("reviewer", model_client=model, system_message=reviewer_instructions(request))
        over = TextMentionTermination(APPROVE, sources=[_CRITIC]) | MaxMessageTermination(_MOST_MESSAGES)
        team = RoundRobinGroupChat([planner, _critic(reviewer, request, wire)], termination_condition=over)
        async for told in team.run_stream(task=planning_order(request)):
            if isinstance(told, TaskResult):
                trace.add("result", stop_reason=told.stop_reason)
                return told
            usage = getattr(told, "models_usage", None)
            trace.add("message", type=told.type, source=told.source, content=told.to_text(), usage=usage)
            say({"name": told.source, "type": told.type})
        raise RuntimeError("the group chat ended without a result")


def _model(request: PlanningRequest, wire: Wire, http: Any) -> Any:
    from autogen_core.models import ModelInfo
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    profile = request.context.model_profile
    return OpenAIChatCompletionClient(
        model=profile.model or "default",
        base_url=wire.url,
        api_key=DUMMY_KEY,
        temperature=profile.temperature,
        max_completion_tokens=profile.max_tokens,
        seed=profile.seed,
        timeout=wire.timeout_s,
        max_retries=0,
        http_client=http,
        # asked for nothing but text, so that any model will do
        model_info=ModelInfo(vision=False, function_calling=False, json_output=False, family="unknown", structured_output=False),
    )


def _critic(reviewer: Any, request: PlanningRequest, wire: Wire) -> Any:
    """Return the agent that answers the planner: with the plan's own checks first, and when they find nothing, as the reviewer."""
    from autogen_agentchat.agents import BaseChatAgent
    from autogen_agentchat.base import Response
    from autogen_agentchat.messages import TextMessage

    class Critic(BaseChatAgent):  # type: ignore[misc]
        @property
        def produced_message_types(self) -> Any:
            return (TextMessage,)

        async def on_messages(self, messages: Any, cancellation_token: Any) -> Any:
            wire.refused()
            text = messages[-1].to_text()
            with wire.noting():  # of what is raised in a team, only the text is left outside of it
                problems = problems_of(text, request.context)
            problems = problems or await self._review(text, cancellation_token)
            # the word ends the chat, wherever it stands
            said = repair_order(problems).replace(APPROVE, APPROVE.lower()) if problems else APPROVE
            return Response(chat_message=TextMessage(content=said, source=self.name))

        async def _review(self, text: str, cancellation_token: Any) -> list[str]:
            order = TextMessage(content=review_order(text), source=_USER)
            answer = await reviewer.on_messages([order], cancellation_token)
            wire.refused()
            said = answer.chat_message.to_text().strip()
            return [] if said.startswith(APPROVE) else [f"the reviewer says: {said}"]

        async def on_reset(self, cancellation_token: Any) -> None:
            await reviewer.on_reset(cancellation_token)

    return Critic(_CRITIC, "Says what is wrong with a plan, or that nothing is.")
