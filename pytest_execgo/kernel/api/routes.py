"""Who answers what: the routes, and how a request finds its own.

No router: an id is one segment of the path as it was sent, decoded afterwards, so that ids with slashes, `.` and `..` can be
reached; routers work on the decoded path, where those are lost. Each route has its row in `openapi.OPERATIONS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from pytest_execgo.kernel.actions import catalogue
from pytest_execgo.kernel.actions.answer import encode_answer, encode_task
from pytest_execgo.kernel.actions.request import read_request
from pytest_execgo.kernel.actions.translate import translate
from pytest_execgo.kernel.api.control_api import Control
from pytest_execgo.kernel.api.exchange import Handler, HTTPError, Kernel, Reply, Request
from pytest_execgo.kernel.api.history import read_history
from pytest_execgo.kernel.api.paging import PageQuery, read_page, read_query
from pytest_execgo.kernel.executors.mcp import TOOLS, McpExecutor
from pytest_execgo.kernel.golang.text import decode_utf8, duration_text, json_object, json_strings, quote
from pytest_execgo.kernel.submission import read_graph, specs_of
from pytest_execgo.kernel.task import TaskRecord, TaskSpec

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

VERSION = "v1.0.0"
ID = None  # stands for an id in a path


async def _submit(request: Request) -> Reply:
    specs = read_graph(await request.body())
    request.kernel.limits.check(specs)
    await request.kernel.scheduler.accept(specs)
    return Reply(202, f'{{"accepted":{len(specs)},"task_ids":{json_strings([spec.id for spec in specs])}}}')


async def _list(request: Request) -> Reply:
    query = PageQuery() if request.kernel.control is None else read_query(request.scope["query_string"])
    text, following = await read_page(request.kernel.store, query)
    return Reply(200, text, () if following is None else ((b"x-next-after", str(following).encode()),))


async def _get(request: Request) -> Reply:
    if request.kernel.control is not None and request.scope["query_string"]:
        await request.kernel.control.hold(request.task_id, request.scope["query_string"], request.receive)
    await request.kernel.store.settled(request.task_id)
    envelope = request.kernel.store.envelope(request.task_id)
    if envelope is None:
        raise HTTPError(404, f"task not found: {request.task_id}")
    return Reply(200, envelope)


async def _delete(request: Request) -> Reply:
    control, scheduler = request.kernel.control, request.kernel.scheduler
    task_id = request.task_id
    if not (scheduler.delete(task_id) if control is None else await control.delete(task_id)):
        raise HTTPError(404, f"task not found: {request.task_id}")
    await request.kernel.store.flushed()
    return Reply(204)


async def _wait(request: Request) -> Reply:
    return Reply(200, await _control(request).wait(await request.body(), request.receive))


async def _cancel(request: Request) -> Reply:
    answer = await _control(request).cancel(request.task_id)
    if answer is None:
        raise HTTPError(404, f"task not found: {request.task_id}")
    return Reply(*answer)


async def _history(request: Request) -> Reply:
    if request.kernel.journal is None:
        raise HTTPError(404, "no history is kept (start the kernel with -history FILE)")
    return Reply(200, read_history(request.kernel.journal, request.scope["query_string"]))


def _control(request: Request) -> Control:
    if request.kernel.control is None:
        raise HTTPError(404, f"no such path: {decode_utf8(request.scope['raw_path'])}")
    return request.kernel.control


async def _health(request: Request) -> Reply:
    uptime = duration_text(int(time.monotonic() - request.kernel.started + 0.5))
    more = ""
    if request.kernel.capabilities:
        limits = json_object(**request.kernel.limits.describe())
        more = f',"capabilities":{json_strings(request.kernel.capabilities)},"limits":{limits}'
        if state := request.kernel.data.describe():
            more += f',"store":{state}'
    return Reply(200, f'{{"status":"ok","version":"{VERSION}","uptime":"{uptime}"{more}}}')


async def _metrics(request: Request) -> Reply:
    return Reply(200, request.kernel.metrics.encode())


async def _mcp_tools(request: Request) -> Reply:
    _mcp(request)
    return Reply(200, TOOLS)


async def _mcp_call(request: Request) -> Reply:
    return Reply(202, _mcp(request).call(await request.body()))


async def _mcp_task(request: Request) -> Reply:
    handle = _mcp(request).get(request.task_id)
    if handle is None:
        raise HTTPError(404, f"handle not found: {request.task_id}")
    return Reply(200, handle)


def _mcp(request: Request) -> McpExecutor:
    executor = request.kernel.executors.get("mcp")
    if not isinstance(executor, McpExecutor):
        raise HTTPError(503, f"no executor registered for type {quote('mcp')}")
    return executor


async def _adapter_capabilities(request: Request) -> Reply:
    return Reply(200, catalogue.CAPABILITIES)


async def _adapter_tools(request: Request) -> Reply:
    return Reply(200, catalogue.TOOLS)


async def _adapter_translate(request: Request) -> Reply:
    action = read_request(await request.body())
    tasks = translate(action)
    return Reply(200, encode_answer(action, [task["id"] for task in tasks], map(encode_task, tasks)))


async def _adapter_submit(request: Request) -> Reply:
    action = read_request(await request.body())
    specs = specs_of(translate(action))
    request.kernel.limits.check(specs)
    asked_ns = time.time_ns()
    await request.kernel.scheduler.accept(specs)
    tasks = (_as_submitted(request.kernel, spec, asked_ns) for spec in specs)
    return Reply(202, encode_answer(action, [spec.id for spec in specs], tasks, accepted=len(specs)))


def _as_submitted(kernel: Kernel, spec: TaskSpec, asked_ns: int) -> str:
    """Return the envelope of a task before it ran, however far it is by now; of one that was there before, its own."""
    record = kernel.store.get(spec.id)
    if record is not None and record.created_ns < asked_ns:
        return record.encode()
    created_ns = asked_ns if record is None else record.created_ns
    return TaskRecord(spec, created_ns, created_ns).encode()


async def _openapi(request: Request) -> Reply:
    from pytest_execgo.kernel.api import openapi  # imported by who asks for it

    return Reply(200, openapi.document(VERSION, compat=request.kernel.control is None))


ROUTES: dict[tuple[str | None, ...], dict[str, Handler]] = {
    ("openapi.json",): {"GET": _openapi},
    ("tasks",): {"GET": _list, "POST": _submit},
    ("tasks", ID): {"DELETE": _delete, "GET": _get},
    ("health",): {"GET": _health},
    ("metrics",): {"GET": _metrics},
    ("mcp", "tools"): {"GET": _mcp_tools},
    ("mcp", "call"): {"POST": _mcp_call},
    ("mcp", "tasks", ID): {"GET": _mcp_task},
    ("adapters", "capabilities"): {"GET": _adapter_capabilities},
    ("adapters", "tools"): {"GET": _adapter_tools},
    ("adapters", "translate"): {"POST": _adapter_translate},
    ("adapters", "actions"): {"POST": _adapter_submit},
}
EXTENSIONS: dict[tuple[str | None, ...], dict[str, Handler]] = {
    ("history",): {"GET": _history},
    ("tasks", "wait"): {"POST": _wait},
    ("tasks", ID, "cancel"): {"POST": _cancel},
}


async def answer(kernel: Kernel, scope: Scope, receive: Receive) -> Reply:
    """Find who answers a request and return the answer; `HTTPError` 404 or 405 when nobody does."""
    segments = _segments(scope["raw_path"])
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    allowed: set[str] = set()
    for path, task_id in _readings(segments):
        for table in (ROUTES,) if kernel.control is None else (ROUTES, EXTENSIONS):
            handlers = table.get(path, {})
            if method in handlers:
                return await handlers[method](Request(kernel, task_id, scope, receive))
            allowed |= {*handlers, *(("HEAD",) if "GET" in handlers else ())}
    if kernel.control is None:
        return _go_error(allowed)
    if not allowed:
        raise HTTPError(404, f"no such path: {decode_utf8(scope['raw_path'])}")
    names = ", ".join(sorted(allowed))
    message = f"method {scope['method']} is not allowed here (allowed: {names})"
    raise HTTPError(405, message, ((b"allow", names.encode()),))


def _segments(path: bytes) -> list[str]:
    """Return the segments of a path as it was sent, each decoded by itself."""
    if b"%" not in path and path.isascii():
        return path.decode("ascii").split("/")[1:]
    return [decode_utf8(unquote_to_bytes(segment)) for segment in path.split(b"/")[1:]]


def _go_error(allowed: set[str]) -> Reply:
    """Return what ExecGo's router answers when nobody does, which is no JSON (compat)."""
    headers = ((b"x-content-type-options", b"nosniff"),)
    if not allowed:
        return Reply(404, "404 page not found", headers, plain=True)
    return Reply(405, "Method Not Allowed", ((b"allow", ", ".join(sorted(allowed)).encode()), *headers), plain=True)


def _readings(segments: list[str]) -> Iterator[tuple[tuple[str | None, ...], str]]:
    """Yield the ways to read a path: to the letter, then with one segment as an id."""
    yield tuple(segments), ""
    for at in range(len(segments) - 1, 0, -1):
        if segments[at]:
            yield (*segments[:at], ID, *segments[at + 1 :]), segments[at]


def described() -> dict[str, set[str]]:
    """Return the methods of every path, extensions included; an id is written `{id}`."""
    tables = (*ROUTES.items(), *EXTENSIONS.items())
    return {"/" + "/".join("{id}" if part is ID else part for part in path): set(handlers) for path, handlers in tables}
