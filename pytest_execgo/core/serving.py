"""What our three servers share: an address, a port that is announced, a token, one clean stop."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import ASGIApp, Receive, Scope, Send

_IDLE_S = 3600
"""How long an idle connection is kept: one that is closed while a request is on its way to it resets that request."""


def parse_address(text: str) -> tuple[str, int]:
    """Split `host:port` as Go's servers write it: `:8080` is every interface, `127.0.0.1:0` a port of the system's choice."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise UsageError("bad_address", f"address {text!r} can't be used", "write host:port, for instance 127.0.0.1:8080 or :8080")
    return host.strip("[]"), int(port)


def bind(address: str, *, shared: bool = False) -> socket.socket:
    """Bind a TCP socket for listening; `shared` sets SO_REUSEPORT, so that a reservation of the same port may stay open."""
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms for an ACK
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
    """ASGI wrapper: every path that is none of `open_paths` needs `Authorization: Bearer <token>`; otherwise 401.

    `error` is what the body of a 401 holds under `error`: a text, or an object where the protocol wants one.
    """

    def __init__(
        self, app: ASGIApp, token: str, open_paths: Iterable[str] = (), error: object = "a bearer token is required"
    ) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()
        self.refusal = json.dumps({"error": error}, separators=(",", ":")).encode()
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on; answer any other with 401 and a JSON error."""
        if scope["type"] == "http" and scope["path"] not in self.open_paths:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                body = self.refusal
                headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": body})
                return
        await self.app(scope, receive, send)


class _Stopped(BaseException):
    """What our own signal handler raises, when a signal comes before or after the server's own handler."""


def _stop(signum: int, frame: FrameType | None) -> None:
    raise _Stopped


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
    import uvicorn  # deferred: 50 ms that only a server process pays

    from pytest_execgo.core.http_protocol import BoundedHead
    from pytest_execgo.core.told_server import ToldServer

    sock = bind(address, shared=shared_port)
    port = sock.getsockname()[1]
    if on_bound is not None:
        on_bound(port)

    def announce() -> None:
        if ready_fd is not None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(ready_fd, "w") as ready:
                ready.write(json.dumps({"pid": os.getpid(), "port": port}) + "\n")

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
        timeout_keep_alive=_IDLE_S,
        ws="none",
        http=BoundedHead,
        loop="uvloop",
    )
    # uvicorn re-raises the signal that stopped it; an ordinary stop must neither print a traceback nor end the process
    # by a signal, so that its caller still runs and its exit status is its own
    with contextlib.suppress(KeyboardInterrupt, _Stopped):
        previous = signal.signal(signal.SIGTERM, _stop)
        try:
            ToldServer(config, on_ready=announce, on_stop=on_stop).run(sockets=[sock])
        finally:
            signal.signal(signal.SIGTERM, previous)
