"""What a chat completion request says, as far as the scripted model listens, and who it is addressed to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.jsonio import dumps

Role = Literal["planner", "reviewer"]
REVIEWER_LINE = "ROLE: reviewer"
REPAIR_MARK = "REPAIR:"
_BYTES_A_TOKEN = 4


class _Listened(BaseModel):
    """Clients send many more fields than a scripted answer depends on; those are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Part(_Listened):
    """One part of a message's content; only text is listened to."""

    type: str
    text: str = ""


class CalledFunction(_Listened):
    """What an earlier answer called."""

    name: str
    arguments: str = ""


class ToolCall(_Listened):
    """An earlier answer's call of a tool."""

    id: str = ""
    function: CalledFunction


class Message(_Listened):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def text(self) -> str:
        """Its text, the parts joined by line breaks."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class Function(_Listened):
    """A function that may be called: its parameters are a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class Tool(_Listened):
    """A tool that is offered."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Listened):
    """The name of a function."""

    name: str


class ToolChoice(_Listened):
    """The one function that must be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(_Listened):
    """The schema that an answer must have."""

    name: str = ""
    content: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(_Listened):
    """In which form the answer is wanted."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Listened):
    """What a stream is to hold beside the answer."""

    include_usage: bool | None = None


class ChatRequest(_Listened):
    """The body of `POST …/chat/completions`."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None


def parse_chat(document: Any) -> ChatRequest:
    """Validate a request; an `HttpError` (400) lists every problem."""
    try:
        return ChatRequest.model_validate(document)
    except ValidationError as error:
        raise HttpError.from_validation(error) from None


def role_of(messages: Sequence[Message]) -> Role:
    """Tell whom a conversation addresses: the reviewer where its instructions hold the line `ROLE: reviewer`, else the planner.

    Instructions are the system's messages, or the first message where there are none: what a later message quotes changes no role.
    """
    instructions = [one for one in messages if one.role in ("system", "developer")] or messages[:1]
    lines = (line.strip() for one in instructions for line in one.text.splitlines())
    return "reviewer" if REVIEWER_LINE in lines else "planner"


def asks_for_repair(messages: Sequence[Message]) -> bool:
    """Tell whether the last message of the user asks to mend a plan: a line of it begins with `REPAIR:`, or ends so.

    A framework may put words of its own before what it quotes.
    """
    last = next((one.text for one in reversed(messages) if one.role == "user"), "")
    lines = (line.strip() for line in last.splitlines())
    return any(line.startswith(REPAIR_MARK) or line.endswith(REPAIR_MARK) for line in lines)


def tokens(text: str) -> int:
    """Count a text's tokens: one for every four bytes of its UTF-8, rounded up."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def prompt_tokens(request: ChatRequest) -> int:
    """Count a request's tokens: of each message's text and calls, of the tools that it offers, of the schema that it gives."""
    return sum(map(tokens, _texts(request)))


def _texts(request: ChatRequest) -> Iterator[str]:
    for one in request.messages:
        yield one.text
        yield from (f"{call.function.name}{call.function.arguments}" for call in one.tool_calls or ())
    yield from (dumps(tool.model_dump()) for tool in request.tools or ())
    if request.response_format is not None and request.response_format.json_schema is not None:
        yield dumps(request.response_format.json_schema.content)
