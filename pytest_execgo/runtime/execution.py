"""Executes one task of any kind and says how it ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pytest_execgo.core.containment.ladder import SandboxUnavailable
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.runtime.isolation import PROFILES, Isolator
from pytest_execgo.runtime.judgement import judge, timed_out
from pytest_execgo.runtime.keeper_client import KeeperLost, KeeperRefused
from pytest_execgo.runtime.keeper_records import CorruptRecord, EndRecord, LaunchFailure, Reason
from pytest_execgo.runtime.limited import Bounds
from pytest_execgo.runtime.limits import bounds_of
from pytest_execgo.runtime.models import Code, Command, Emit, Fail, Script
from pytest_execgo.runtime.sandbox_judgement import judge_code, judge_command
from pytest_execgo.runtime.sandboxed import Launch, NoFolder, Sandboxes, asked_mode, remove_containers
from pytest_execgo.runtime.tasks import Outcome, TaskError, TaskRecord

SANDBOX_PROFILES = PROFILES
_PLAIN = Isolator()


class CommandRunner(Protocol):
    """Who runs commands; `keeper_client.KeeperClient` says what each method promises."""

    @property
    def groups(self) -> frozenset[str]:
        """The control groups that commands can have."""

    @property
    def pid(self) -> int:
        """The process that is the commands' parent; 0 while there is none."""

    async def connect(self, wanted: Callable[[], set[str]] | None = None) -> None:
        """Be ready to run commands, again after `KeeperLost`; `wanted` names those whose ends are asked for."""

    async def run(
        self,
        handle: str,
        boot: str,
        argv: list[str],
        cwd: str,
        env: dict[str, str],
        bounds: Bounds,
        reason: Callable[[], Reason | None],
    ) -> EndRecord:
        """Return how a command ended; it is run once, however often this is asked."""

    def kill(self, handle: str, reason: Reason) -> None:
        """End a command."""

    def forget(self, handle: str) -> None:
        """Let go of a command whose end is kept."""

    async def stop(self, reason: Reason) -> None:
        """End everything."""


@dataclass(slots=True, eq=False)
class Control:
    """The hand on a running execution: ends it, whatever it does at that moment."""

    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    reason: TaskError | None = None
    on_cancel: Callable[[Reason], None] | None = None

    def cancel(self, reason: TaskError) -> None:
        """End the execution with `reason`; the first reason counts."""
        if self.reason is None:
            self.reason = reason
        self.cancelled.set()
        if self.on_cancel is not None and (why := self.why()) is not None:
            self.on_cancel(why)

    def why(self) -> Reason | None:
        """Return the reason as the keeper takes it."""
        return None if self.reason is None else Reason(self.reason.code, self.reason.message, self.reason.retryable)


async def execute(
    record: TaskRecord,
    runner: CommandRunner,
    environment: Mapping[str, str],
    control: Control,
    isolator: Isolator = _PLAIN,
    sandboxes: Sandboxes | None = None,
) -> Outcome:
    """Run what a task asks for and return how it ended, or go on with one that an earlier service had begun.

    `environment` is what commands get beside their own. Without `sandboxes` nothing that asks for one is run.
    """
    request = record.request
    execution, sandbox = request.execution, request.sandbox
    if sandbox.strict and sandbox.profile not in SANDBOX_PROFILES:
        message = f"sandbox profile {sandbox.profile!r} can't be had here; available: {', '.join(filter(None, PROFILES))}"
        return Outcome(error=TaskError("sandbox_setup_failed", message, details={"requested": sandbox.profile}))
    if isinstance(execution, Code) or (isinstance(execution, Command | Script) and sandbox.mode is not None):
        return await _run_sandboxed(record, runner, control, sandboxes)
    if isinstance(execution, Command | Script):
        return await _run_command(execution, record, runner, environment, control, isolator)
    if isinstance(execution, Emit):
        error = await _pause(execution.delay_ms, record, control)
        return Outcome(error=error) if error else Outcome(output=execution.payload, has_output=True)
    if isinstance(execution, Fail):
        error = await _pause(execution.delay_ms, record, control)
        return Outcome(error=error or TaskError(execution.code, execution.message, execution.retryable))
    error = await _pause(execution.duration_ms, record, control)
    return Outcome(error=error) if error else Outcome(output={"slept_ms": execution.duration_ms}, has_output=True)


