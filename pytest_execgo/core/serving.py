"""What our three servers share: an address, a port that is announced, a token, one clean stop."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonio import dumps

if TYPE_CHECKING:
    from types import FrameType

    from pydantic import ValidationError
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_DEPTH = 100  # levels of nesting in a body
MAX_NODES = 200_000  # values in a body
_MAX_PROBLEMS = 50
_SHOWN = 300  # characters of one problem's message; a message may quote what it was sent
_DRAINED = 256 * 1024 * 1024  # bytes of a refused body that are still read: closing early would hide the answer


def parse_address(text: str) -> tuple[str, int]:
    """Split `host:port` as Go's servers write it: `:8080` is every interface, `127.0.0.1:0` a port of the system's choice."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError("bad_address", f"address {text!r} can't be used", "write host:port, for instance 127.0.0.1:8080 or :8080")
    return host.strip("[]"), int(port)


def bind(address: str, *, shared: bool = False) -> socket.socket:
    """Bind a TCP socket for listening; `shared` sets SO_REUSEPORT, so that a reservation of the same port may stay open."""
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host or "0.0.0.0", port))  # noqa: S104 - an empty host means every interface, as in Go
    except OSError as error:
        sock.close()
        raise UsageError(
            "address_in_use", f"can't listen on {address}: {error.strerror or error}", "choose another port, or stop what holds it"
        ) from error
    return sock


