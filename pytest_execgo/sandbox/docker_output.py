"""What a container writes, taken off the connection that is attached to it: bounded, and until a deadline."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Literal

from pytest_execgo.core.head_and_tail import HeadAndTail

if TYPE_CHECKING:
    from pytest_execgo.sandbox.disk_watch import DiskWatch

_CHUNK = 64 * 1024
_HEADER = struct.Struct(">BxxxI")  # of each frame: the stream (1, 2), the length of what follows
_STDERR = 2


class AttachedOutput:
    """Takes the two streams apart; keeps up to `limit` bytes of each and counts the rest."""

    def __init__(self, limit: int) -> None:
        self.stdout, self.stderr = HeadAndTail(limit), HeadAndTail(limit)
        self._header = b""
        self._current = self.stdout
        self._left = 0

    @property
    def truncated(self) -> bool:
        """Tell whether anything was dropped."""
        return self.stdout.truncated or self.stderr.truncated

    def follow(
        self, connection: socket.socket, deadline: float, watch: DiskWatch | None = None
    ) -> Literal["timeout", "disk"] | None:
        """Read until the container has ended: None. Else return what ends it: `deadline` by the monotonic clock, or `watch`."""
        while (now := time.monotonic()) < deadline:
            if watch and now >= watch.next:
                if watch.exceeded():
                    return "disk"
                continue
            connection.settimeout(min(deadline, watch.next if watch else deadline) - now)
            try:
                data = connection.recv(_CHUNK)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                return "disk" if watch and watch.exceeded() else None
            self.feed(data)
        return "timeout"

    def feed(self, data: bytes) -> None:
        """Take what came, wherever it was cut."""
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._current.feed(bytes(piece))
                self._left -= len(piece)
                continue
            missing = _HEADER.size - len(self._header)
            self._header += bytes(view[:missing])
            view = view[missing:]
            if len(self._header) == _HEADER.size:
                stream, self._left = _HEADER.unpack(self._header)
                self._current = self.stderr if stream == _STDERR else self.stdout
                self._header = b""
