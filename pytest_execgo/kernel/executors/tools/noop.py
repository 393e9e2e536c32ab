"""noop: says back what it was told."""

from __future__ import annotations

from pytest_execgo.kernel.executors.tools.tool import ToolContext, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import json_object

_PARAMS = kinds.Struct("NoopParams", "executor.NoopParams", {"message": kinds.String()})


_SILENT = json_object(ok=True, message="")


def say(params: str | None) -> str:
    """Return `{"message", "ok"}`; alone among the tools it needs no parameters at all."""
    if params is None:
        return _SILENT
    return json_object(ok=True, message=parameters("noop", params, _PARAMS).get("message") or "")


async def noop(params: str | None, context: ToolContext) -> str:
    """Return what `say` says, for a caller that awaits every tool."""
    return say(params)
