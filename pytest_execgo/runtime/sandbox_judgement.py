"""Tells a task's outcome from what its sandbox says: the report on a command, the result of code."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_execgo.plan.sandbox import SandboxMode
from pytest_execgo.runtime.judgement import judge, timed_out
from pytest_execgo.runtime.keeper_records import EndRecord
from pytest_execgo.runtime.models import TaskRequest
from pytest_execgo.runtime.tasks import Outcome, Streams, TaskError

_OVER: Mapping[str, tuple[str, str]] = {
    "memory": ("memory_limit_exceeded", "memory_bytes"),
    "processes": ("resource_limit_exceeded", "pids_max"),
    "disk": ("resource_limit_exceeded", "disk"),
}
"""What a sandbox's limit is called here: the error's code, and the limit."""
_BEGINNINGS = {"timed out": "timeout", "out of memory": "memory", "out of processes": "processes", "out of disk": "disk"}
"""How the error of a result begins that names a limit."""


def judge_command(request: TaskRequest, ended: EndRecord, report: Mapping[str, Any] | None, mode: SandboxMode) -> Outcome:
    """Return the outcome of a command whose sandbox ended so, having reported that."""
    if ended.reason is not None or ended.timed_out or ended.launch is not None:
        return judge(request, ended)
    if report is None:
        return _no_report(ended)
    if report.get("outcome") != "ended":
        return _not_run(report, mode, launched=report.get("outcome") != "not_started")
    code, limit = int(report["exit_code"]), str(report.get("limit"))
    cut = bool(report.get("truncated"))
    most = max(request.limits.stdout_max_bytes, request.limits.stderr_max_bytes)
    told = replace(
        ended,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        timed_out=limit == "timeout" and not (code == -signal.SIGXCPU and request.limits.cpu_time_sec is not None),
        stdout_truncated=ended.stdout_truncated or (cut and len(ended.stdout) > most),
        stderr_truncated=ended.stderr_truncated or (cut and len(ended.stderr) > most),
    )
    outcome = replace(judge(request, told), isolation=_isolation(report, mode))
    if limit in _OVER and outcome.streams is not None:
        return replace(outcome, error=_over(limit, f"the command was over its sandbox's limit: {limit}", outcome.streams.shown()))
    return outcome


def judge_code(request: TaskRequest, ended: EndRecord, mode: SandboxMode) -> Outcome:
    """Return the outcome of code whose sandbox ended so, having written its result."""
    if ended.reason is not None or ended.timed_out or ended.launch is not None:
        return replace(judge(request, ended), streams=None)
    try:
        result = json.loads(ended.stdout)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        return _no_report(ended)
    problem = result.get("error")
    if isinstance(problem, dict):
        return _not_run(problem, mode, invalid=problem["code"] == "bad_request")
    truncated = bool(result["truncated"])
    streams = Streams(result["stdout"], result["stderr"], result["exit_code"], truncated, truncated)
    error = None if result["success"] else _failed(request, problem, streams)
    return Outcome(error, result, True, streams, _isolation(result, mode))


def _failed(request: TaskRequest, said: str | None, streams: Streams) -> TaskError:
    """Return the error of code that did not succeed; `said` is the sandbox's own word, if it has one."""
    limit = next((limit for beginning, limit in _BEGINNINGS.items() if said and said.startswith(beginning)), None)
    if limit == "timeout":
        return timed_out(request.wall_limit_ms(), streams.shown())
    if limit is not None:
        return _over(limit, f"the code ran {said}", streams.shown())
    if said:
        return TaskError("launch_failed", said, details=streams.shown())
    message = streams.stderr.strip() or f"the code exited with code {streams.exit_code}"
    return TaskError("exit_nonzero", message, details=streams.shown())


def _over(limit: str, message: str, details: dict[str, Any]) -> TaskError:
    code, name = _OVER[limit]
    return TaskError(code, message, details={**details, "limit": name})


def _not_run(said: Mapping[str, Any], mode: SandboxMode, *, launched: bool = True, invalid: bool = False) -> Outcome:
    code = "invalid_input" if invalid else "sandbox_setup_failed" if launched else "launch_failed"
    message = f"{said['message']}; {said['hint']}" if said.get("hint") else str(said["message"])
    details = {"requested": mode, "reason": said.get("code"), "problems": said.get("problems", [])}
    return Outcome(TaskError(code, message, details=details))


def _no_report(ended: EndRecord) -> Outcome:
    words = ended.stderr.decode("utf-8", "replace").strip()[-2000:]
    how = f"exit code {ended.exit_code}" if ended.signal is None else f"signal {ended.signal}"
    message = f"the sandbox ended without a report ({how}): {words or 'it said nothing'}"
    return Outcome(TaskError("internal", message, retryable=True))


def _isolation(said: Mapping[str, Any], mode: SandboxMode) -> dict[str, Any]:
    told = said.get("isolation")
    known = dict(told) if isinstance(told, dict) else {}
    return {"requested": mode, "effective": mode, "fallback_reasons": [], "uid": known.get("user"), **known}
