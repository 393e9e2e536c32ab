"""The way to a model: one host, kept connections that can be cut at any moment, no redirects, no proxy."""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.provider import ModelAccess

CONNECT_S = 10.0
CHUNK = 1 << 16
LARGEST_ANSWER = 64 << 20  # bytes
_POOLED = 16
_SENT_ON = ("content-type", "accept")


class UpstreamFailed(ExecGoError):
    """The model's service was not reached, or broke off."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a planner. `path` begins behind `/v1`; `headers` have lower-case names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """An answer of which the first bytes are there. To be closed; used as a context manager."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._first = self._read()
        self._size = len(self._first)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they come; `UpstreamFailed` when they stop before the end."""
        chunk = self._first
        while chunk:
            yield chunk
            chunk = self._read()
            self._size += len(chunk)
            if self._size > LARGEST_ANSWER:
                raise UpstreamFailed("answer_too_large", f"the model's answer is larger than {LARGEST_ANSWER} bytes")

    def _read(self) -> bytes:
        try:
            return self._response.read1(CHUNK, decode_content=False) or b""
        except (HTTPError, OSError) as error:
            raise UpstreamFailed("upstream_broken", f"the model's answer broke off: {_cause(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._response.close()  # a connection whose answer was read to its end went back to the pool before


class Upstream:
    """The service at one `ModelAccess`. Any thread may use it."""

    def __init__(self, access: ModelAccess) -> None:
        parts = urlsplit(access.base_url)
        self._access = access
        self._path = parts.path.rstrip("/")
        self._where = parts.netloc
        self._lock = threading.Lock()
        self._lines: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._cut = False
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
        options: dict[str, Any] = {"maxsize": _POOLED, "opened": self._opened}
        self._pool = (
            _SecurePool(host, parts.port, ssl_context=_trusted(), **options)
            if parts.scheme == "https"
            else _PlainPool(host, parts.port, **options)
        )

    def ask(self, call: Call, timeout: float) -> Answer:
        """Send a request, with the real key, and wait for the first bytes of its answer, at most `timeout` seconds.

        `UpstreamFailed` when none came.
        """
        try:
            response = self._send(call, timeout)
        except (HTTPError, OSError) as error:
            said = _cause(error)
        else:
            try:
                return Answer(response)
            except BaseException:
                response.close()
                raise
        # raised out here, so that it does not carry the error before it, whose frames hold the key
        raise UpstreamFailed("upstream_unreachable", f"{call.method} {call.path}: no answer from {self._where}: {said}")

    def _send(self, call: Call, timeout: float) -> BaseHTTPResponse:
        return self._pool.urlopen(
            call.method,
            f"{self._path}{call.path}{'?' if call.query else ''}{call.query}",
            body=call.body or None,
            headers=self._headers(call),
            retries=False,
            redirect=False,
            timeout=Timeout(connect=min(CONNECT_S, timeout), read=timeout),
            preload_content=False,
            decode_content=False,
        )

    def cut(self) -> None:
        """End every exchange that is under way, and all that come."""
        with self._lock:
            self._cut = True
            lines = list(self._lines)
        for line in lines:
            _shut(line)

    def close(self) -> None:
        """Cut, and close the connections that are kept."""
        self.cut()
        self._pool.close()

    def _headers(self, call: Call) -> dict[str, str]:
        kept = {name: call.headers[name] for name in _SENT_ON if name in call.headers}
        key = self._access.api_key
        # an encoded answer could be neither searched for the key nor written down
        ours = {"accept-encoding": "identity", "user-agent": "pytest-execgo", **self._access.headers}
        return {**kept, **ours, **({"authorization": f"Bearer {key.reveal()}"} if key else {})}

    def _opened(self, line: socket.socket) -> None:
        with self._lock:
            self._lines.add(line)
            cut = self._cut
        if cut:
            _shut(line)


class _PlainConnection(HTTPConnection):
    """Tells when it is connected."""

    def __init__(self, *args: Any, opened: Callable[[socket.socket], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._tell = opened

    def connect(self) -> None:
        super().connect()
        self._tell(self.sock)


class _SecureConnection(HTTPSConnection):
    """Tells when it is connected."""

    def __init__(self, *args: Any, opened: Callable[[socket.socket], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._tell = opened

    def connect(self) -> None:
        super().connect()
        self._tell(self.sock)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _shut(line: socket.socket) -> None:
    try:
        socket.socket.shutdown(line, socket.SHUT_RDWR)  # beneath TLS, too: a reader in another thread is to see the end
    except OSError:
        return  # closed by itself


@functools.cache
def _trusted() -> ssl.SSLContext:
    """Return whom servers must be certified by: those the machine trusts (or `SSL_CERT_FILE` names), or requests' own list."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


def _cause(error: BaseException) -> str:
    """Return the innermost reason in words, without a library's names around it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
