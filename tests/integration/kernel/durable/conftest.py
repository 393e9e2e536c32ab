"""Kernels that are killed and started again in one folder, and clients that go on whatever happens."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

TERMINAL = ("success", "failed", "skipped")
PATIENCE = 60.0
FAULTS = Path(__file__).with_name("durable_faults.py")
HOST = "127.0.0.2"  # where hardly anybody else takes the port while it is free between two lives


class Durable:
    """A kernel on a folder; `fault` (point, nth) makes it kill itself, or break a promise."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        fault: tuple[str, int] | None = None,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        reading, writing = os.pipe()
        start = [str(FAULTS), fault[0], str(fault[1])] if fault else ["-m", "pytest_execgo.kernel"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EXECGO_")}
        command = [sys.executable, *start, "-addr", f"{HOST}:{port}", "-data-dir", str(folder / "data"), "-shutdown-timeout=1"]
        self.said = folder / "stderr.txt"
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [*command, "--ready-fd", str(writing), *flags],
                cwd=folder,
                env={**clean, "EXECGO_SHELL_POLICY": "open", **(environment or {})},
                pass_fds=[writing],
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        os.close(writing)
        with os.fdopen(reading) as ready:
            line = ready.readline()
        self.port: int = json.loads(line)["port"] if line else 0

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers; `OSError` or `HTTPException` when there is no whole answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def submit(self, *tasks: dict[str, Any]) -> None:
        status, text, _ = self.call("POST", "/tasks", {"tasks": tasks})
        assert status == 202, text

    def task(self, task_id: str) -> dict[str, Any] | None:
        status, text, _ = self.call("GET", f"/tasks/{quote(task_id, safe='')}")
        assert status in (200, 404), text
        found: dict[str, Any] | None = json.loads(text) if status == 200 else None
        return found

    def end_of(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end and return its envelope."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.task(task_id)
            assert found is not None, f"{task_id} is lost"
            if found["status"] in TERMINAL:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.005)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("GET", "/health")[1])
        return found

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Durable]]:
    """Start kernels on the test's folder, one after the other."""
    started: list[Durable] = []

    def begin(*flags: str, folder: Path = tmp_path, **more: Any) -> Durable:
        started.append(Durable(folder, *flags, **more))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.kill()