async def _pause(delay_ms: int, record: TaskRecord, control: Control) -> TaskError | None:
    limit = record.request.wall_limit_ms()
    passed = max(time.time_ns() - record.started_ns, 0) / 1e9  # not 0 after a restart of the service
    try:
        async with asyncio.timeout(max(min(delay_ms, limit) / 1000 - passed, 0)):
            await control.cancelled.wait()
    except TimeoutError:
        return timed_out(limit) if delay_ms > limit else None
    return control.reason


async def _run_command(
    execution: Command | Script,
    record: TaskRecord,
    runner: CommandRunner,
    environment: Mapping[str, str],
    control: Control,
    isolator: Isolator,
) -> Outcome:
    request = record.request
    env = {**environment, **execution.env}
    bounds = bounds_of(request.limits, request.wall_limit_ms())
    cwd = execution.cwd or str(Path.cwd())
    try:
        isolation = await isolator.choose(request.sandbox, cwd)
        argv = isolation.wrap(execution.argv(), env.get("PATH", os.defpath))
    except SandboxUnavailable as refusal:
        details = {"requested": refusal.requested, "fallback_reasons": list(refusal.reasons)}
        return Outcome(TaskError("sandbox_setup_failed", str(refusal), details=details))
    except FileNotFoundError as error:
        return judge(request, EndRecord(launch=LaunchFailure(error.errno or 0, error.strerror or "", str(error.filename))))
    ended = await _kept(record, runner, control, Launch(argv, cwd, env, bounds))
    return ended if isinstance(ended, Outcome) else replace(judge(request, ended), isolation=isolation.shown())


async def _run_sandboxed(record: TaskRecord, runner: CommandRunner, control: Control, sandboxes: Sandboxes | None) -> Outcome:
    request, handle = record.request, record.handle_id
    if sandboxes is None or (mode := asked_mode(request, sandboxes.mode)) is None:
        return Outcome(TaskError("sandbox_setup_failed", "this service has no sandboxes"))
    try:
        launch = sandboxes.prepare(handle, request)
    except NoFolder as refusal:
        return Outcome(TaskError("sandbox_setup_failed", str(refusal), details={"requested": mode}))
    except OSError as error:
        return Outcome(TaskError("internal", f"the sandbox can't be told what to run: {error}", retryable=True))
    ended = await _kept(record, runner, control, launch)
    if isinstance(ended, Outcome):
        return ended
    if mode == "docker" and (ended.reason is not None or ended.timed_out):
        await asyncio.to_thread(remove_containers)  # its container is no process of the command's
    if isinstance(request.execution, Code):
        return judge_code(request, ended, mode)
    return judge_command(request, ended, sandboxes.report(handle), mode)


async def _kept(record: TaskRecord, runner: CommandRunner, control: Control, launch: Launch) -> EndRecord | Outcome:
    """Have the keeper run a command, and return its end; an outcome when that can't be had."""
    handle = record.handle_id
    control.on_cancel = lambda reason: runner.kill(handle, reason)
    try:
        while True:
            try:
                return await runner.run(handle, record.boot, launch.argv, launch.cwd, launch.env, launch.bounds, control.why)
            except KeeperLost:
                await runner.connect()
    except (KeeperRefused, CorruptRecord, ExecGoError) as error:
        return Outcome(TaskError("internal", str(error), retryable=isinstance(error, KeeperRefused)))
    finally:
        control.on_cancel = None
