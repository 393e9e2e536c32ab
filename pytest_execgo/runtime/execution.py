"""Executes one task of any kind and says how it ended."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.core.bodies import parse_json
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.process import CommandOutcome, kill_group
from pytest_execgo.runtime.limits import exceeded, run_limited
from pytest_execgo.runtime.models import Command, Emit, Fail, Script, TaskRequest
from pytest_execgo.runtime.tasks import Outcome, Streams, TaskError

SANDBOX_PROFILES = ("process", "none", "")
_RETRYABLE_LAUNCH = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)


@dataclass(slots=True, eq=False)
class Control:
    """The hand on a running execution: ends it, whatever it does at that moment."""

    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    reason: TaskError | None = None
    group: int | None = None

    def cancel(self, reason: TaskError) -> None:
        """End the execution with `reason`; the first reason counts."""
        if self.reason is None:
            self.reason = reason
        self.cancelled.set()
        if self.group is not None:
            kill_group(self.group)

    def spawned(self, pid: int) -> None:
        """Remember the process group; it ends at once when it was cancelled while it was being started."""
        self.group = pid
        if self.cancelled.is_set():
            kill_group(pid)


async def execute(request: TaskRequest, environment: Mapping[str, str], control: Control) -> Outcome:
    """Run what the request asks for and return how it ended. `environment` is what commands get beside their own."""
    execution, sandbox = request.execution, request.sandbox
    if control.reason is not None:  # cancelled before it began: nothing may be started any more
        return Outcome(control.reason)
    if sandbox.strict and sandbox.profile not in SANDBOX_PROFILES:
        message = f"sandbox profile {sandbox.profile!r} can't be had here; available: process"
        return Outcome(error=TaskError("sandbox_setup_failed", message, details={"requested": sandbox.profile}))
    if isinstance(execution, Command | Script):
        return await _run_command(execution, request, environment, control)
    if isinstance(execution, Emit):
        error = await _pause(execution.delay_ms, request, control)
        return Outcome(error=error) if error else Outcome(output=execution.payload, has_output=True)
    if isinstance(execution, Fail):
        error = await _pause(execution.delay_ms, request, control)
        return Outcome(error=error or TaskError(execution.code, execution.message, execution.retryable))
    error = await _pause(execution.duration_ms, request, control)
    return Outcome(error=error) if error else Outcome(output={"slept_ms": execution.duration_ms}, has_output=True)


async def _pause(delay_ms: int, request: TaskRequest, control: Control) -> TaskError | None:
    limit = request.wall_limit_ms()
    try:
        async with asyncio.timeout(min(delay_ms, limit) / 1000):
            await control.cancelled.wait()
    except TimeoutError:
        return _timed_out(limit) if delay_ms > limit else None
    return control.reason


async def _run_command(
    execution: Command | Script, request: TaskRequest, environment: Mapping[str, str], control: Control
) -> Outcome:
    try:
        ended = await run_limited(
            execution.argv(),
            request.limits,
            cwd=execution.cwd or None,
            env={**environment, **execution.env},
            timeout=request.wall_limit_ms() / 1000,
            on_spawn=control.spawned,
        )
    except OSError as error:
        return Outcome(error=control.reason or _launch_failed(execution, request, error))
    finally:
        control.group = None
    return _judge(request, ended, control)


def _judge(request: TaskRequest, ended: CommandOutcome, control: Control) -> Outcome:
    streams = Streams(
        ended.stdout.decode("utf-8", "replace"),
        ended.stderr.decode("utf-8", "replace"),
        ended.exit_code if ended.exit_code is not None else -(ended.signal or 0),
        ended.stdout_truncated,
        ended.stderr_truncated,
    )
    if control.reason is not None:
        return Outcome(control.reason, streams=streams)
    if ended.timed_out:
        return Outcome(_timed_out(request.wall_limit_ms(), streams.shown()), streams=streams)
    output = _json_of(ended)
    if output is _NOT_JSON:
        output = streams.shown()
    if streams.exit_code == 0:
        return Outcome(output=output, has_output=True, streams=streams)
    return Outcome(_failed(request, ended, streams), output, True, streams)


def _failed(request: TaskRequest, ended: CommandOutcome, streams: Streams) -> TaskError:
    limits = request.limits
    found = exceeded(limits, ended, streams.stderr)
    if found is not None:
        message = f"the command exceeded {found.limit}={getattr(limits, found.limit)} ({found.evidence})"
        return TaskError(found.code, message, details=streams.shown() | {"limit": found.limit, "evidence": found.evidence})
    fallback = f"process exited with code {streams.exit_code}"
    details: dict[str, Any] = streams.shown()
    if ended.signal is not None:
        fallback = f"process ended by signal {ended.signal} ({signal.Signals(ended.signal).name})"
        details["signal"] = ended.signal
    return TaskError("exit_nonzero", streams.stderr.strip() or fallback, details=details)


def _timed_out(limit_ms: int, details: dict[str, Any] | None = None) -> TaskError:
    return TaskError("timeout", f"timed out after {limit_ms} ms", True, {**(details or {}), "limit_ms": limit_ms})


def _launch_failed(execution: Command | Script, request: TaskRequest, error: OSError) -> TaskError:
    program = execution.argv()[0]
    reason = error.strerror or os.strerror(error.errno or errno.EIO)
    if error.errno == errno.ENOMEM and request.limits.memory_bytes is not None:
        message = f"memory_bytes={request.limits.memory_bytes} is too little to start {program!r}"
        return TaskError("memory_limit_exceeded", message, details={"limit": "memory_bytes"})
    if execution.cwd and error.filename == execution.cwd:
        message = f"can't start {program!r} in the working folder {execution.cwd!r}: {reason}"
    elif error.errno == errno.E2BIG:
        message = f"can't start {program[:80]!r}: its arguments and environment are too long together"
    else:
        message = f"can't start {program!r}: {reason}"
    return TaskError("launch_failed", message, error.errno in _RETRYABLE_LAUNCH, {"program": program, "reason": reason})


_NOT_JSON = object()


def _json_of(ended: CommandOutcome) -> Any:
    text = ended.stdout.strip()
    if not text or ended.stdout_truncated or text[:1] not in b'{["-0123456789tfn':
        return _NOT_JSON
    try:
        return parse_json(text)
    except ExecGoError:  # not JSON, or JSON that can't be sent on: then it is plain text
        return _NOT_JSON
