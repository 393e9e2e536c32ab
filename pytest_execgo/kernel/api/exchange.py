"""What a request is to the routes, and what they answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_execgo.kernel.api.control_api import Control
from pytest_execgo.kernel.durable.folder import DataFolder
from pytest_execgo.kernel.executors.executor import Executor
from pytest_execgo.kernel.golang.text import json_string
from pytest_execgo.kernel.limits import COMPAT, Limits
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.store import Store

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from pytest_execgo.kernel.history.journal import Journal


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, JSON text ("" for none), more headers; `plain`: the text is no JSON."""

    status: int
    body: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the routes work with."""

    store: Store
    metrics: Metrics
    scheduler: Scheduler
    executors: Mapping[str, Executor]
    data: DataFolder
    control: Control | None = None
    """The control extensions; None in compat."""
    capabilities: tuple[str, ...] = ()
    limits: Limits = COMPAT
    journal: Journal | None = None
    """The journal of the history; None: no history is kept."""
    started: float = field(default_factory=time.monotonic)


class HTTPError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.reply = Reply(status, f'{{"error":{json_string(message)}}}', headers)


class ClientGone(Exception):
    """The client hung up before its request was whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler gets: the kernel, the task id of the path (or ""), the body to be read."""

    kernel: Kernel
    task_id: str
    scope: Scope
    receive: Receive

    async def body(self) -> bytes:
        """Read the body; one that is too large is refused while it flows."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > (most := self.kernel.limits.body_bytes):
                raise HTTPError(413, f"limit exceeded: body_bytes is {most}", ((b"connection", b"close"),))
            if not message.get("more_body", False):
                body = b"".join(parts)
                self.kernel.limits.check_body(body)
                return body


Handler = Callable[[Request], Awaitable[Reply]]
