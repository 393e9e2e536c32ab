"""Threads for calls that block: they grow with demand, are used again, and never hold up the end of the process.

The standard library's pool joins its threads at exit, so that one endless HTTP answer would keep a stopped kernel alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """Daemon threads; `run` is called from an event loop."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def run(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        """Call in a thread; the future gets the result or the exception. Cancelling the future abandons the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._idle.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._work, daemon=True, name=f"kernel-io-{self._count}").start()
        self._jobs.put((loop, future, call))
        return future

    def close(self) -> None:
        """Let every idle thread end."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, call = job
            try:
                result, error = call(), None
            except BaseException as raised:  # handed to whoever waits, whatever it is
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result, error)
            self._idle.release()
            del job, future, call, result, error


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
