"""What the scripted model answers: the role's words in the framework's form, or a tool call, with the faults that are due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fixtures_service.model.chat import ChatRequest, Role, ToolChoice
from fixtures_service.model.faults import ModelFault
from fixtures_service.model.review import review
from fixtures_service.model.schema_fit import plan_for, verdict_for
from fixtures_service.model.spoil import repeat_task, spoil_plan, spoil_text
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.jsonio import dumps

Form = Literal["langgraph", "crewai", "autogen", "plain"]
FINAL_ANSWER = "Final Answer:"
_THOUGHT = "Thought: I now can give a great answer\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the model. `calls` are (function, arguments as text); without `choices` the answer holds no message at all."""

    content: str | None = None
    refusal: str | None = None
    calls: tuple[tuple[str, str], ...] = ()
    finish_reason: str = "stop"
    choices: bool = field(default=True, kw_only=True)

    @property
    def text(self) -> str:
        """All that it says, as it is counted."""
        return (self.content or "") + (self.refusal or "") + "".join(name + arguments for name, arguments in self.calls)


def answer_for(role: Role, form: Form, request: ChatRequest, plan: dict[str, Any], due: ModelFault | None) -> tuple[Answer, bool]:
    """Return the answer to a request, and whether it suffers from the fault that is due.

    400 where the request wants the answer in a schema that takes none.
    """
    fault = due.fault if due is not None else None
    if due is not None and fault == "refusal":
        said = due.parameters.text
        return (Answer(content=_in_form(form, request, said)) if due.parameters.plain else Answer(refusal=said)), True
    if fault == "empty_choices":
        return Answer(choices=False), True
    if role == "reviewer":
        return _spoken(form, request, _reviewed(request)), False
    if due is None or fault is None:
        return _spoken(form, request, _planned(plan)), False
    return _spoiled(form, request, plan, due)


def _spoiled(form: Form, request: ChatRequest, plan: dict[str, Any], due: ModelFault) -> tuple[Answer, bool]:
    fault = str(due.fault)
    changed = spoil_plan(fault, plan, due.parameters)
    if changed is None:
        return _spoken(form, request, _planned(plan)), False
    twice = fault == "duplicate_tool_call"
    if twice and _called(request, _planned(plan)) is None:
        changed = repeat_task(plan)
    answer = _spoken(form, request, _planned(changed), lambda text: spoil_text(fault, text))
    if fault == "truncated_json":
        answer = Answer(answer.content, calls=answer.calls, finish_reason="length")
    return (Answer(calls=answer.calls * 2, finish_reason="tool_calls") if twice and answer.calls else answer), True


@dataclass(frozen=True, slots=True)
class _Words:
    """What a role has to say: as text, and in the shape of a schema (None: the schema takes no such thing)."""

    text: str
    shaped: Callable[[dict[str, Any]], dict[str, Any] | None]
    offered: bool
    """Whether a tool is used that is merely offered."""


def _planned(plan: dict[str, Any]) -> _Words:
    return _Words(dumps(plan), lambda schema: plan_for(schema, plan), offered=True)


def _reviewed(request: ChatRequest) -> _Words:
    approved, said = review(request.messages)
    return _Words(said, lambda schema: verdict_for(schema, approved, said), offered=False)


def _spoken(form: Form, request: ChatRequest, words: _Words, spoil: Callable[[str], str] = str) -> Answer:
    call = _called(request, words)
    if call is not None:
        return Answer(calls=((call[0], spoil(dumps(call[1]))),), finish_reason="tool_calls")
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return Answer(_in_form(form, request, spoil(words.text)))
    schema = (wanted.json_schema.content if wanted.json_schema is not None else None) or {}
    shaped = words.shaped(schema)
    if shaped is None:
        raise _unfit("response_format", "the schema")
    return Answer(spoil(dumps(shaped)))


def _called(request: ChatRequest, words: _Words) -> tuple[str, dict[str, Any]] | None:
    """Return the tool that is called, and with what: one that the request forces, or the only one offered that takes the answer.

    An offered tool that has been called is not called again: its result asks for an answer.
    """
    choice = request.tool_choice or "auto"
    tools = [one.function for one in request.tools or ()]
    if choice == "none" or (not tools and choice == "auto"):
        return None
    named = choice.function.name if isinstance(choice, ToolChoice) else None
    fits = [
        (one.name, shaped) for one in tools if named in (None, one.name) and (shaped := words.shaped(one.parameters)) is not None
    ]
    if choice != "auto":
        if not fits:
            raise _unfit("tool_choice", f"the tool {named!r}" if named else f"none of the {len(tools)} tools")
        return fits[0]
    return fits[0] if words.offered and len(tools) == len(fits) == 1 and request.messages[-1].role != "tool" else None


def _unfit(param: str, what: str) -> HttpError:
    message = f"{what} takes no plan: it needs a property `stages`, or one object or text as its only property"
    return HttpError(400, "unusable_schema", message, {"param": param})


def _in_form(form: Form, request: ChatRequest, said: str) -> str:
    """Return what is said as the prompt asks for it: CrewAI's may want a thought and a final answer."""
    asked = form == "crewai" and any(FINAL_ANSWER in one.text for one in request.messages)
    return f"{_THOUGHT}{FINAL_ANSWER} {said}" if asked else said
