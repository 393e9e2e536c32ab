"""Tells a task's outcome from how its command ended."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from pytest_execgo.core.bodies import parse_json
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.runtime.keeper_records import EndRecord, LaunchFailure
from pytest_execgo.runtime.limits import exceeded
from pytest_execgo.runtime.models import Command, Script, TaskRequest
from pytest_execgo.runtime.tasks import Outcome, Streams, TaskError

_RETRYABLE_LAUNCH = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
_NOT_JSON = object()


def judge(request: TaskRequest, ended: EndRecord) -> Outcome:
    """Return the outcome that a command's end means for the task that asked for it."""
    reason = ended.reason
    error = None if reason is None else TaskError(reason.code, reason.message, reason.retryable)
    if ended.exit_code is None and ended.signal is None:  # it was never spawned, or nobody saw its end
        if error is None:
            failure = ended.launch or LaunchFailure(0, "it ended unseen", "")
            error = _launch_failed(request, failure)
        return Outcome(error, isolation=ended.isolation)
    streams = Streams(
        ended.stdout.decode("utf-8", "replace"),
        ended.stderr.decode("utf-8", "replace"),
        ended.exit_code if ended.exit_code is not None else -(ended.signal or 0),
        ended.stdout_truncated,
        ended.stderr_truncated,
    )
    if error is None and ended.timed_out:
        error = timed_out(request.wall_limit_ms(), streams.shown())
    if error is not None:
        return Outcome(error, streams=streams, isolation=ended.isolation)
    output = _json_of(ended)
    if output is _NOT_JSON:
        output = streams.shown()
    error = None if streams.exit_code == 0 else _failed(request, ended, streams)
    return Outcome(error, output, True, streams, ended.isolation)


def timed_out(limit_ms: int, details: dict[str, Any] | None = None) -> TaskError:
    """Return the error of a task that its wall limit ended."""
    return TaskError("timeout", f"timed out after {limit_ms} ms", True, {**(details or {}), "limit_ms": limit_ms})


def _failed(request: TaskRequest, ended: EndRecord, streams: Streams) -> TaskError:
    limits = request.limits
    found = exceeded(limits, ended, streams.stderr)
    if found is not None:
        message = f"the command exceeded {found.limit}={getattr(limits, found.limit)} ({found.evidence})"
        return TaskError(found.code, message, details=streams.shown() | {"limit": found.limit, "evidence": found.evidence})
    fallback = f"process exited with code {streams.exit_code}"
    details: dict[str, Any] = streams.shown()
    if ended.signal is not None:
        fallback = f"process ended by signal {ended.signal} ({_signal_name(ended.signal)})"
        details["signal"] = ended.signal
    return TaskError("exit_nonzero", streams.stderr.strip() or fallback, details=details)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return "real-time"


def _launch_failed(request: TaskRequest, failure: LaunchFailure) -> TaskError:
    execution = request.execution
    assert isinstance(execution, Command | Script)
    program = execution.argv()[0]
    reason = failure.text or os.strerror(failure.errno or errno.EIO)
    if failure.errno == errno.ENOMEM and request.limits.memory_bytes is not None:
        message = f"memory_bytes={request.limits.memory_bytes} is too little to start {program!r}"
        return TaskError("memory_limit_exceeded", message, details={"limit": "memory_bytes"})
    if execution.cwd and failure.filename == execution.cwd:
        message = f"can't start {program!r} in the working folder {execution.cwd!r}: {reason}"
    elif failure.errno == errno.E2BIG:
        message = f"can't start {program[:80]!r}: its arguments and environment are too long together"
    else:
        message = f"can't start {program!r}: {reason}"
    return TaskError("launch_failed", message, failure.errno in _RETRYABLE_LAUNCH, {"program": program, "reason": reason})


def _json_of(ended: EndRecord) -> Any:
    text = ended.stdout.strip()
    if not text or ended.stdout_truncated or text[:1] not in b'{["-0123456789tfn':
        return _NOT_JSON
    try:
        return parse_json(text)
    except ExecGoError:  # not JSON, or JSON that can't be sent on: then it is plain text
        return _NOT_JSON
