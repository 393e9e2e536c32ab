"""What flows between us and a confined command's stage: its channel, its output (bounded while it flows), its input.

Standard library only, without asyncio: a process that runs one command has to start quickly.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_execgo.core.head_and_tail import HeadAndTail

_PIECE = 65_536
_CREDENTIALS = struct.Struct("3i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(struct.calcsize("i"))


@dataclass(frozen=True, slots=True)
class Message:
    """What the stage, or the command's process before it began, has said: who that was (a pid of ours) and what came with it."""

    sender: int
    words: tuple[str, ...]
    handed_over: int | None = None


class Streams:
    """The ends that we hold. `pump` moves what can be moved; the rest is looking."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, stdin: bytes, most: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.messages: deque[Message] = deque()
        self.closed = False
        self.stdout, self.stderr = HeadAndTail(most), HeadAndTail(most)
        self._channel = channel
        self._pending = bytearray()
        self._handed: int | None = None
        self._input = memoryview(stdin)
        self._stdin = process.stdin.fileno()
        self._pipes = [process.stdin, process.stdout, process.stderr]
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], bool]] = {}
        self._watch(channel.fileno(), select.POLLIN, self._hear)
        self._watch(process.stdout.fileno(), select.POLLIN, lambda: self._read(process.stdout, self.stdout))
        self._watch(process.stderr.fileno(), select.POLLIN, lambda: self._read(process.stderr, self.stderr))
        self._watch(self._stdin, select.POLLOUT, self._write)
        self._outputs = {process.stdout.fileno(), process.stderr.fileno()}

    @property
    def drained(self) -> bool:
        """Tell whether nobody can write any output any more."""
        return not self._outputs & self._handlers.keys()

    def also(self, fd: int) -> None:
        """Let `pump` return when this descriptor can be read, too; once."""
        self._watch(fd, select.POLLIN, lambda: False)

    def pump(self, seconds: float) -> None:
        """Move what can be moved; wait for that at most so long."""
        for fd, _ in self._poll.poll(max(seconds, 0) * 1000):
            if not self._handlers[fd]():
                self._poll.unregister(fd)
                del self._handlers[fd]

    def close(self) -> None:
        """Let go of everything."""
        self._channel.close()
        for message in self.messages:
            if message.handed_over is not None:
                os.close(message.handed_over)
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # input that nobody took
                pipe.close()

    def _watch(self, fd: int, events: int, handler: Callable[[], bool]) -> None:
        os.set_blocking(fd, False)
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def _read(self, pipe: Any, kept: HeadAndTail) -> bool:
        try:
            data = os.read(pipe.fileno(), _PIECE)
        except BlockingIOError:
            return True
        kept.feed(data)
        return bool(data)

    def _write(self) -> bool:
        try:
            if self._input:
                self._input = self._input[os.write(self._stdin, self._input[:_PIECE]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._input = self._input[:0]
        if not self._input:
            self._poll.unregister(self._stdin)
            del self._handlers[self._stdin]
            self._pipes[0].close()
        return True

    def _hear(self) -> bool:
        try:
            data, ancillary, _, _ = self._channel.recvmsg(_PIECE, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data, ancillary = b"", []
        sender = 0
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._handed = array.array("i", content[:4])[0]
        self._pending += data
        while b"\n" in self._pending:
            line, _, self._pending = self._pending.partition(b"\n")
            self.messages.append(Message(sender, tuple(line.decode().split(" ")), self._handed))
            self._handed = None
        self.closed = not data
        return bool(data)
