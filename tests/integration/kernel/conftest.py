"""A kernel as users have it: a process that is spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

_PATIENCE = 30.0
_TERMINAL = ("success", "failed", "skipped")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Kernel:
    """A kernel process."""

    def __init__(self, cwd: Path, *flags: str, **environment: str) -> None:
        reading, writing = os.pipe()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EXECGO_")}
        command = [sys.executable, "-m", "pytest_execgo.kernel", "-addr", "127.0.0.1:0", "-shutdown-timeout=1"]
        command += ["--ready-fd", str(writing), *flags]
        self.process = subprocess.Popen(
            command, cwd=cwd, env={**clean, **environment}, pass_fds=[writing], stdout=subprocess.DEVNULL
        )
        os.close(writing)
        with os.fdopen(reading) as ready:
            announced = json.loads(ready.readline())
        assert announced["pid"] == self.process.pid
        self.port: int = announced["port"]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read().decode())
        finally:
            connection.close()

    def submit(self, *tasks: dict[str, Any]) -> None:
        answer = self.call("POST", "/tasks", {"tasks": tasks})
        assert answer.status == 202, answer.text

    def forget(self, task_id: str) -> None:
        """Delete a record, if there is one: the same id with other content would be refused."""
        assert self.call("DELETE", f"/tasks/{quote(task_id, safe='')}").status in (204, 404)

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/tasks/{quote(task_id, safe='')}")
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    def until(self, task_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while True:
            found = self.task(task_id)
            if reached(found):
                return found
            assert time.monotonic() < end, found
            time.sleep(0.003)

    def run(self, *tasks: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Submit a graph and return every task's last envelope."""
        self.submit(*tasks)
        return {task["id"]: self.until(task["id"], lambda found: found["status"] in _TERMINAL) for task in tasks}

    def run_one(self, kind: str, params: Any = None, **more: Any) -> dict[str, Any]:
        """Run one task of a kind and return its last envelope; what an earlier test called `one` is forgotten."""
        self.forget("one")
        task = {"id": "one", "type": kind, **more}
        if params is not None:
            task["params"] = params
        return self.run(task)["one"]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class FakeRuntime:
    """A runtime that answers as the test says: `answers` maps "METHOD path" to the next (status, body) pairs."""

    def __init__(self, port: int = 0, answers: dict[str, list[tuple[int, Any]]] | None = None) -> None:
        self.answers = answers or {}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.arrived = threading.Condition()
        self.holds = threading.Event()  # answers to `wait=` and to kills are held back until it is set
        self.holds.set()
        self.hangs_up = False  # after each answer, so that stopping it really ends every connection
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                path = self.path.partition("?")[0]
                key = f"{self.command} {path}"
                with outer.arrived:
                    seen = {name.lower(): value for name, value in self.headers.items()} | {"path": self.path}
                    outer.requests.append((key, seen, json.loads(body) if body else None))
                    script = outer.answers.get(key, [(404, {"error": {"code": "not_found", "message": "no"}})])
                    outer.arrived.notify_all()
                held = "wait=" in self.path  # a look in between, which comes when an answer takes long, uses up no answer
                if held or path.endswith("/kill"):
                    outer.holds.wait(_PATIENCE)
                with outer.arrived:
                    used_up = len(script) > 1 and (held or self.command == "POST")
                    status, content = script.pop(0) if used_up else script[0]
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = self.close_connection or outer.hangs_up

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Stay quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def wait_for(self, key: str) -> tuple[dict[str, str], Any]:
        """Wait for a request and return its headers and body."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: any(seen == key for seen, _, _ in self.requests), _PATIENCE), self.requests
            return next((headers, body) for seen, headers, body in self.requests if seen == key)

    def stop(self) -> None:
        self.holds.set()
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for the whole session; EXECGO_SECRET must never reach a command."""
    started = Kernel(tmp_path_factory.mktemp("kernel"), EXECGO_SECRET="canary", VISIBLE="yes")
    yield started
    assert started.stop() == 0


@pytest.fixture
def new_kernel(tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    """Start kernels of one's own: flags, and environment by keyword."""
    started: list[Kernel] = []

    def start(*flags: str, **environment: str) -> Kernel:
        started.append(Kernel(tmp_path, *flags, **environment))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def session_runtime() -> Iterator[FakeRuntime]:
    """The runtime behind `runtime` and `runtime_kernel`."""
    fake = FakeRuntime()
    yield fake
    fake.stop()


@pytest.fixture
def runtime(session_runtime: FakeRuntime) -> Iterator[FakeRuntime]:
    """A runtime that does as it is told, and has been told nothing yet."""
    with session_runtime.arrived:
        session_runtime.answers.clear()
        session_runtime.requests.clear()
    yield session_runtime
    session_runtime.holds.set()


@pytest.fixture(scope="session")
def runtime_kernel(session_runtime: FakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for the whole session that sends its runtime tasks to `runtime`."""
    started = Kernel(tmp_path_factory.mktemp("kernel"), EXECGO_RUNTIME_URL=f" {session_runtime.url}/ ".strip())
    yield started
    assert started.stop() == 0


@pytest.fixture
def new_runtime() -> Iterator[Callable[..., FakeRuntime]]:
    """Start runtimes of one's own, each on the port that is given, and with its first answers."""
    started: list[FakeRuntime] = []

    def start(port: int, answers: dict[str, list[tuple[int, Any]]] | None = None) -> FakeRuntime:
        started.append(FakeRuntime(port, answers))
        return started[-1]

    yield start
    for one in started:
        one.stop()
