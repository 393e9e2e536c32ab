"""What the kernel writes to standard output: one JSON object a line, one line for each request and each event.

A line has `time` (RFC 3339), `level`, `msg`, and for a request `trace_id`, `method`, `path` (as sent, without the query),
`status` (0: the client left before it was answered) and `duration` (milliseconds).

Lines are written by a thread: a reader that stops reading must not stop the kernel. It gathers them for `_GATHER` seconds, so
that a busy kernel doesn't pay a switch of threads for each. When it lags `_BACKLOG` lines behind, further ones are dropped,
and the next line that gets through says how many.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from collections import deque
from json.encoder import encode_basestring_ascii as _json
from typing import TYPE_CHECKING, Any

from pytest_execgo.kernel.golang.time import time_text

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRACE_ID_MAX = 256  # characters; a longer trace id is not taken over
_BACKLOG = 20_000
_GATHER = 0.02
_LAST_LINES = 0.5  # seconds that the last lines may take at the end


class LineWriter:
    """Writes lines to standard output in the background."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Have a line written soon; it is dropped when too many wait."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="kernel-log")
            self._thread.start()
        if len(self._lines) >= _BACKLOG:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what is left, as long as somebody reads it."""
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(_LAST_LINES)

    def _work(self) -> None:
        while not (self._closing.is_set() and not self._lines):
            self._some.wait()
            self._closing.wait(_GATHER)
            self._some.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._dropped:
                lines.append(_line("WARN", "log lines were dropped", count=self._dropped))
                self._dropped = 0
            # whoever read our output is gone, or its disk is full for now; that must not end the service, nor the log
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.write("".join(lines))
                sys.stdout.flush()


_writer = LineWriter()
_trace_ids = random.Random()  # noqa: S311 - seeded by the system; they tell requests apart, and guard nothing


def log(level: str, message: str, **fields: Any) -> None:
    """Write one line about an event."""
    _writer.write(_line(level, message, **fields))


def close_log() -> None:
    """Let the last lines out; called once, at the end of the process."""
    _writer.close()


class RequestLog:
    """ASGI wrapper: every request has a trace id, which its answer and its line in the log carry.

    The id is the request's X-Trace-ID, or one made for it (16 hex digits) when there is none or it can't be taken over:
    control characters would forge headers or log lines, and length costs on every line.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, mark its answer, write its line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = trace_id_of(scope["headers"])
        scope["trace_id"] = trace_id.decode("latin-1")  # for whoever logs more about this request
        started = time.perf_counter()
        status = 0

        async def marking(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-trace-id", trace_id)]
            await send(message)

        try:
            await self._app(scope, receive, marking)
        finally:
            duration = (time.perf_counter() - started) * 1000
            _writer.write(_request_line(scope["trace_id"], scope["method"], scope["raw_path"], status, duration))


def trace_id_of(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the trace id that a request brings, or a new one."""
    given = next((value for name, value in headers if name == b"x-trace-id"), b"")
    usable = 0 < len(given) <= TRACE_ID_MAX and min(given) >= 0x20 and 0x7F not in given
    return given if usable else b"%016x" % _trace_ids.getrandbits(64)


def _line(level: str, message: str, **fields: Any) -> str:
    return json.dumps({"time": time_text(time.time_ns()), "level": level, "msg": message, **fields}) + "\n"


def _request_line(trace_id: str, method: str, path: bytes, status: int, duration: float) -> str:
    """Return the line of a request; put together by hand, as it is paid for with every request."""
    return (
        f'{{"time": "{time_text(time.time_ns())}", "level": "INFO", "msg": "request", "trace_id": {_json(trace_id)}, '
        f'"method": {_json(method)}, "path": {_json(path.decode("latin-1"))}, "status": {status}, "duration": {duration:.3f}}}\n'
    )
