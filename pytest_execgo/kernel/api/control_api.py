"""The extensions of the HTTP API that control tasks: waiting for them and cancelling them. docs/kernel.md describes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import json_strings, quote
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.waiting import MAX_IDS, MAX_WAIT, Until, Waiters

if TYPE_CHECKING:
    from starlette.types import Receive

CAPABILITIES = ("wait", "cancel", "resubmit")
_DEFAULT_WAIT = 5.0
_DELETE_PATIENCE = 2.0  # seconds that a DELETE is answered later, at most, so that what ran is gone by then
_CHUNK = 500  # envelopes put together at a stretch; between chunks others get their turn
_DURATION = re.compile(r"(?:(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_WAIT_REQUEST = kinds.Struct(
    "waitRequest",
    "waitRequest",
    {"task_ids": kinds.Slice(kinds.String(), "[]string"), "timeout": kinds.String(), "until": kinds.String()},
)


class Dropped(Exception):
    """The client hung up while its answer was held."""


@dataclass(frozen=True, slots=True)
class Control:
    """What the control routes work with."""

    store: Store
    scheduler: Scheduler
    waiters: Waiters

    def standing(self, task_id: str) -> bool | None:
        """Tell whether a task has ended; None when there is none."""
        return self.store.ended(task_id)

    async def hold(self, task_id: str, query: bytes, receive: Receive) -> None:
        """Hold the answer about one task as long as the query's `wait` says, or until the task has ended."""
        given = dict(parse_qsl(query.decode("latin-1"))).get("wait")
        if given is not None:
            seconds = read_duration("wait", given)
            if self.standing(task_id) is False:
                await while_connected(self.waiters.wait([task_id], "all", seconds, self.standing), receive)

    async def wait(self, body: bytes, receive: Receive) -> str:
        """Answer `POST /tasks/wait`; `Refused` says what is wrong with the request."""
        ids, until, seconds = _read_request(body)
        done = await while_connected(self.waiters.wait(ids, until, seconds, self.standing), receive)
        envelopes, missing = [], []
        for count, task_id in enumerate(ids, 1):
            envelope = self.store.envelope(task_id)
            if envelope is None:
                missing.append(task_id)
            else:
                envelopes.append(envelope)
            if count % _CHUNK == 0:
                await asyncio.sleep(0)
        return f'{{"done":{"true" if done else "false"},"tasks":[{",".join(envelopes)}],"missing":{json_strings(missing)}}}'

    async def cancel(self, task_id: str) -> tuple[int, str] | None:
        """Cancel a task; return the status (200: it has ended, 202: it is being ended) and its envelope. None: no such task.

        Either way the order is durable by then; `StoreFailed` when it can't be made so.
        """
        over = self.scheduler.cancel(task_id)
        if self.store.ended(task_id) is False:
            await self.store.flushed()  # the order, or the end that it has led to
        over = over and self.store.ended(task_id) is not False
        envelope = self.store.envelope(task_id)
        return None if envelope is None else (200 if over else 202, envelope)

    async def delete(self, task_id: str) -> bool:
        """Remove a task's record and end what runs of it; tell whether there was one."""
        flight = self.scheduler.flight(task_id)
        deleted = self.scheduler.delete(task_id)
        if flight is not None:
            await asyncio.wait({flight}, timeout=_DELETE_PATIENCE)
        return deleted


async def while_connected(waiting: Awaitable[bool], receive: Receive) -> bool:
    """Return what is waited for; `Dropped` as soon as the client has hung up."""
    answer = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Dropped
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def read_duration(name: str, text: str) -> float:
    """Read a Go duration (`500ms`, `1m30s`, `0`) as seconds, `MAX_WAIT` at most; `Refused` for anything else."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refused(f"{name}: {quote(text[:40])} is no duration (write 500ms or 5s)")
    return min(sum(float(number) * _SECONDS[unit] for number, unit in parts), MAX_WAIT)


def _read_request(body: bytes) -> tuple[list[str], Until, float]:
    try:
        given = decoding.decode_first(body, _WAIT_REQUEST) or {}
    except GoJSONError as error:
        raise Refused(f"invalid JSON: {error}") from error
    ids = list(dict.fromkeys(task_id or "" for task_id in given.get("task_ids") or ()))
    if not ids:
        raise Refused("task_ids: name at least one task")
    if len(ids) > MAX_IDS:
        raise Refused(f"task_ids: {len(ids)} ids are too many ({MAX_IDS} at most)")
    timeout = given.get("timeout")
    return ids, _read_until(given.get("until") or "all"), read_duration("timeout", timeout) if timeout else _DEFAULT_WAIT


def _read_until(text: str) -> Literal["all", "any"]:
    match text:
        case "all" | "any":
            return text
        case _:
            raise Refused(f"until: {quote(text[:40])} is neither all nor any")
