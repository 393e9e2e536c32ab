"""The runtime service's HTTP protocol: routes, and what each answers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pytest_execgo.core.bodies import HttpError, exception_handlers, json_answer, parse_json, read_body
from pytest_execgo.plan.confinement import MODES
from pytest_execgo.runtime.describe import capabilities, config, info, metrics, resources
from pytest_execgo.runtime.engine import Engine
from pytest_execgo.runtime.models import parse_task
from pytest_execgo.runtime.tasks import TaskRecord

MAX_BODY = 8 * 1024 * 1024
MAX_WAIT = 30.0
_KILL_WAIT = 10.0  # seconds that a kill's answer is held at most until the task has ended
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def parse_wait(text: str) -> float:
    """Read `wait=5s`, `wait=500ms` as seconds, 30 at most; anything else is a 400."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise HttpError.invalid([("?wait", f"{text[:40]!r} is no duration; write 500ms or 5s")])
    return min(float(found[1]) * _UNITS[found[2]], MAX_WAIT)


def parse_after(text: str) -> int:
    """Read `after=3`, the number of an event that the client has seen; anything else is a 400."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise HttpError.invalid([("?after", f"{text[:40]!r} is no sequence number; write 0 or the last one that you have seen")])
    return int(text)


class Api:
    """The endpoints over one engine."""

    def __init__(self, engine: Engine, data: Mapping[str, Any]) -> None:
        self.engine = engine
        self.data = dict(data)
        self.boot_id = os.urandom(16).hex()
        self.started_ns = time.time_ns()

    async def submit(self, request: Request) -> Response:
        """Accept a task: 202, once the store has it for good."""
        raw = await read_body(request, MAX_BODY)
        record = await self.engine.submit(parse_task(parse_json(raw)), raw, hashlib.sha256(raw).hexdigest())
        return json_answer({"task_id": record.task_id, "handle_id": record.handle_id, "status": "accepted"}, 202)

    async def show(self, request: Request) -> Response:
        """Answer a task's state, at once or (`wait`) when it is terminal."""
        record = await self._find(request)
        wait = request.query_params.get("wait")
        if wait:
            await self.engine.wait(record, parse_wait(wait))
        return json_answer(record.shown())

    async def kill(self, request: Request) -> Response:
        """End a task; its owner only. The answer shows it ended."""
        record = await self._find(request)
        given = dict(request.scope["headers"]).get(b"x-execgo-owner", b"")
        if record.owner and given != record.owner.encode():
            raise HttpError(403, "permission_denied", f"task {record.task_id!r} belongs to another owner")
        self.engine.kill(record)
        await self.engine.wait(record, _KILL_WAIT)
        return json_answer(record.shown())

    async def events(self, request: Request) -> Response:
        """Answer what happened to a task, in order: all, or what came `after` a sequence number, for which it may `wait`."""
        record = await self._find(request)
        after = parse_after(request.query_params.get("after", "0"))
        wait = request.query_params.get("wait")
        if wait:
            await self.engine.wait_for_event(record, after, parse_wait(wait))
        events = [event.shown() for event in record.events[after:]]
        return json_answer({"task_id": record.task_id, "handle_id": record.handle_id, "events": events})

    async def info(self, request: Request) -> Response:
        """Answer which service this is."""
        return json_answer(info(self.engine, self.boot_id, self.started_ns))

    async def capabilities(self, request: Request) -> Response:
        """Answer what this service can do."""
        return json_answer(await asyncio.to_thread(capabilities, self.engine))  # rungs of isolation are tried for it

    async def sandbox(self, request: Request) -> Response:
        """Answer whether commands can be run in one mode of sandbox here, without trying any other."""
        mode, sandboxes = request.path_params["mode"], self.engine.sandboxes
        if sandboxes is None or mode not in MODES:
            raise HttpError(
                404, "not_found", f"no sandbox has the mode {mode[:80]!r}; known: {', '.join(MODES)}", {"id": mode[:80]}
            )
        state = await asyncio.to_thread(sandboxes.command_state, mode)
        if state["available"]:
            sandboxes.expect(mode)  # who asks will want it
        return json_answer({"mode": mode, **state})

    async def config(self, request: Request) -> Response:
        """Answer what this service was told to do."""
        limits = {"max_body_bytes": MAX_BODY, "max_wait_ms": int(MAX_WAIT * 1000)}
        return json_answer(config(self.engine) | limits | {"data": self.data})

    async def resources(self, request: Request) -> Response:
        """Answer what is in use and what is left."""
        return json_answer(resources(self.engine))

    async def healthz(self, request: Request) -> Response:
        """Answer that the process lives."""
        return json_answer({"status": "ok", "uptime_ms": (time.time_ns() - self.started_ns) // 1_000_000})

    async def readyz(self, request: Request) -> Response:
        """Answer whether tasks are accepted."""
        return json_answer({"status": "stopping"}, 503) if self.engine.stopping else json_answer({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """Answer the counters in Prometheus' text format."""
        return PlainTextResponse(metrics(self.engine), media_type="text/plain; version=0.0.4")

    async def _find(self, request: Request) -> TaskRecord:
        key: str = request.path_params["key"]
        record = await self.engine.find(key)
        if record is None:
            raise HttpError(404, "not_found", f"no task has the id or handle {key[:200]!r}", {"id": key[:200]})
        return record


def build_app(engine: Engine, data: Mapping[str, Any]) -> Starlette:
    """Build the application over an engine; `data` says of the data folder what clients may know.

    Before it answers, the keeper is there and what an earlier service left is taken up; its shutdown waits until no command
    is left.
    """
    api = Api(engine, data)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await engine.open()
        yield
        await engine.close()

    def route(path: str, endpoint: Any, method: str = "GET") -> Route:
        return Route(path, endpoint, methods=[method])

    routes = [
        route("/api/v1/tasks", api.submit, "POST"),
        route("/api/v1/tasks/{key:path}/kill", api.kill, "POST"),
        route("/api/v1/tasks/{key:path}/events", api.events),
        route("/api/v1/tasks/{key:path}", api.show),
        route("/api/v1/runtime/info", api.info),
        route("/api/v1/runtime/capabilities", api.capabilities),
        route("/api/v1/runtime/sandboxes/{mode}", api.sandbox),
        route("/api/v1/runtime/config", api.config),
        route("/api/v1/runtime/resources", api.resources),
        route("/healthz", api.healthz),
        route("/readyz", api.readyz),
        route("/metrics", api.metrics),
    ]
    app = Starlette(routes=routes, exception_handlers=exception_handlers(), lifespan=lifespan)
    app.router.redirect_slashes = False
    return app
