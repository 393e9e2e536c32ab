"""Starts a stage, has it confine a command, bounds its time, and ends everything. One call, one command; any thread may make it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_execgo.core.containment.orders import written
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.sandbox.disk_watch import DiskWatch
from pytest_execgo.sandbox.streams import Message, Streams

if TYPE_CHECKING:
    from pytest_execgo.core.containment.orders import Orders

Cut = Literal["timeout", "disk"]
_PREPARATION = 60.0  # seconds that making the place may take, copying files included
_END = 30.0  # seconds that the system may take to end processes that were killed


class NotPossible(Exception):
    """The command could not be confined in this way; it has not begun."""


class LaunchFailed(Exception):
    """The command was confined, but its program could not be started; `args` are errno and text."""


@dataclass(frozen=True, slots=True)
class StageEnd:
    """How it ended. `exit_code` is -N for signal N; `cut` names the bound by which we ended it; `peak_bytes` is one process's."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    duration: float
    peak_bytes: int | None
    cut: Cut | None = None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold SIGIO back, by which the fork server ends what nobody wants any more: what is being started must not be lost."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGIO,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


class Supervision:
    """One stage and its command."""

    def __init__(
        self,
        words: Sequence[str],
        orders: Orders,
        *,
        stdin: bytes,
        output_bytes: int,
        on_listener: Callable[[socket.socket], None],
    ) -> None:
        """Start a stage: `words` and the channel's number are its command line. `NotPossible` when that can't be started."""
        self._orders = orders
        self._on_listener = on_listener
        self.stage = 0
        """The stage's pid, once the place is made: everything of the command is below it."""
        self._keeper: int | None = None
        self._ended = True
        try:
            with _undisturbed():
                self._start(words, stdin, output_bytes)
        except BaseException:
            if not self._ended:
                self.close()
            raise

    def _start(self, words: Sequence[str], stdin: bytes, output_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*words, str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env={},
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise NotPossible(f"{words[0]}: {error.strerror}") from error
        self._handle = os.pidfd_open(self._process.pid)
        self._channel = ours
        self._streams = Streams(self._process, ours, stdin, output_bytes)
        self._ended = False

    def confine(self, on_ready: Callable[[int], None]) -> None:
        """Have the place made, and the command wait before it begins; `on_ready` is told its pid. `NotPossible` says why not."""
        deadline = time.monotonic() + _PREPARATION
        try:
            self._send(written(self._orders), deadline)
            room = self._expect("room", deadline)
            self.stage = room.sender
            self._keeper = os.pidfd_open(room.sender)
            if room.handed_over is not None:
                self._on_listener(socket.socket(fileno=room.handed_over))
            on_ready(self._expect("ready", deadline).sender)
        except OSError as error:
            raise NotPossible(self._last_words() or str(error)) from error

    def run(self, timeout: float, watch: DiskWatch | None) -> StageEnd:
        """Let the command begin and wait for its end. `LaunchFailed` when its program could not be started."""
        started = time.monotonic()
        self._channel.sendall(b"go\n")
        ended, cut = self._await_end(started + timeout, watch)
        duration = time.monotonic() - started
        self.end()
        if cut is None and watch is not None and watch.exceeded():  # it was quicker than the last look
            cut = "disk"
        if ended[:1] == ("failed",):
            raise SandboxError("sandbox_broke", f"the command could not begin: {' '.join(ended[1:])}")
        if ended[:1] == ("launch",):
            raise LaunchFailed(int(ended[1]), os.strerror(int(ended[1])))
        out, err = self._streams.stdout, self._streams.stderr
        return StageEnd(
            exit_code=int(ended[1]) if ended else -signal.SIGKILL,
            stdout=out.content(),
            stderr=err.content(),
            truncated=out.truncated or err.truncated,
            duration=duration,
            peak_bytes=int(ended[2]) if ended else None,
            cut=cut,
        )

    def end(self) -> None:
        """End the command and all that it started, and take what was written last. `SandboxError` when the system can't."""
        if self._ended:
            return
        self._channel.shutdown(socket.SHUT_RDWR)  # a stage without a namespace ends what is below it, then itself
        if self._orders["rung"] != "landlock":
            self._kill()
        deadline = time.monotonic() + _END
        self._streams.also(self._handle)
        gone = False
        while not (gone and self._streams.drained):
            if time.monotonic() > deadline:
                message = f"process {self._process.pid} and what it runs could not be ended within {_END:.0f} s"
                raise SandboxError("sandbox_left_running", message)
            self._streams.pump(0.01 if gone else deadline - time.monotonic())
            gone = gone or self._process.poll() is not None
        self._ended = True

    def close(self) -> None:
        """End everything, whatever state it is in, and let go of it."""
        try:
            self.end()
        finally:
            self._streams.close()
            os.close(self._handle)
            if self._keeper is not None:
                os.close(self._keeper)

    def _kill(self) -> None:
        if self._keeper is not None:  # all that is in its namespace goes with it
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._keeper, signal.SIGKILL)
            return
        # the place is not made yet: bubblewrap alone would leave a child behind that waits for it for ever
        if self._process.returncode is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, data: bytes, deadline: float) -> None:
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        self._channel.sendall(data)
        self._channel.setblocking(False)

    def _expect(self, what: str, deadline: float) -> Message:
        """Return the next message, which must be this one; `NotPossible` with what was said instead."""
        while not self._streams.messages:
            if self._streams.closed:
                raise NotPossible(self._last_words() or "it ended without a word")
            if time.monotonic() > deadline:
                raise NotPossible(f"it took more than {_PREPARATION:.0f} s")
            self._streams.pump(deadline - time.monotonic())
        message = self._streams.messages.popleft()
        if message.words[0] != what:
            raise NotPossible(" ".join(message.words[1:]))
        return message

    def _last_words(self) -> str:
        """Return the last line of what a stage that is no use any more has complained of."""
        self.end()
        return self._streams.stderr.content().decode("utf-8", "replace").strip().split("\n")[-1][:300]

    def _await_end(self, deadline: float, watch: DiskWatch | None) -> tuple[tuple[str, ...], Cut | None]:
        """Return the words of the stage's last message, none when it ends without one, and the bound by which it is to end."""
        while not self._streams.messages and not self._streams.closed:
            now = time.monotonic()
            if now >= deadline:
                return (), "timeout"
            if watch is not None and now >= watch.next and watch.exceeded():
                return (), "disk"
            self._streams.pump(min(deadline, watch.next if watch else deadline) - now)
        return self._streams.messages[0].words if self._streams.messages else (), None
