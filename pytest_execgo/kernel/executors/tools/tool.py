"""What an os tool is: parameters in, a result as JSON text out, or a `ToolError`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pytest_execgo.kernel.executors.executor import DEADLINE
from pytest_execgo.kernel.executors.threads import Threads
from pytest_execgo.kernel.executors.web import Web
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.settings import Settings


class ToolError(Exception):
    """A tool failed. `output` is what it had produced (JSON text); `late`: the task's timeout ended it."""

    def __init__(self, message: str, output: str | None = None, *, late: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.output = output
        self.late = late


class DeadlineExceeded(ToolError):
    """The task's timeout ended a tool that has nothing to add."""

    def __init__(self, message: str = DEADLINE) -> None:
        super().__init__(message, late=True)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use. `timeout` is the task's, in seconds; each tool keeps it itself, as its error depends on it."""

    timeout: float | None
    settings: Settings
    threads: Threads
    web: Web


Tool = Callable[[str | None, ToolContext], Awaitable[str]]


def parameters(tool: str, text: str | None, kind: kinds.Struct) -> dict[str, Any]:
    """Decode a tool's parameters (JSON text, None when there are none); `ToolError` in Go's words if they don't fit."""
    try:
        value: dict[str, Any] | None = decoding.decode(text or "", kind)
    except GoJSONError as error:
        raise ToolError(f"parse {tool} params: {error}") from error
    return value or {}
