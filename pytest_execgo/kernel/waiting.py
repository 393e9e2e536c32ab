"""Waiting for tasks to end: who waits is told, nothing is polled.

Everything happens on the kernel's one event loop. How the tasks stand is looked at and the wait registered without an await
between, so that no ending is missed; while nothing happens, a wait is a future and a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Literal

MAX_WAIT = 60.0  # seconds that an answer is held at most
MAX_IDS = 10_000

Until = Literal["all", "any"]
Standing = Callable[[str], bool | None]
"""Tells of a task id: True when the task has ended, False when it has not, None when there is no such task."""


class _Wait:
    """One caller's wait: over after `count` more of its tasks have ended or gone."""

    __slots__ = ("count", "over")

    def __init__(self, count: int) -> None:
        self.count = count
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def one_less(self) -> None:
        self.count -= 1
        if self.count <= 0:
            self.release()

    def release(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Waiters:
    """Those who wait, by the ids of the tasks that they wait for."""

    def __init__(self) -> None:
        self._waits: dict[str, set[_Wait]] = {}
        self._closed = False

    @property
    def watched(self) -> int:
        """How many tasks are waited for."""
        return len(self._waits)

    def changed(self, task_id: str) -> None:
        """Tell those who wait for a task that it has ended, or that its record is gone."""
        for wait in self._waits.pop(task_id, ()):
            wait.one_less()

    def close(self) -> None:
        """Let every wait end now, and none begin: the kernel stops."""
        self._closed = True
        for waits in list(self._waits.values()):
            for wait in waits:
                wait.release()

    async def wait(self, ids: Iterable[str], until: Until, timeout: float, standing: Standing) -> bool:  # noqa: ASYNC109
        """Wait until tasks have ended, for at most `timeout` seconds; tell whether they have.

        `all`: until none of them is still to end. `any`: until one has ended, or none is still to end. Ids without a task
        hold nothing up. Cancelling the caller drops the wait.
        """
        ids = list(dict.fromkeys(ids))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            standings = {task_id: standing(task_id) for task_id in ids}
            open_ids = [task_id for task_id, ended in standings.items() if ended is False]
            if not open_ids or (until == "any" and True in standings.values()):
                return True
            remaining = deadline - loop.time()
            if self._closed or remaining <= 0:
                return False
            await self._sleep(open_ids, 1 if until == "any" else len(open_ids), remaining)

    async def _sleep(self, ids: list[str], count: int, seconds: float) -> None:
        """Sleep until `count` of the tasks have changed, or the time is over."""
        wait = _Wait(count)
        for task_id in ids:
            self._waits.setdefault(task_id, set()).add(wait)
        timer = asyncio.get_running_loop().call_later(seconds, wait.release)
        try:
            await wait.over
        finally:
            timer.cancel()
            for task_id in ids:
                self._leave(task_id, wait)

    def _leave(self, task_id: str, wait: _Wait) -> None:
        waits = self._waits.get(task_id)
        if waits is not None:
            waits.discard(wait)
            if not waits:
                del self._waits[task_id]
