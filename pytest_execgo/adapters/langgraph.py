"""LangGraph: a graph that plans, validates and repairs; the plan is in its final state."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from pytest_execgo.adapters.checks import MOST_REPAIRS, problems_of
from pytest_execgo.adapters.extract import newest_plan, text_of
from pytest_execgo.adapters.framework import FrameworkAdapter
from pytest_execgo.adapters.prompts import planner_instructions, planning_order, repair_order
from pytest_execgo.adapters.trace import Trace
from pytest_execgo.adapters.wire import DUMMY_KEY, Wire, async_client, sync_client
from pytest_execgo.plan.planning import PlannerOutput, PlanningRequest

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS = 2 * MOST_REPAIRS + 4  # of the graph; more would be a loop


def _from_state(raw: Mapping[str, Any]) -> Mapping[str, Any] | str | None:
    """Return the `plan` of a final state (`{"plan": …}`, or `values` of a snapshot), else the newest in its messages."""
    state = raw.get("values", raw)
    if not isinstance(state, Mapping):
        return None
    messages = state.get("messages")
    said = [message for message in reversed(messages if isinstance(messages, list) else []) if isinstance(message, Mapping)]
    spoken = [text_of(message.get("content")) for message in said if message.get("type") in ("ai", "assistant")]
    return newest_plan([state.get("plan"), *spoken])


adapter = FrameworkAdapter("langgraph", "langgraph", "langgraph", _from_state, "1.2", planner="langgraph")


def prepare() -> None:
    """Import what planning needs. For the planner's process only, like all that follows."""
    for name in ("langchain_openai", "langgraph.graph", "langgraph.checkpoint.memory"):
        import_module(name)


def plan(request: PlanningRequest, say: Callable[[Mapping[str, Any]], None]) -> PlannerOutput:
    """Plan with a StateGraph: one request to the model when its first plan is good, one more for each repair."""
    wire = Wire(request)
    trace = Trace(wire.hidden)
    try:
        with sync_client(wire) as client:
            state = _run(_graph(_model(request, wire, client), request, wire), trace, say)
    except Exception as error:
        raise wire.blame(error) from error
    messages = [{"type": message.type, "content": message.content} for message in state["messages"]]
    raw = {"plan": state["plan"], "problems": state["problems"], "messages": messages}
    version = metadata.version("langgraph")
    return PlannerOutput(
        framework=request.context.framework, framework_version=version, raw=raw, trace=trace.done(), repairs=state["repairs"]
    )


def _model(request: PlanningRequest, wire: Wire, client: Any) -> Any:
    from langchain_openai import ChatOpenAI

    profile = request.context.model_profile
    return ChatOpenAI(
        model=profile.model or "default",
        base_url=wire.url,
        api_key=DUMMY_KEY,
        temperature=profile.temperature,
        max_completion_tokens=profile.max_tokens,
        seed=profile.seed,
        timeout=wire.timeout_s,
        max_retries=0,
        use_responses_api=False,
        http_client=client,
        http_async_client=async_client(wire),  # never used, but a default one costs 80 ms
    )


def _graph(model: Any, request: PlanningRequest, wire: Wire) -> Any:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph

    class State(MessagesState):  # type: ignore[misc]
        plan: str
        problems: list[str]
        repairs: int

    def ask(messages: list[Any], order: Any) -> dict[str, Any]:
        answer = model.invoke([*messages, order])
        wire.refused()
        return {"messages": [order, answer], "plan": text_of(answer.content)}

    def plan_node(state: dict[str, Any]) -> dict[str, Any]:
        instructions = SystemMessage(planner_instructions(request))
        said = ask([instructions], HumanMessage(planning_order(request)))
        return {**said, "messages": [instructions, *said["messages"]], "repairs": 0}

    def validate_node(state: dict[str, Any]) -> dict[str, Any]:
        return {"problems": problems_of(state["plan"], request.context)}

    def repair_node(state: dict[str, Any]) -> dict[str, Any]:
        said = ask(state["messages"], HumanMessage(repair_order(state["problems"])))
        return {**said, "repairs": state["repairs"] + 1}

    def good_enough(state: dict[str, Any]) -> str:
        return "repair" if state["problems"] and state["repairs"] < MOST_REPAIRS else "done"

    graph = StateGraph(State)
    for name, node in (("plan", plan_node), ("validate", validate_node), ("repair", repair_node)):
        graph.add_node(name, node)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "validate")
    graph.add_conditional_edges("validate", good_enough, {"repair": "repair", "done": END})
    graph.add_edge("repair", "validate")
    return graph.compile(checkpointer=InMemorySaver())


def _run(graph: Any, trace: Trace, say: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Run the graph, note what it streams and what the model's callbacks tell, and return the final state."""
    config = {"configurable": {"thread_id": "plan"}, "recursion_limit": _STEPS, "callbacks": [_callbacks(trace)]}
    for mode, told in graph.stream({"messages": []}, config, stream_mode=["updates", "tasks", "checkpoints"]):
        if mode == "checkpoints":  # the values are those of the updates before
            trace.add("checkpoint", next=told["next"], step=told["metadata"].get("step"), source=told["metadata"].get("source"))
        elif mode == "tasks":
            trace.add("task", name=told["name"], error=told.get("error"), finished="result" in told)
        else:
            for node, update in told.items():
                trace.add("update", node=node, update=update)
                say({"name": node, "problems": len(update.get("problems") or ())})
    values: dict[str, Any] = graph.get_state(config).values
    return values


def _callbacks(trace: Trace) -> Any:
    from langchain_core.callbacks import BaseCallbackHandler

    class Notes(BaseCallbackHandler):  # type: ignore[misc]
        def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
            node = (more.get("metadata") or {}).get("langgraph_node")
            trace.add("model_start", node=node, messages=sum(map(len, messages)))

        def on_llm_end(self, response: Any, **more: Any) -> None:
            trace.add("model_end", output=response.llm_output)

        def on_llm_error(self, error: BaseException, **more: Any) -> None:
            trace.add("model_error", error=f"{type(error).__name__}: {error}")

    return Notes()
