"""The runtime's side of the keeper: finds the one that lives, or starts one, and has commands run by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.runtime.keeper_records import CorruptRecord, EndRecord, Reason, Records
from pytest_execgo.runtime.limited import Bounds

logger = logging.getLogger("pytest_execgo.runtime")
PROTOCOL = 1
_PACKAGES = str(Path(__file__).resolve().parents[2])
_MAIN = str(Path(__file__).resolve().with_name("keeper_main.py"))
_SOCKET = "keeper.sock"
_LINE = 4 * 1024 * 1024
_START_TIMEOUT = 30.0  # seconds; a keeper that is on its way out may still have commands to end
_STOP_TIMEOUT = 20.0
_TRIES = 5


class KeeperLost(Exception):
    """The connection to the keeper ended before the answer came."""


class KeeperRefused(Exception):
    """The keeper could not start a command; the message says why. Nothing was started."""


class KeeperClient:
    """Commands of one data folder. All methods belong to the event loop's thread, but `launch`."""

    def __init__(self, folder: Path, abandon_after: float) -> None:
        self._wanted: Callable[[], set[str]] = set
        self.folder = folder.absolute()
        self.abandon_after = abandon_after
        self.records = Records(self.folder / "commands")
        self.groups: frozenset[str] = frozenset()
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: int | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._connecting = asyncio.Lock()
        self._lost = False

    def launch(self) -> None:
        """Start a keeper, unless one answers already. Returns before it is ready; blocks for a moment only."""
        with contextlib.suppress(OSError), self._dial():
            return
        if self._ready is not None:
            return
        read, write = os.pipe()
        argv = [sys.executable, "-I", "-S", _MAIN, _PACKAGES, str(self.folder), str(self.abandon_after), str(write)]
        with (self.folder / "keeper.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[write], start_new_session=True
            )
        os.close(write)
        self._ready = read

    def await_launch(self) -> None:
        """Return once a keeper that was launched is ready; `ExecGoError` when it ended instead. Blocks."""
        if self._ready is None:
            return
        ready, self._ready = self._ready, None
        try:
            said = os.read(ready, 16) if select.select([ready], [], [], _START_TIMEOUT)[0] else b""
        finally:
            os.close(ready)
        if not said:
            raise ExecGoError("no_keeper", "the keeper of the commands can't be started", f"see {self.folder / 'keeper.log'}")

    def dismiss(self) -> None:
        """End a keeper that was launched for a service which can't be started; one that was there before stays. Blocks."""
        if self._process is not None:
            self._process.terminate()
            self._collect()

    async def connect(self, wanted: Callable[[], set[str]] | None = None) -> None:
        """Connect, starting a keeper where none is. It is told to end what `wanted` does not name (once given, always asked).

        `ExecGoError` when no keeper can be had.
        """
        self._wanted = wanted or self._wanted
        async with self._connecting:
            if self._writer is not None:
                return
            for _ in range(_TRIES):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await self._open()
                    return
            raise ExecGoError("no_keeper", "the keeper of the commands can't be reached", f"see {self.folder / 'keeper.log'}")

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
        """Return how a command ended, after running it, or after finding it running or ended.

        `boot` is the boot of the machine on which it was first asked for; `reason` tells why it is to end at once, if it is
        to. `KeeperLost`: ask again, it is not run twice.
        `KeeperRefused`: it was not started. `CorruptRecord`: it ended, and how can't be read.
        """
        self._send(op="start", id=handle, boot=boot, argv=argv, cwd=cwd, env=env, bounds=asdict(bounds))
        if (why := reason()) is not None:
            self.kill(handle, why)
        done = self._waiting[handle] = asyncio.get_running_loop().create_future()
        try:
            await done
        finally:
            self._waiting.pop(handle, None)
        record = await asyncio.to_thread(self.records.read_end, handle)
        if record is None:
            raise CorruptRecord(f"the end record of {handle} is gone")
        return record

    def kill(self, handle: str, reason: Reason) -> None:
        """Have a command ended for `reason`; a keeper that was lost has ended it already."""
        with contextlib.suppress(KeeperLost):
            self._send(op="kill", id=handle, reason=asdict(reason))

    def forget(self, handle: str) -> None:
        """Let a command's record go; its result is kept elsewhere now."""
        with contextlib.suppress(KeeperLost):  # the next connection forgets what nobody asks for
            self._send(op="forget", id=handle)

    async def stop(self, reason: Reason) -> None:
        """Have the keeper end, with whatever it still runs, and return when it is gone."""
        if self._writer is None and self._process is None:
            return
        with contextlib.suppress(KeeperLost):
            self._send(op="stop", reason=asdict(reason))
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=_STOP_TIMEOUT)
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
        await asyncio.to_thread(self._collect)

    def _collect(self) -> None:
        """Reap the keeper, if it is this process's child; one that doesn't end is ended by what guards it."""
        if self._process is not None:
            told = hasattr(os, "pidfd_open")  # of its end; Popen's own wait looks now and then
            if told:
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    ProcessIdentity.of(self._process.pid).end(None, _STOP_TIMEOUT)
            try:
                self._process.wait(0 if told else _STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                logger.error("the keeper (pid %d) did not end", self._process.pid)

    def _dial(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX)
        folder = -1
        try:
            if sys.platform == "linux":  # a socket's address holds 107 bytes only, whatever the folder's path is
                folder = os.open(self.folder, os.O_PATH)
                connected.connect(f"/proc/self/fd/{folder}/{_SOCKET}")
            else:
                connected.connect(str(self.folder / _SOCKET))
        except OSError:
            connected.close()
            raise
        finally:
            if folder >= 0:
                os.close(folder)
        return connected

    async def _open(self) -> None:
        if self._lost and self._process is not None:
            await asyncio.to_thread(self._collect)
            self._process, self._lost = None, False
        self.launch()
        await asyncio.to_thread(self.await_launch)
        reader, writer = await asyncio.open_unix_connection(sock=self._dial(), limit=_LINE)
        line = await reader.readuntil(b"\n")
        hello = json.loads(line)
        if hello["protocol"] != PROTOCOL:
            writer.close()
            raise ExecGoError(
                "other_keeper", f"a keeper of another version (pid {hello['pid']}) holds {self.folder}", "stop it first"
            )
        self.groups, self.pid, self._writer = frozenset(hello["groups"]), hello["pid"], writer
        for handle in {*hello["running"], *hello["ended"]} - self._wanted():
            self.kill(handle, Reason("internal", "the runtime service does not know this command"))
            if handle in hello["ended"]:
                self.forget(handle)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                event = json.loads(line)
                done = self._waiting.get(event.get("id", ""))
                if event["event"] == "stopped":
                    continue
                if done is None or done.done():
                    self._unasked(event)
                elif event["event"] == "ended":
                    done.set_result(None)
                else:
                    done.set_exception(KeeperRefused(event["error"]))
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._writer, self._lost = None, True
            for done in self._waiting.values():
                if not done.done():
                    done.set_exception(KeeperLost())

    def _unasked(self, event: dict[str, Any]) -> None:
        """Let go of a command that ended and that nobody waits for: it was one that the runtime does not know."""
        if event["event"] == "ended":
            self.forget(event["id"])

    def _send(self, **request: Any) -> None:
        if self._writer is None or self._writer.is_closing():
            raise KeeperLost
        self._writer.write(json.dumps(request).encode() + b"\n")
