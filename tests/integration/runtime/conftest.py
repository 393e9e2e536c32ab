"""A runtime service as a process, ready when its fixture returns, gone when its tests are over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httpx
import pytest


class Launch(Protocol):
    def __call__(self, *options: str, **environment: str) -> tuple[subprocess.Popen[bytes], httpx.Client]: ...


@pytest.fixture(scope="session")
def launch_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Start services with options and variables of one's own, each in a data folder of its own unless one is named."""
    started: list[tuple[subprocess.Popen[bytes], httpx.Client]] = []

    def launch(*options: str, **environment: str) -> tuple[subprocess.Popen[bytes], httpx.Client]:
        read, write = os.pipe()
        argv = [sys.executable, "-m", "pytest_execgo", "serve", "runtime", "-addr", "127.0.0.1:0"]
        folder = str(tmp_path_factory.mktemp("runtime-data"))
        process = subprocess.Popen(
            [*argv, "-data-dir", folder, "--ready-fd", str(write), *options], pass_fds=[write], env={**os.environ, **environment}
        )
        os.close(write)
        with os.fdopen(read) as ready:
            announced = json.loads(ready.readline())
        assert announced["pid"] == process.pid
        client = httpx.Client(base_url=f"http://127.0.0.1:{announced['port']}", timeout=60, trust_env=False)
        if token := environment.get("EXECGO_RUNTIME_TOKEN"):
            client.headers["authorization"] = f"Bearer {token}"
        started.append((process, client))
        return process, client

    yield launch
    for process, client in started:
        client.close()
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="session")
def runtime(launch_runtime: Launch) -> httpx.Client:
    """One service for all tests that neither fill nor stop it."""
    return launch_runtime("-max-concurrency", "12", EXECGO_RUNTIME_TOKEN="a-token", EXECGO_SECRET="canary")[1]


@pytest.fixture(scope="session")
def finish() -> Callable[..., dict[str, Any]]:
    """Submit an execution and return the answer about the finished task."""

    def finished(client: httpx.Client, execution: dict[str, Any], **rest: Any) -> dict[str, Any]:
        accepted = client.post("/api/v1/tasks", json={"execution": execution, **rest})
        assert accepted.status_code == 202, accepted.text
        handle = accepted.json()["handle_id"]
        for _ in range(4):  # a service holds an answer for half a minute at most
            answer: dict[str, Any] = client.get(f"/api/v1/tasks/{handle}?wait=30s").json()
            if answer["status"] in ("success", "failed", "cancelled"):
                return answer
        raise AssertionError(answer)

    return finished