class TokenGuard:
    """ASGI wrapper: every path outside of `open_paths` needs `Authorization: Bearer <token>`; otherwise 401.

    `error` is what the body of a 401 holds under `error`: a text, or an object where the protocol wants one.
    """

    def __init__(
        self, app: ASGIApp, token: str, open_paths: Iterable[str] = (), error: object = "a bearer token is required"
    ) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()
        self.refusal = json.dumps({"error": error}, separators=(",", ":")).encode()
        self.open_paths = tuple(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on; answer any other with 401 and a JSON error."""
        if scope["type"] == "http" and not scope["path"].startswith(self.open_paths or ("\0",)):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                body = self.refusal
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self.app(scope, receive, send)


class HttpError(ExecGoError):
    """An answer other than success: `status` is the HTTP status, `details` what a program may want to know."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.details = dict(details or {})

    @classmethod
    def invalid(cls, problems: Sequence[tuple[str, str]]) -> HttpError:
        """Build a 400 `invalid_input` from every problem found: (JSON path, what is wrong and what would be right)."""
        shown = [{"path": path, "message": message[:_SHOWN]} for path, message in problems]
        first = "; ".join(f"{problem['path']}: {problem['message']}" for problem in shown[:3])
        more = f" (and {len(shown) - 3} more)" if len(shown) > 3 else ""
        return cls(400, "invalid_input", f"{first}{more}", {"problems": shown})

    @classmethod
    def from_validation(cls, error: ValidationError, union_field: str = "") -> HttpError:
        """Build a 400 from what pydantic found; `union_field` names a top-level field that holds a tagged union."""
        problems = []
        for found in error.errors(include_url=False, include_input=False):
            loc = list(found["loc"])
            message = found["msg"]
            if found["type"].startswith("union_tag"):
                loc.append(str(found.get("ctx", {}).get("discriminator", "kind")).strip("'"))
            elif loc[:1] == [union_field]:
                del loc[1:2]  # the tag that chose the model is no part of the document's path
            problems.append((json_path(loc), message))
        return cls.invalid(problems)


def json_path(parts: Iterable[str | int]) -> str:
    """Render the way to a value in a JSON document, `$.tasks[0].id`; unusual names in brackets and quotes."""
    steps = (
        f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if part.isidentifier() else f"[{json.dumps(part[:80])}]"
        for part in parts
    )
    return "$" + "".join(steps)


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body of at most `limit` bytes; a larger one is read to its end, unstored, and refused with 413."""
    kept = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            kept += chunk
        elif size > limit + _DRAINED:
            break
    if size > limit:
        raise HttpError(413, "body_too_large", f"the body is larger than {limit} bytes", {"limit_bytes": limit})
    return bytes(kept)


def parse_json(raw: bytes) -> Any:
    """Parse one JSON value that can be stored and sent on safely; anything else is a 400 `HttpError` with its path.

    Refused beyond malformed text: NaN and infinities, integers beyond Python's digit limit, nesting deeper than
    `MAX_DEPTH`, more than `MAX_NODES` values, NUL characters and lone surrogates. Of equal keys the last one counts.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise HttpError.invalid([("$", f"the body is not UTF-8 (byte {error.start})")]) from None
    except json.JSONDecodeError as error:
        raise HttpError.invalid([("$", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")]) from None
    except RecursionError:
        raise HttpError.invalid([("$", f"nested deeper than {MAX_DEPTH} levels")]) from None
    except ValueError as error:
        raise HttpError.invalid([("$", f"not JSON: {str(error).partition(';')[0]}")]) from None
    suspicious = "\\ud" in text or "\\uD" in text or "\\u0000" in text
    if suspicious or text.count("[") + text.count("{") > MAX_DEPTH or text.count(",") > MAX_NODES // 2:
        _check_values(value)
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _check_values(value: Any) -> None:
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    problems: list[tuple[str, str]] = []
    count = 0
    while waiting and len(problems) < _MAX_PROBLEMS:
        where, item = waiting.pop()
        count += 1
        if count > MAX_NODES:
            raise HttpError.invalid([("$", f"more than {MAX_NODES} values")])
        if len(where) > MAX_DEPTH:
            raise HttpError.invalid([(json_path(where[:8]), f"nested deeper than {MAX_DEPTH} levels")])
        if isinstance(item, dict):
            problems += [(json_path(where), f"a name holds {what}") for name in item if (what := _unstorable(name))]
            waiting += [((*where, name), item[name]) for name in item]
        elif isinstance(item, list):
            waiting += [((*where, index), element) for index, element in enumerate(item)]
        elif isinstance(item, str) and (what := _unstorable(item)):
            problems.append((json_path(where), f"holds {what}"))
    if problems:
        raise HttpError.invalid(problems)


def _unstorable(text: str) -> str:
    if "\0" in text:
        return "a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a lone surrogate, which UTF-8 can't carry"
    return ""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `value` as JSON."""
    from starlette.responses import Response

    return Response(dumps(value).encode(), status, headers, "application/json")


def error_answer(status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> Response:
    """Answer with an error: `{"error": {"code", "message", "details"}}`."""
    return json_answer({"error": {"code": code, "message": message, "details": dict(details or {})}}, status)


def exception_handlers() -> dict[Any, Callable[[Request, Any], Response]]:
    """Return the one map from exceptions to answers, for a `Starlette` app; unforeseen ones are 500 `internal`."""
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    def refused(request: Request, error: HttpError) -> Response:
        return error_answer(error.status, error.code, error.message, error.details)

    def unrouted(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_input")
        answer = error_answer(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    def gone(request: Request, error: ClientDisconnect) -> Response:
        return error_answer(400, "client_disconnected", "the request ended before its body did")

    def unforeseen(request: Request, error: Exception) -> Response:
        return error_answer(500, "internal", f"unforeseen {type(error).__name__}; the service's log tells more")

    return {HttpError: refused, HTTPException: unrouted, ClientDisconnect: gone, Exception: unforeseen}


def serve(
    app: ASGIApp,
    address: str,
    *,
    shared_port: bool = False,
    ready_fd: int | None = None,
    shutdown_timeout: float = 15,
    on_bound: Callable[[int], None] | None = None,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM, then return.

    Once requests are answered, one JSON line `{"pid", "port"}` is written to `ready_fd`, which is then closed.
    `shutdown_timeout` (seconds) bounds how long open requests may take after a stop was asked for. `on_stop` is called
    in the event loop as soon as the stop is asked for, before open requests are waited for.
    """
    import asyncio

    import uvicorn  # deferred: 50 ms that only a server process pays

    sock = bind(address, shared=shared_port)
    port = sock.getsockname()[1]
    if on_bound is not None:
        on_bound(port)

    class Stopped(BaseException):
        """What our own signal handler raises, when a signal comes before or after the server's own handler."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped

    class Announcing(uvicorn.Server):
        loop: asyncio.AbstractEventLoop | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            if ready_fd is not None and self.started:
                with contextlib.suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as ready:
                    ready.write(json.dumps({"pid": os.getpid(), "port": port}) + "\n")

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            if on_stop is not None and self.loop is not None:
                self.loop.call_soon_threadsafe(on_stop)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
        ws="none",
        http="h11",
        loop="asyncio",
    )
    # uvicorn re-raises the signal that stopped it; an ordinary stop must neither print a traceback nor end the process
    # by a signal, so that its caller still runs and its exit status is its own
    with contextlib.suppress(KeyboardInterrupt, Stopped):
        previous = signal.signal(signal.SIGTERM, stop)
        try:
            Announcing(config).run(sockets=[sock])
        finally:
            signal.signal(signal.SIGTERM, previous)
