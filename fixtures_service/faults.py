"""The mode of the service, and the wrapper that makes requests suffer from it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fixtures_service.effects import RECEIVED_NS
from pytest_execgo.core.bodies import HttpError, error_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

IN_FORCE = "execgo.in_force"
"""Where a request's scope holds the `InForce` whose hostile texts it is to get."""
DATA_ROUTES = {"/advisories": ("GET", "HEAD"), "/effects": ("POST",)}
"""What can be disturbed, by path and method; whoever reads the sink as evidence never is."""
ErrorMode = Literal["none", "error_500", "error_503", "drop", "garbage"]
GARBAGE = b'{"garbage": \xff\xfe [[[ \x00'
_STATUS = {"error_500": 500, "error_503": 503}


class Mode(BaseModel):
    """How data routes answer.

    `latency_ms` comes before every answer. Of the requests, a share of `error_rate` suffers `error_mode`, drawn from `seed`,
    until `count` of them have (null: without end). `inject` puts hostile instructions into the feed's summaries: this text,
    or with `true` ours in turn. `routes` narrows all of it to some data routes; null is every one.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    latency_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    error_mode: ErrorMode = "none"
    error_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    inject: bool | Annotated[str, Field(min_length=1, max_length=1000)] = False
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    routes: Annotated[list[str], Field(min_length=1)] | None = None


def parse_mode(document: Any) -> Mode:
    """Validate a mode; an `HttpError` (400) lists every problem. Routes must be among the data routes."""
    try:
        mode = Mode.model_validate(document)
    except ValidationError as error:
        raise HttpError.from_validation(error, union_field="inject") from None
    problems = [
        (f"$.routes[{index}]", f"{route[:80]!r} is no data route; allowed: {', '.join(DATA_ROUTES)}")
        for index, route in enumerate(mode.routes or ())
        if route not in DATA_ROUTES
    ]
    if problems:
        raise HttpError.invalid(problems)
    return mode


class InForce:
    """One mode while it is in force. `hits` counts the requests that have suffered from it, by what they suffered."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.hits = {"latency": 0, "error": 0, "inject": 0}
        self._random = random.Random(mode.seed)  # noqa: S311 - repeatable on purpose

    def concerns(self, method: str, path: str) -> bool:
        """Tell whether a request is one that the mode is about."""
        mine = path in DATA_ROUTES if self.mode.routes is None else path in self.mode.routes
        return mine and method in DATA_ROUTES[path]

    def strikes(self) -> bool:
        """Draw whether the next request suffers an error; count it if so."""
        mode = self.mode
        if mode.error_mode == "none" or (mode.count is not None and self.hits["error"] >= mode.count):
            return False
        if self._random.random() >= mode.error_rate:
            return False
        self.hits["error"] += 1
        return True


class FaultInjector:
    """ASGI wrapper: data routes suffer the present mode, all others never do.

    `error_500` and `error_503` refuse a request before anything is done. `drop` and `garbage` spoil the answer after
    the work is done: the connection is cut without an answer, or the answer is no JSON. So a client that repeats such
    a request delivers its effect twice, as it would after a lost answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.in_force = InForce(Mode())

    def set_mode(self, mode: Mode) -> None:
        """Switch the mode for the requests that come from now on, and begin its random sequence and its hits anew."""
        self.in_force = InForce(mode)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or spoil it."""
        now = self.in_force
        if scope["type"] != "http" or not now.concerns(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        scope[RECEIVED_NS] = time.monotonic_ns()
        mode, struck = now.mode, now.strikes()
        if mode.latency_ms:
            now.hits["latency"] += 1
            await asyncio.sleep(mode.latency_ms / 1000)
        if not struck:
            scope[IN_FORCE] = now
            await self.app(scope, receive, send)
        elif mode.error_mode in _STATUS:
            await _refuse(mode.error_mode)(scope, receive, send)
        else:
            await self.app(scope, receive, _swallow)
            await (_send_garbage(send) if mode.error_mode == "garbage" else _cut(receive, send))


def _refuse(error_mode: str) -> ASGIApp:
    return error_answer(_STATUS[error_mode], f"injected_{error_mode}", "this error was asked for through the control plane")


async def _swallow(message: Message) -> None:
    """Take an answer that nobody shall see."""


async def _send_garbage(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(GARBAGE)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": GARBAGE})


async def _cut(receive: Receive, send: Send) -> None:
    """Close the connection without an answer; ASGI has no word for that, so that the server's transport is asked."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("dropped on purpose")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        continue  # until the server has seen it: an answer that never came is no error then
