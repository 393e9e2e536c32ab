"""mcp: tasks that are handed over and looked up by their handle, in a graph or through /mcp/call.

What runs them is a stand-in, as in ExecGo: it echoes its input. It is there so that clients can try the way of a handle:
accepted, started, completed, each with its time. Handles live as long as the process, the latest `_KEPT` of them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from pytest_execgo.kernel.executors.executor import Attempt, Outcome
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import json_string
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.task import RunStatus

TOOLS = (
    '{"tools":[{"name":"mcp.execute","category":"mcp","description":"Execute MCP task and return handle",'
    '"input_schema":{"type":"object"}}]}'
)
_KEPT = 10_000
_CALL = kinds.Struct(
    "",
    'struct { ID string "json:\\"id\\""; ToolName string "json:\\"tool_name\\""; Input json.RawMessage "json:\\"input\\""; '
    'Timeout int64 "json:\\"timeout,omitempty\\"" }',
    {"id": kinds.String(), "tool_name": kinds.String(), "input": kinds.Raw(), "timeout": kinds.Int("int64")},
)


@dataclass(frozen=True, slots=True)
class Handle:
    """How a call stands. `input` and `output` are JSON text; times are nanoseconds since 1970."""

    id: str
    task_id: str
    tool_name: str
    input: str | None
    started_ns: int
    status: RunStatus = RunStatus.ACCEPTED
    output: str | None = None
    finished_ns: int | None = None
    progress: tuple[tuple[int, str], ...] = ()

    @property
    def duration_ms(self) -> int:
        """How long the call took, in whole milliseconds; 0 while it runs."""
        return 0 if self.finished_ns is None else (self.finished_ns - self.started_ns) // 1_000_000

    def encode_progress(self) -> str:
        """Return the steps so far as JSON."""
        steps = (f'{{"timestamp":"{Moment(ns)}","message":{json_string(message)}}}' for ns, message in self.progress)
        return "[" + ",".join(steps) + "]"

    def encode(self) -> str:
        """Return the handle's JSON, its fields in ExecGo's order."""
        parts = [f'"task_id":{json_string(self.task_id)}'] if self.task_id else []
        parts.append(f'"status":"{self.status}","handle_id":"{self.id}"')
        if self.output is not None:
            parts.append(f'"output":{self.output}')
        parts.append(f'"progress":{self.encode_progress()},"started_at":"{Moment(self.started_ns)}"')
        if self.finished_ns is not None:
            parts.append(f'"finished_at":"{Moment(self.finished_ns)}"')
        if self.duration_ms:
            parts.append(f'"duration_ms":{self.duration_ms}')
        return "{" + ",".join(parts) + "}"


class McpExecutor:
    """Runs `mcp` tasks, and calls from outside of any graph."""

    def __init__(self) -> None:
        self._handles: dict[str, Handle] = {}
        self._last_ns = 0

    async def run(self, attempt: Attempt) -> Outcome:
        """Accept the task under a handle, show it, and run it to its end."""
        spec = attempt.spec
        handle = self._accept(spec.id, spec.tool_name, spec.params if spec.input is None else spec.input)
        attempt.report(_outcome(handle))
        await asyncio.sleep(0)  # whoever looks now sees an accepted task, as with a tool that takes its time
        return _outcome(self._execute(handle))

    async def close(self) -> None:
        """Nothing is held between attempts."""

    def call(self, body: bytes) -> str:
        """Accept a call (the body of POST /mcp/call), return its handle's JSON, and run it after that; `Refused` if unreadable."""
        try:
            call = decoding.decode_first(body, _CALL) or {}
        except GoJSONError as error:
            raise Refused(f"invalid JSON: {error}") from error
        handle = self._accept(call.get("id") or "", call.get("tool_name") or "", call.get("input"))
        asyncio.get_running_loop().call_soon(self._execute, handle)
        return handle.encode()

    def get(self, handle_id: str) -> str | None:
        """Return a handle's JSON, or None."""
        handle = self._handles.get(handle_id)
        return None if handle is None else handle.encode()

    def _accept(self, task_id: str, tool_name: str, given: str | None) -> Handle:
        now = time.time_ns()
        self._last_ns = max(now, self._last_ns + 1)  # the clock can stand still between two calls, handles can't
        handle = Handle(f"mcp-{self._last_ns}", task_id, tool_name, given, now, progress=((now, "task accepted"),))
        self._handles[handle.id] = handle
        if len(self._handles) > _KEPT:
            del self._handles[next(iter(self._handles))]
        return handle

    def _execute(self, handle: Handle) -> Handle:
        """Start and finish a call."""
        started = time.time_ns()
        output = f'{{"echo":{"null" if handle.input is None else handle.input},"tool_name":{json_string(handle.tool_name)}}}'
        finished = max(time.time_ns(), started)
        done = replace(
            handle,
            status=RunStatus.SUCCESS,
            output=output,
            finished_ns=max(finished, handle.started_ns),
            progress=(*handle.progress, (started, "task started"), (finished, "task completed")),
        )
        if handle.id in self._handles:
            self._handles[handle.id] = done
        return done


def _outcome(handle: Handle) -> Outcome:
    return Outcome(
        handle.status,
        handle.output,
        handle_id=handle.id,
        started=Moment(handle.started_ns),
        finished=None if handle.finished_ns is None else Moment(handle.finished_ns),
        duration_ms=handle.duration_ms,
        progress=handle.encode_progress(),
    )
