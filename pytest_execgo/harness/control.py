"""The owner's end of the supervisor: requests out, events in, and what the events say about each process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import StackError

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_NOTICE_TIMEOUT = 10.0  # seconds; the end of its channel follows its own at once


@dataclass(frozen=True, slots=True)
class Launch:
    """One command to supervise: arguments, whole environment, working folder, and the log that both its streams go to."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path


@dataclass(slots=True)
class Process:
    """What the events have told about the latest process of one name.

    `ready` is what it announced, `failed` why it couldn't be started, `code` its exit code (negative: the signal),
    `ended_by` the signal that its owner asked for, if any.
    """

    pid: int | None = None
    ready: Any = None
    stopped: bool = False
    code: int | None = None
    failed: str | None = None
    ended_by: int | None = None

    @property
    def over(self) -> bool:
        """Tell whether it ended or never began."""
        return self.code is not None or self.failed is not None

    def describe(self) -> str:
        """Say how it is, or how it ended."""
        if self.failed is not None:
            return f"it could not be started: {self.failed}"
        if self.code is None:
            state = "paused" if self.stopped else "running"
            return "it was never started" if self.pid is None else f"it is {state} (pid {self.pid})"
        asked = f", after the harness sent {signal.Signals(self.ended_by).name}" if self.ended_by else ""
        if self.code >= 0:
            return f"it ended with exit code {self.code}{asked}"
        name = signal.Signals(-self.code).name if -self.code in set(signal.Signals) else f"signal {-self.code}"
        return f"it was ended by {name}{asked}"


class Supervised:
    """Processes that can't outlive this one. Any thread may ask and wait; one of its own takes in the events."""

    def __init__(self, log: Path, *, pass_fds: Sequence[int] = (), tell: Callable[[], None] = lambda: None) -> None:
        """Start the supervisor; what it has to complain about goes to `log`, and it keeps `pass_fds` open for its life.

        `tell` is called, in a thread of our own, whenever something has happened.
        """
        self._processes: dict[str, Process] = {}
        self._changed = threading.Condition()
        self._tell = tell
        self._gone = False
        self.log = log
        self._channel, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={},
                pass_fds=[theirs.fileno(), *pass_fds],
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="execgo-supervised", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._supervisor.pid

    def process(self, name: str) -> Process:
        """Return what is known of `name` by now; one that was never spawned is an empty record."""
        return self._processes.get(name) or Process()

    @property
    def gone(self) -> bool:
        """Tell whether the supervisor ended, and with it every process."""
        return self._gone

    def notice(self) -> None:
        """Take in that the supervisor has ended, if it has: the reader may not have come to it yet."""
        if self._supervisor.poll() is not None:
            with self._changed:
                self._changed.wait_for(lambda: self._gone, _NOTICE_TIMEOUT)

    def spawn(self, name: str, launch: Launch) -> Process:
        """Ask for a process; its record fills as events arrive. `StackError` if the supervisor is gone."""
        with self._changed:
            process = self._processes[name] = Process()
        self._request(
            op="spawn",
            name=name,
            argv=list(launch.argv),
            env=dict(launch.env),
            cwd=str(launch.cwd),
            log=str(launch.log),
        )
        return process

    def signal(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to the live process of that name; one that already ended gets nothing."""
        if signum in (signal.SIGTERM, signal.SIGKILL) and name in self._processes:
            self._processes[name].ended_by = signum
        self._request(op="signal", name=name, signal=int(signum))

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait until `done()`, at most `timeout` seconds; return whether it is. It is asked again when something has happened.

        `StackError` if the supervisor ends meanwhile.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not done():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._gone:
                    raise StackError(
                        "supervisor_gone", f"the stack's supervisor (pid {self.pid}) ended unexpectedly; log: {self.log}"
                    )
                self._changed.wait(left)
        return True

    def nudge(self) -> None:
        """Let whoever waits ask again."""
        with self._changed:
            self._changed.notify_all()

    def _read(self) -> None:
        """Take in events until the supervisor is gone. The reader's thread."""
        buffer = b""
        while True:
            try:
                data = self._channel.recv(65536)
            except ConnectionError:
                data = b""
            *lines, buffer = (buffer + data).split(b"\n")
            with self._changed:
                for line in lines:
                    self._apply(json.loads(line))
                if not data:
                    self._end()
                self._tell()  # before whoever waits goes on: what that one sees by then is no news
                self._changed.notify_all()
            if not data:
                return

    def _apply(self, event: dict[str, Any]) -> None:
        process = self._processes[event["name"]]
        match event["event"]:
            case "spawned":
                process.pid = event["pid"]
            case "failed":
                process.failed = event["error"]
            case "ready":
                process.ready = event["info"]
            case "stopped":
                process.stopped = True
            case "continued":
                process.stopped = False
            case "exited":
                process.code = event["code"]
                process.stopped = False

    def _end(self) -> None:
        """Record that the supervisor is gone: the services die with it, by SIGKILL."""
        self._gone = True
        for process in self._processes.values():
            if not process.over:
                process.code = -signal.SIGKILL

    def _request(self, **request: Any) -> None:
        with self._changed:
            try:
                self._channel.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise StackError(
                    "supervisor_gone", f"the stack's supervisor (pid {self.pid}) can't be reached: {error}; log: {self.log}"
                ) from error

    def close(self, timeout: float = 10) -> None:
        """End every process and the supervisor. `StackError` if they are not gone after `timeout` seconds."""
        with contextlib.suppress(OSError):  # already disconnected
            self._channel.shutdown(socket.SHUT_WR)
        if not self.wait(lambda: self._gone, timeout):
            raise StackError(
                "stack_not_gone", f"processes of the stack are still there after {timeout:g} s (supervisor pid {self.pid})"
            )
        self._supervisor.wait()
        self._reader.join()
        self._channel.close()
