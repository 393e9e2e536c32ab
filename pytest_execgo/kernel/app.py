"""The HTTP side: routes, and the one place where an exception becomes an answer.

Plain ASGI without a router: a task id is one segment of the path as it was sent, decoded afterwards, so that ids with
slashes, `.` and `..` can be reached; routers work on the decoded path, where those are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from pytest_execgo.kernel.executor import Executor
from pytest_execgo.kernel.goformat import decode_utf8, duration_text, json_string, json_strings
from pytest_execgo.kernel.metrics import Metrics
from pytest_execgo.kernel.scheduler import Scheduler
from pytest_execgo.kernel.settings import Settings
from pytest_execgo.kernel.store import MemoryStore, Store
from pytest_execgo.kernel.submission import Refused, read_graph

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

VERSION = "v1.0.0"
BODY_MAX = 32 * 1024 * 1024
_LIST_CHUNK = 500  # envelopes put together at a stretch; between chunks others get their turn


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, JSON text ("" for none), more headers."""

    status: int
    body: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the routes work with."""

    store: Store
    metrics: Metrics
    scheduler: Scheduler
    started: float = field(default_factory=time.monotonic)


class HTTPError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.reply = Reply(status, f'{{"error":{json_string(message)}}}', headers)


class ClientGone(Exception):
    """The client hung up before its request was whole."""


class KernelApp:
    """The ASGI application. `build_executors` is called at start-up, on the event loop that everything then runs on."""

    def __init__(self, settings: Settings, build_executors: Callable[[Settings], Mapping[str, Executor]]) -> None:
        self._settings = settings
        self._build_executors = build_executors
        self._kernel: Kernel | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan protocol and HTTP requests."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await _send(send, await self._reply(scope, receive))
            except ClientGone:
                return

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        store, metrics = MemoryStore(), Metrics()
        executors = self._build_executors(self._settings)
        scheduler = Scheduler(store, metrics, executors, self._settings.max_concurrency)
        self._kernel = Kernel(store, metrics, scheduler)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await scheduler.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        """Find the answer to a request. Every exception ends here."""
        try:
            if self._kernel is None:
                raise HTTPError(503, "the kernel is not ready")
            return await _route(self._kernel, scope, receive)
        except HTTPError as error:
            return error.reply
        except Refused as error:
            return HTTPError(400, error.message).reply
        except ClientGone:
            raise
        except Exception as error:
            log("ERROR", "request failed", method=scope["method"], path=scope["path"], error=repr(error))
            return HTTPError(500, "internal error").reply


async def _route(kernel: Kernel, scope: Scope, receive: Receive) -> Reply:
    segments = [decode_utf8(unquote_to_bytes(segment)) for segment in scope["raw_path"].split(b"/")[1:]]
    match segments:
        case ["tasks", task_id] if task_id:
            handlers = _TASK_HANDLERS
        case [name] if name in _HANDLERS:
            handlers, task_id = _HANDLERS[name], ""
        case _:
            raise HTTPError(404, f"no such path: {decode_utf8(scope['raw_path'])}")
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    if method not in handlers:
        allowed = ", ".join(sorted({*handlers, "HEAD"}))
        message = f"method {scope['method']} is not allowed here (allowed: {allowed})"
        raise HTTPError(405, message, ((b"allow", allowed.encode()),))
    return await handlers[method](Request(kernel, task_id, scope, receive))


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
            if size > BODY_MAX:
                raise HTTPError(413, f"request body exceeds {BODY_MAX} bytes", ((b"connection", b"close"),))
            if not message.get("more_body", False):
                return b"".join(parts)


Handler = Callable[[Request], Awaitable[Reply]]


async def _submit(request: Request) -> Reply:
    specs = read_graph(await request.body())
    request.kernel.scheduler.submit(specs)
    return Reply(202, f'{{"accepted":{len(specs)},"task_ids":{json_strings([spec.id for spec in specs])}}}')


async def _list(request: Request) -> Reply:
    store = request.kernel.store
    envelopes: list[str] = []
    for count, task_id in enumerate(list(store.ids()), 1):
        envelope = store.envelope(task_id)
        if envelope is not None:  # else deleted while others had their turn
            envelopes.append(envelope)
        if count % _LIST_CHUNK == 0:
            await asyncio.sleep(0)
    return Reply(200, "[" + ",".join(envelopes) + "]")


async def _get(request: Request) -> Reply:
    envelope = request.kernel.store.envelope(request.task_id)
    if envelope is None:
        raise HTTPError(404, f"task not found: {request.task_id}")
    return Reply(200, envelope)


async def _delete(request: Request) -> Reply:
    if not request.kernel.scheduler.delete(request.task_id):
        raise HTTPError(404, f"task not found: {request.task_id}")
    return Reply(204)


async def _health(request: Request) -> Reply:
    uptime = duration_text(int(time.monotonic() - request.kernel.started + 0.5))
    return Reply(200, f'{{"status":"ok","version":"{VERSION}","uptime":"{uptime}"}}')


async def _metrics(request: Request) -> Reply:
    return Reply(200, request.kernel.metrics.encode())


_HANDLERS: dict[str, dict[str, Handler]] = {
    "tasks": {"GET": _list, "POST": _submit},
    "health": {"GET": _health},
    "metrics": {"GET": _metrics},
}
_TASK_HANDLERS: dict[str, Handler] = {"DELETE": _delete, "GET": _get}


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers]
    body = b""
    if reply.body:
        body = reply.body.encode() + b"\n"
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class TraceID:
    """ASGI wrapper: every answer carries the request's X-Trace-ID, or one made for it (16 hex digits)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and mark its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-trace-id"), b"")
        trace_id = given or secrets.token_hex(8).encode()

        async def marking(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-trace-id", trace_id)]
            await send(message)

        await self._app(scope, receive, marking)


def log(level: str, message: str, **fields: Any) -> None:
    """Write one JSON line to standard output."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = json.dumps({"time": stamp, "level": level, "msg": message, **fields}) + "\n"
    with contextlib.suppress(BrokenPipeError):  # whoever read our output is gone; that must not end the service
        sys.stdout.write(line)
        sys.stdout.flush()
