"""noop: says back what it was told."""

from __future__ import annotations

from pytest_execgo.kernel.executors.tools.tool import ToolContext, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import json_object

_PARAMS = kinds.Struct("NoopParams", "executor.NoopParams", {"message": kinds.String()})


async def noop(params: str | None, context: ToolContext) -> str:
    """Return `{"message", "ok"}`; alone among the tools it needs no parameters at all."""
    given = parameters("noop", params, _PARAMS) if params is not None else {}
    return json_object(ok=True, message=given.get("message") or "")
