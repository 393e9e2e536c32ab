"""GET /tasks in pages (ours): `?limit=&after=&status=`, in the order of submission.

The answer stays an array; `X-Next-After` says where the next page begins, and is missing on the last one. Without any of the
three, the answer is ExecGo's: everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TaskStatus

MAX_LIMIT = 10_000
_CHUNK = 500  # envelopes put together at a stretch; between chunks others get their turn
_MAX_AFTER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What is asked for: at most `limit` tasks (None: all of them) numbered higher than `after`; of a status, or of any ("")."""

    limit: int | None = None
    after: int = 0
    status: str = ""


def read_query(query: bytes) -> PageQuery:
    """Read a query string; `UsageError` names a value that can't be used. Other parameters are ignored, as ExecGo does."""
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    status = given.get("status", "")
    if "status" in given and status not in list(TaskStatus):
        raise UsageError("bad_status", f"status must be one of: {', '.join(TaskStatus)} (got {status[:40]!r})")
    return PageQuery(
        _number("limit", given["limit"], 1, MAX_LIMIT) if "limit" in given else None,
        _number("after", given["after"], 0, _MAX_AFTER) if "after" in given else 0,
        status,
    )


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and least <= int(text) <= most):
        raise UsageError("bad_number", f"{name} must be a whole number from {least} to {most} (got {text[:40]!r})")
    return int(text)


async def read_page(store: Store, query: PageQuery) -> tuple[str, int | None]:
    """Return a page's JSON array, and the number after which the next one begins (None: there is none)."""
    texts: list[str] = []
    last = query.after
    async for number, text in _chunks(store, query):
        if query.limit is not None and len(texts) == query.limit:
            return f"[{','.join(texts)}]", last
        texts.append(text)
        last = number
    return f"[{','.join(texts)}]", None


async def _chunks(store: Store, query: PageQuery) -> AsyncIterator[tuple[int, str]]:
    after = query.after
    wanted = None if query.limit is None else query.limit + 1  # one more tells whether there is a next page
    while wanted is None or wanted > 0:
        size = _CHUNK if wanted is None else min(_CHUNK, wanted)
        found = store.page(after, size, query.status)
        for item in found:
            yield item
        if len(found) < size:
            return
        after = found[-1][0]
        if wanted is not None:
            wanted -= size
        await asyncio.sleep(0)
