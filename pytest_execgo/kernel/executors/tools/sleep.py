"""sleep: waits."""

from __future__ import annotations

import asyncio
import time

from pytest_execgo.kernel.executors.tools.tool import DeadlineExceeded, ToolContext, ToolError, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import json_object

_MAX_MS = 600_000
_PARAMS = kinds.Struct("SleepParams", "executor.SleepParams", {"duration_ms": kinds.Int("int64")})


async def sleep(params: str | None, context: ToolContext) -> str:
    """Wait `duration_ms` and return `{"slept_ms"}`."""
    duration_ms: int = parameters("sleep", params, _PARAMS).get("duration_ms") or 0
    if duration_ms < 0:
        raise ToolError("duration_ms must be non-negative")
    if duration_ms > _MAX_MS:
        raise ToolError(f"duration_ms exceeds max of {_MAX_MS} ms")
    if duration_ms:
        try:
            async with asyncio.timeout(context.timeout):
                await _sleep(duration_ms / 1000)
        except TimeoutError as error:
            raise DeadlineExceeded from error
    return json_object(slept_ms=duration_ms)


async def _sleep(seconds: float) -> None:
    """Sleep for that long at least: the loop's timers may fire up to a millisecond early."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 - it is the clock that is waited for
        await asyncio.sleep(max(left, 0.001))
