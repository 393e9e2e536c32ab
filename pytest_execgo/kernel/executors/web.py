"""Outgoing HTTP for the `http` tool and the runtime executor: one connection pool, Go's words for what goes wrong.

Proxies of the environment are not used: what the kernel talks to is what it was told to talk to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import IncompleteRead, RemoteDisconnected

import urllib3
from urllib3 import exceptions

from pytest_execgo.kernel.executors.executor import DEADLINE
from pytest_execgo.kernel.golang.text import errno_text, quote

_CHUNK = 64 * 1024


class WebError(Exception):
    """A request that got no whole answer; the message is what Go's client says.

    `late`: the time was up. `reading`: the answer had begun.
    """

    def __init__(self, message: str, *, late: bool = False, reading: bool = False) -> None:
        super().__init__(message)
        self.late = late
        self.reading = reading


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status, headers (names in lower case) and body, cut at the limit that was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """A connection pool. Calls block; run them in a thread."""

    def __init__(self, connections: int) -> None:
        self._pool = urllib3.PoolManager(num_pools=32, maxsize=max(connections, 1), retries=False)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Answer:
        """Send one request, follow no redirect, read at most `limit` bytes. `timeout` (seconds) bounds all of it.

        `WebError` when there is no answer; `ValueError` when a header can't be sent.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        response = None
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=dict(headers),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(total=timeout),
            )
            content = _read(response, deadline, limit)
        except (exceptions.HTTPError, OSError) as error:
            if response is not None:
                response.close()
            raise WebError(_words(error), late=_is_late(error), reading=response is not None) from error
        response.release_conn()
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, content)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()


def _read(response: urllib3.BaseHTTPResponse, deadline: float | None, limit: int | None) -> bytes:
    parts: list[bytes] = []
    room = limit
    while room is None or room > 0:
        if deadline is not None and time.monotonic() > deadline:
            raise exceptions.TimeoutError(DEADLINE)
        part = response.read1(_CHUNK if room is None else min(room, _CHUNK))
        if not part:
            break
        parts.append(part)
        if room is not None:
            room -= len(part)
    if room == 0:
        response.close()  # what is left unread must not reach the next request on this connection
    return b"".join(parts)


def _is_late(error: BaseException) -> bool:
    return isinstance(error, exceptions.TimeoutError | TimeoutError) and not isinstance(error, exceptions.NewConnectionError)


def _words(error: BaseException) -> str:
    """Return what Go would say of a failed exchange."""
    if _is_late(error):
        return DEADLINE
    if isinstance(error, exceptions.NameResolutionError):
        return f"dial tcp: lookup {error.conn.host}: no such host"
    if isinstance(error, exceptions.NewConnectionError):
        cause = error.__cause__
        reason = f"connect: {errno_text(cause)}" if isinstance(cause, OSError) else str(error)
        return f"dial tcp {address_text(error.conn.host, error.conn.port or 0)}: {reason}"
    inner = error.args[1] if isinstance(error, exceptions.ProtocolError) and len(error.args) > 1 else error
    if isinstance(inner, RemoteDisconnected):
        return "EOF"
    if isinstance(inner, IncompleteRead | exceptions.IncompleteRead):
        return "unexpected EOF"
    if isinstance(inner, OSError) and inner.errno:
        return f"read: {errno_text(inner)}"
    return str(inner)


def address_text(host: str, port: int) -> str:
    """Return host:port with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def in_go_words(method: str, url: str, reason: str) -> str:
    """Return how Go's client reports a failed request: `Get "http://…": reason`."""
    return f"{method[:1].upper()}{method[1:].lower()} {quote(url)}: {reason}"
