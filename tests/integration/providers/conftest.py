"""A small model service of our own that misbehaves on order, and a gateway in front of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_execgo.plan.model import ModelProfile
from pytest_execgo.plan.provider import ModelAccess, Secret
from pytest_execgo.providers.gateway import Gateway

CANARY = "sk-canary-8f3b1d/77+20"
GOOD = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
}


class Sending:
    """What a fault may do to a connection."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.body(json.dumps(value).encode(), "application/json", status, **headers)

    def body(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.sized(body, len(body), kind, status, **headers)

    def sized(self, body: bytes, length: int, kind: str, status: int = 200, **headers: str) -> None:
        given = {"content-type": kind, "content-length": str(length)}
        self.head(status, given | {name.replace("_", "-"): value for name, value in headers.items()})
        self.raw(body)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self._handler.send_response_only(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def stream_head(self) -> None:
        self.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})

    def event(self, value: Any) -> None:
        self.chunk(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def raw(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def cut(self) -> None:
        self._handler.close_connection = True
        self._handler.connection.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Sending], None]


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    peer: int


@dataclass
class Model:
    """The service: answers in order, the last one for ever. `hold` keeps whoever waits for it until the test ends."""

    answers: list[Answer] = field(default_factory=lambda: [lambda send: send.json(GOOD)])
    asked: list[Asked] = field(default_factory=list, repr=False)
    hold: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    key: str = field(default=CANARY, repr=False)
    good: dict[str, Any] = field(default_factory=lambda: GOOD)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/base/v1"

    def access(self, key: str = CANARY, **headers: str) -> ModelAccess:
        return ModelAccess(self.url, ModelProfile(provider="openai", model="m"), Secret(key), headers)


@pytest.fixture
def model() -> Iterator[Model]:
    state = Model()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(self.command, self.path, headers, json.loads(raw) if raw else None, self.client_address[1]))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            try:
                answer(Sending(self))
            except OSError:
                self.close_connection = True

        do_POST = do_GET

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                return
            finally:
                self.rfile.close()

        def log_message(self, format: str, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gateway(model: Model, capfd: pytest.CaptureFixture[str]) -> Iterator[Gateway]:
    with Gateway(backoff_s=0.01) as running:
        yield running
    own = {thread.name for thread in threading.enumerate() if thread.name.startswith("model-")}
    assert own == set(), "no thread of the gateway outlives it"
    assert tuple(capfd.readouterr()) == ("", ""), "it has nothing to say, whatever happens to it"
