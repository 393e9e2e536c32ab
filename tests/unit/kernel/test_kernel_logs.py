"""Request logs and trace ids, without sockets."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from typing import Any

import pytest

from pytest_execgo.kernel.api import logs
from pytest_execgo.kernel.api.logs import TRACE_ID_MAX, LineWriter, RequestLog, trace_id_of

MADE = re.compile(rb"[0-9a-f]{16}\Z")


@pytest.mark.parametrize(
    "given",
    [b"my trace", b"x", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"a" * TRACE_ID_MAX, b"\xe9t\xe9", b'"<\\'],
)
def test_a_usable_trace_id_is_taken_over(given: bytes) -> None:
    assert trace_id_of([(b"host", b"h"), (b"x-trace-id", given)]) == given


@pytest.mark.parametrize(
    "given", [b"", b"a\rb", b"a\nSet-Cookie: x", b"a\x00b", b"\x1b[31m", b"a\tb", b"\x7f", b"a" * (TRACE_ID_MAX + 1)]
)
def test_any_other_is_replaced(given: bytes) -> None:
    first, second = (trace_id_of([(b"x-trace-id", given)]) for _ in range(2))
    assert MADE.match(first)
    assert MADE.match(second)
    assert first != second


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(logs._writer, "write", lambda line: written.append(json.loads(line)))
    return written


def ask(app: Any, **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    full = {
        "type": "http",
        "method": "GET",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"token=x",
        "headers": [],
        **scope,
    }
    asyncio.run(RequestLog(app)(full, None, send))  # type: ignore[arg-type]
    return sent


async def teapot(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b""})


def test_a_request_is_one_line_with_the_trace_id_of_its_answer(lines: list[dict[str, Any]]) -> None:
    start, _ = ask(teapot)
    (line,) = lines
    assert list(line) == ["time", "level", "msg", "trace_id", "method", "path", "status", "duration"]
    assert (line["level"], line["msg"], line["method"], line["path"], line["status"]) == ("INFO", "request", "GET", "/a%20b", 418)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line["time"])
    assert line["duration"] >= 0
    assert dict(start["headers"])[b"x-trace-id"] == line["trace_id"].encode()
    assert dict(start["headers"])[b"a"] == b"b"


def test_a_request_that_is_not_answered_has_its_line_too(lines: list[dict[str, Any]]) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ask(breaks)
    assert [line["status"] for line in lines] == [0]


class Stuck:
    """Standard output that nobody reads until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.text = ""

    def write(self, text: str) -> None:
        self.entered.set()
        assert self.go.wait(30)
        self.text += text

    def flush(self) -> None:
        """Nothing is held back."""


def test_a_reader_that_stops_reading_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    monkeypatch.setattr(sys, "stdout", stuck)
    monkeypatch.setattr(logs, "_BACKLOG", 10)
    writer = LineWriter()
    writer.write("0\n")
    assert stuck.entered.wait(30)  # from now on the writer's thread hangs
    for number in range(1, 26):
        writer.write(f"{number}\n")
    stuck.go.set()
    writer.close()
    *kept, told = stuck.text.splitlines()
    assert kept == [str(number) for number in range(11)]
    assert (json.loads(told)["msg"], json.loads(told)["count"]) == ("log lines were dropped", 15)


def test_a_reader_that_is_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    writer = LineWriter()
    for _ in range(3):
        writer.write("x\n")
    before = threading.active_count()
    writer.close()
    assert threading.active_count() <= before, "the writer's thread ended in its own time, and raised nothing in ours"
