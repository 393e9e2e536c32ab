"""A kernel and a runtime as processes, in a PID namespace where that can be had, so that nothing a test starts can leak."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

_PATIENCE = 60.0
_TERMINAL = ("success", "failed", "skipped", "cancelled")
_NAMESPACE = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def namespaces() -> bool:
    """Tell whether services can be put into PID namespaces."""
    if os.geteuid() != 0:
        return False
    return subprocess.run([*_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


@dataclass
class Service:
    """A service's process, the client that speaks to it, and what it reads of the process table."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    def tree(self) -> dict[int, tuple[str, str]]:
        """Return every process below the service: pid to state and command line."""
        table: dict[int, tuple[int, str, str]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                except OSError:
                    continue
                table[int(entry.name)] = (int(parent), state, words)
        found, ahead = {}, [self.process.pid]
        while ahead:
            pid = ahead.pop()
            for child, (above, *known) in table.items():
                if above == pid:
                    found[child] = (known[0], known[1])
                    ahead.append(child)
        return found

    def zombies(self) -> list[int]:
        return [pid for pid, (state, _) in self.tree().items() if state == "Z"]

    def having(self, text: str) -> list[int]:
        return [pid for pid, (state, words) in self.tree().items() if text in words and state != "Z"]

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + _PATIENCE
        while not (found := holds()):
            assert time.monotonic() < end, what
            time.sleep(0.01)
        return found


class KernelService(Service):
    """A kernel."""

    def submit(self, *tasks: dict[str, Any]) -> httpx.Response:
        return self.client.post("/tasks", json={"tasks": tasks})

    def finished(self, task_id: str) -> dict[str, Any]:
        def terminal() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.get(f"/tasks/{task_id}").json()
            return found if found["status"] in _TERMINAL else None

        answer: dict[str, Any] = self.until(terminal, f"{task_id} did not end")
        return answer

    def run(self, task_id: str, kind: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
        accepted = self.submit({"id": task_id, "type": kind, "params": params, **more})
        assert accepted.status_code == 202, accepted.text
        return self.finished(task_id)


class RuntimeService(Service):
    """A runtime."""

    def submit(self, execution: dict[str, Any], **rest: Any) -> str:
        accepted = self.client.post("/api/v1/tasks", json={"execution": execution, **rest})
        assert accepted.status_code == 202, accepted.text
        handle: str = accepted.json()["handle_id"]
        return handle

    def finished(self, handle: str) -> dict[str, Any]:
        for _ in range(4):  # a service holds an answer for half a minute at most
            answer: dict[str, Any] = self.client.get(f"/api/v1/tasks/{handle}?wait=30s").json()
            if answer["status"] in _TERMINAL:
                return answer
        raise AssertionError(answer)


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start services: which one, options, variables by keyword (`cwd` is its folder)."""
    started: list[Service] = []
    inside = _NAMESPACE if namespaces() else []

    def start(which: str, *options: str, cwd: Path | None = None, **variables: str) -> Any:
        reading, writing = os.pipe()
        words = [sys.executable, "-P", "-m", "pytest_execgo", "serve", which, "-addr", "127.0.0.1:0", "--ready-fd", str(writing)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EXECGO_")}
        process = subprocess.Popen(
            [*inside, *words, *options],
            cwd=cwd or tmp_path_factory.mktemp(which),
            env={**clean, **variables},
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as ready:
            port = json.loads(ready.readline())["port"]
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        kind = KernelService if which == "kernel" else RuntimeService
        started.append(kind(process, client))
        return started[-1]

    yield start
    for service in started:
        service.client.close()
        service.process.kill()  # `unshare` takes its whole namespace along
        service.process.wait(30)


@pytest.fixture(scope="session")
def kernel(start_service: Start) -> KernelService:
    """One kernel without bounds, for what neither fills nor stops it."""
    started: KernelService = start_service("kernel", EXECGO_SECRET="canary-one", AWS_SECRET="canary-two", TZ="UTC")
    return started


@pytest.fixture(scope="session")
def runtime(start_service: Start) -> RuntimeService:
    """One runtime with the default isolation."""
    started: RuntimeService = start_service("runtime", EXECGO_RUNTIME_SECRET="canary-one", AWS_SECRET="canary-two", TZ="UTC")
    return started
