"""Which names a kernel answers to: a page in somebody's browser whose name was rebound to our address gets nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.golang.text import decode_utf8, json_string

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


def read_hosts(text: str) -> tuple[str, ...]:
    """Split a comma list of `host` and `host:port`; `UsageError` for what can be neither."""
    hosts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for host in hosts:
        if not _AUTHORITY.fullmatch(host):
            raise UsageError(
                "bad_host",
                f"-allowed-hosts (EXECGO_ALLOWED_HOSTS): {host!r} can't be used",
                "write host or host:port, separated by commas, for instance 127.0.0.1:8080,localhost",
            )
    return hosts


class HostGuard:
    """ASGI wrapper: a request whose Host header names none of `allowed` gets 421 and a JSON error.

    An allowed host without a port is allowed on every port. Names are compared as they are written: `127.1` is not `127.0.0.1`.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on; refuse any other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = [decode_utf8(value) for name, value in scope["headers"] if name == b"host"]
        if len(named) == 1 and self._allows(named[0].lower()):
            await self._app(scope, receive, send)
            return
        said = f"host {named[0]} is not served here" if named else "a Host header is required"
        body = f'{{"error":{json_string(said)}}}\n'.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 421, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _allows(self, host: str) -> bool:
        match = _AUTHORITY.fullmatch(host)
        return match is not None and (host in self._allowed or match["host"] in self._allowed)
