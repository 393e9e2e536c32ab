"""The keeper: parent of all commands of one runtime data folder, which outlives the runtime that talks to it.

Standard library only: it runs as `python -I -S` (see `keeper_main`). The runtime connects to a unix socket in the folder; both
sides write JSON lines. Requests: `{"op": "start", "id", "boot", "argv", "cwd", "env", "bounds"}`, `kill` (id, reason), `forget`
(id) and `stop` (reason). Events: `hello` (protocol, pid, running, ended, groups), `ended` (id: its record is there to be read),
`refused` (id, error: nothing was started) and `stopped`.

A command is started once, whatever is asked how often: its start record stays until the runtime has its end and says `forget`.
Without a runtime for `abandon_after` seconds the keeper ends its commands, records that, and goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

from pytest_execgo.core.containment.control_groups import Group, Hierarchy, make
from pytest_execgo.core.process import CommandOutcome, kill_group
from pytest_execgo.core.process_tree import Mark
from pytest_execgo.runtime.keeper_records import EndRecord, LaunchFailure, Reason, Records, StartRecord, boot_id
from pytest_execgo.runtime.limited import Bounds, run_limited

PROTOCOL = 1
MAX_LINE = 256 * 1024 * 1024  # bytes; a submission of 8 MiB grows when it is written as ASCII
_GOODBYE = 2.0  # seconds for the last events to reach the runtime
_DISK_PAUSE = 1.0  # seconds between tries to write an end record to a disk that refuses


@dataclass(slots=True, eq=False)
class _Command:
    """A command that is being run: its process group once it has one, and why it was ended, if it was."""

    job: asyncio.Task[None] | None = None
    group: int | None = None
    reason: Reason | None = None

    def end(self, reason: Reason) -> None:
        """End it; the first reason counts."""
        self.reason = self.reason or reason
        if self.group is not None:
            kill_group(self.group)

    def spawned(self, pid: int) -> None:
        """Remember its process group, which ends at once when that was asked for meanwhile."""
        self.group = pid
        if self.reason is not None:
            kill_group(pid)


class Keeper:
    """The commands of one data folder, and the connection to the runtime that asks for them."""

    def __init__(self, records: Records, hierarchies: list[Hierarchy], abandon_after: float) -> None:
        self.records = records
        self.hierarchies = hierarchies
        self.abandon_after = abandon_after
        self.boot = boot_id()
        self.running: dict[str, _Command] = {}
        self.over = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._conversation: asyncio.Task[None] | None = None
        self._abandoning: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def serve(self, listening: socket.socket, ready_fd: int) -> None:
        """Serve runtimes, one at a time, until told to stop or left alone; returns when no command is left."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self.stop, Reason("internal", "the keeper of the commands was stopped", True))
        server = await asyncio.start_unix_server(self._converse, sock=listening, limit=MAX_LINE)
        with contextlib.suppress(BrokenPipeError):
            os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
        self._left_alone()
        await self.over.wait()
        server.close()
        if self._writer is not None and self._conversation is not None:
            self._writer.close()
            await asyncio.wait([self._conversation], timeout=_GOODBYE)

    def stop(self, reason: Reason) -> None:
        """End every command for `reason`, then this process."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop(reason))

    async def _stop(self, reason: Reason) -> None:
        for command in self.running.values():
            command.end(reason)
        jobs = [command.job for command in self.running.values() if command.job is not None]
        if jobs:
            await asyncio.wait(jobs)
        self._tell(event="stopped")
        self.over.set()

    def _left_alone(self) -> None:
        reason = Reason("internal", f"no runtime service was there for {self.abandon_after:g} s; the command was ended", True)
        self._abandoning = asyncio.get_running_loop().call_later(self.abandon_after, self.stop, reason)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:  # only one runtime can hold the folder's lock, so the earlier one is gone
            self._writer.close()
        if self._abandoning is not None:
            self._abandoning.cancel()
        self._writer, self._conversation = writer, asyncio.current_task()
        ended = [handle for handle in self.records.handles() if handle not in self.running and self.records.ended(handle)]
        self._tell(
            event="hello",
            protocol=PROTOCOL,
            pid=os.getpid(),
            running=list(self.running),
            ended=ended,
            groups=sorted(name for hierarchy in self.hierarchies for name in hierarchy.files),
        )
        try:
            while line := await reader.readline():
                self._obey(json.loads(line))
        except ConnectionError:
            pass  # it was killed; what follows is the same as after an orderly end
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
                self._left_alone()

    def _obey(self, request: dict[str, Any]) -> None:
        if request["op"] == "start":
            self._start(request)
        elif request["op"] == "kill":
            command = self.running.get(request["id"])
            if command is not None:
                command.end(Reason(**request["reason"]))
        elif request["op"] == "forget":
            self.records.forget(request["id"])
        elif request["op"] == "stop":
            self.stop(Reason(**request["reason"]))

    def _tell(self, **event: Any) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(event).encode() + b"\n")

    def _start(self, request: dict[str, Any]) -> None:
        handle = request["id"]
        if handle in self.running:
            return
        if self.records.ended(handle):
            self._tell(event="ended", id=handle)
            return
        if self._stopping is not None:  # the runtime asks the next keeper, once it sees that this one is gone
            return
        command = self.running[handle] = _Command()
        command.job = asyncio.get_running_loop().create_task(self._run(command, request))

    async def _run(self, command: _Command, request: dict[str, Any]) -> None:
        handle = request["id"]
        try:
            record = await self._execute(command, request)
        except OSError as error:  # of the start record: the disk refuses, so nothing may be started
            del self.running[handle]
            self._tell(event="refused", id=handle, error=f"its start can't be recorded: {error}")
            return
        while True:
            try:
                self.records.end(handle, record)
                break
            except OSError:
                await asyncio.sleep(_DISK_PAUSE)
        del self.running[handle]
        self._tell(event="ended", id=handle)

    async def _execute(self, command: _Command, request: dict[str, Any]) -> EndRecord:
        now = time.time_ns()
        if command.reason is not None:
            return EndRecord(started_ns=now, finished_ns=now, reason=command.reason)
        if request["boot"] != self.boot:
            lost = Reason("internal", "the machine was restarted while this command ran, or was about to", True)
            return EndRecord(started_ns=now, finished_ns=now, reason=lost)
        handle, bounds, mark = request["id"], Bounds(**request["bounds"]), Mark.new()
        self.records.intend(StartRecord(handle, self.boot, now, mark))
        group = Group()
        try:
            group = self._group(handle, bounds)
            ended = await run_limited(
                request["argv"],
                bounds,
                cwd=request["cwd"],
                env=request["env"],
                on_spawn=command.spawned,
                mark=mark,
                groups=group.paths(),
            )
        except (OSError, ValueError) as error:
            failure = _launch_failure(error)
            return EndRecord(started_ns=now, finished_ns=time.time_ns(), reason=command.reason, launch=failure)
        finally:
            command.group = None
            hits = group.hits()
            group.remove()
        return _record(ended, command.reason, hits)

    def _group(self, handle: str, bounds: Bounds) -> Group:
        if bounds.pids_max is None and bounds.memory_bytes is None:
            return Group()
        # the launcher itself counts until it has become the command, hence no process beside those that are allowed
        return make(self.hierarchies, f"execgo-{handle}", bounds.pids_max, bounds.memory_bytes)


def _launch_failure(error: OSError | ValueError) -> LaunchFailure:
    if isinstance(error, OSError):
        return LaunchFailure(error.errno or 0, error.strerror or str(error), str(error.filename or ""))
    return LaunchFailure(0, str(error), "")


def _record(ended: CommandOutcome, reason: Reason | None, hits: dict[str, str]) -> EndRecord:
    isolation: dict[str, Any] | None = getattr(ended, "isolation", None)
    return EndRecord(
        exit_code=ended.exit_code,
        signal=ended.signal,
        timed_out=ended.timed_out,
        started_ns=ended.started_ns,
        finished_ns=ended.finished_ns,
        stdout=ended.stdout,
        stderr=ended.stderr,
        stdout_truncated=ended.stdout_truncated,
        stderr_truncated=ended.stderr_truncated,
        survivors=list(ended.survivors),
        reason=reason,
        isolation=isolation,
        hit=hits,
    )
