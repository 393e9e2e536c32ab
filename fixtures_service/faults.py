"""The mode of the service, and the wrapper that makes requests suffer from it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_execgo.core.bodies import HttpError, error_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ErrorMode = Literal["none", "error_500", "error_503", "drop", "garbage"]
GARBAGE = b'{"garbage": \xff\xfe [[[ \x00'
_STATUS = {"error_500": 500, "error_503": 503}


class Mode(BaseModel):
    """How data routes answer.

    `latency_ms` comes before every answer. Of the requests, a share of `error_rate` suffers `error_mode`; which ones is
    drawn from `seed`. `routes` narrows both to paths that begin with one of them; null is every data route.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    latency_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    error_mode: ErrorMode = "none"
    error_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    routes: Annotated[list[str], Field(min_length=1)] | None = None


def parse_mode(document: Any, data_routes: tuple[str, ...]) -> Mode:
    """Validate a mode; an `HttpError` (400) lists every problem. Routes must lie among the data routes."""
    try:
        mode = Mode.model_validate(document)
    except ValidationError as error:
        raise HttpError.from_validation(error) from None
    allowed = ", ".join(data_routes)
    problems = [
        (f"$.routes[{index}]", f"{route[:80]!r} is no data route; allowed: paths below {allowed}")
        for index, route in enumerate(mode.routes or ())
        if not below(route, data_routes)
    ]
    if problems:
        raise HttpError.invalid(problems)
    return mode


def below(path: str, routes: tuple[str, ...] | list[str]) -> bool:
    """Tell whether a path is one of the routes, or lies below one."""
    return any(path == route or path.startswith(route.rstrip("/") + "/") for route in routes)


class FaultInjector:
    """ASGI wrapper: data routes suffer the present mode, all others never do.

    `error_500` and `error_503` refuse a request before anything is done. `drop` and `garbage` spoil the answer after
    the work is done: the connection is cut without an answer, or the answer is no JSON. So a client that repeats such
    a request delivers its effect twice, as it would after a lost answer.
    """

    def __init__(self, app: ASGIApp, data_routes: tuple[str, ...]) -> None:
        self.app = app
        self.data_routes = data_routes
        self.mode = Mode()
        self._random = random.Random(0)  # noqa: S311 - repeatable on purpose

    def set_mode(self, mode: Mode) -> None:
        """Switch the mode for the requests that come from now on, and begin its random sequence anew."""
        self.mode = mode
        self._random.seed(mode.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or spoil it."""
        mode = self.mode
        if scope["type"] != "http" or not below(scope["path"], mode.routes or self.data_routes):
            await self.app(scope, receive, send)
            return
        hit = mode.error_mode != "none" and self._random.random() < mode.error_rate
        if mode.latency_ms:
            await asyncio.sleep(mode.latency_ms / 1000)
        if not hit:
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
