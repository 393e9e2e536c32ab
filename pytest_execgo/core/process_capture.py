"""A command's output as it comes through a pipe, bounded while it flows."""

from __future__ import annotations

import asyncio
import contextlib
import os

from pytest_execgo.core.head_and_tail import HeadAndTail

__all__ = ["HeadAndTail", "PipeReader"]

_CHUNK = 64 * 1024  # what a pipe holds


class PipeReader:
    """Reads the end of one pipe on the event loop, a piece at a time, so that a flood leaves others their turn."""

    def __init__(self, fd: int, limit: int) -> None:
        self.kept = HeadAndTail(limit)
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self.kept.feed(data)
        else:
            self.close()

    def finish(self) -> None:
        """Take what is in the pipe at this moment, at most as much as a pipe holds, and close it."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(16):
                if self.ended.done():
                    return
                self.kept.feed(os.read(self._fd, _CHUNK))
        self.close()

    def close(self) -> None:
        """Stop reading; whoever still writes gets SIGPIPE."""
        if not self.ended.done():
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self.ended.set_result(None)
