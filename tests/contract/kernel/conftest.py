"""The conformance suite: ExecGo's wire contract, case by case, against any service that claims to keep it.

`pytest tests/contract/kernel` starts our kernel twice, with `--compat` and without; with `--execgo-url URL` the suite runs
against the service there, which should have nothing else to do meanwhile and write files in a folder that may be littered.

A case is written with `§` where ids are to differ from run to run (`§a`): the sign becomes a prefix of the test's own, in
what is sent and in what is expected.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

_PATIENCE = 30.0
_TERMINAL = ("success", "failed", "skipped")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _ordered(item)) for key, item in value.items()]
    return [_ordered(item) for item in value] if isinstance(value, list) else value


class Subject:
    """The service under test, as one test sees it."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._url = urlsplit(url)
        self.prefix = f"{secrets.token_hex(4)}-"

    def own(self, value: Any) -> Any:
        """Put this test's prefix in the place of `§`, anywhere in a value."""
        if isinstance(value, bytes):
            return value.replace("§".encode(), self.prefix.encode())
        if isinstance(value, str):
            return value.replace("§", self.prefix)
        if isinstance(value, dict):
            return {self.own(key): self.own(item) for key, item in value.items()}
        return [self.own(item) for item in value] if isinstance(value, list) else value

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; anything but bytes is sent as JSON."""
        body = self.own(body)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=_PATIENCE)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, self._url.path.rstrip("/") + self.own(path), data, given)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read().decode())
        finally:
            connection.close()

    def submit(self, *tasks: dict[str, Any]) -> None:
        answer = self.call("POST", "/tasks", {"tasks": list(tasks)})
        assert answer.status == 202, answer.text

    def task(self, task_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/tasks/{quote(self.own(task_id), safe='')}")
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    def until(self, path: str, reached: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as it should be."""
        end, pause = time.monotonic() + _PATIENCE, 0.001
        while True:
            answer = self.call("GET", path)
            if answer.status == 200 and reached(answer.json):
                return answer.json
            assert time.monotonic() < end, answer
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's last envelope."""
        path = f"/tasks/{quote(self.own(task_id), safe='')}"
        found: dict[str, Any] = self.until(path, lambda task: task["status"] in _TERMINAL)
        return found

    def run(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """Submit a graph and return every task's last envelope."""
        self.submit(*tasks)
        return [self.ended(task["id"]) for task in tasks]

    def same(self, seen: Any, expected: Any) -> None:
        """Assert that a value is what was expected, the order of fields included."""
        assert _ordered(seen) == _ordered(self.own(expected))

    def in_order(self, *times: str) -> bool:
        """Tell whether times are in order; their fractions differ in length, so that the zone behind them must not count."""
        bare = [re.sub(r"(Z|[+-]\d\d:\d\d)\Z", "", moment) for moment in times]
        return bare == sorted(bare)

    def without_times(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Check the parts of an envelope that differ from run to run, and take them out."""
        envelope = dict(envelope)
        for name in ("created_at", "updated_at"):
            assert _TIME.match(envelope.pop(name))
        if "runtime" in envelope:
            run = envelope["runtime"] = dict(envelope["runtime"])
            names = list(run)
            for name in ("started_at", "finished_at"):
                assert _TIME.match(run.pop(name))
            assert run.pop("duration_ms", 1) > 0  # left out when 0
            order = "status handle_id output started_at finished_at duration_ms attempt details error".split()
            assert names == [name for name in order if name in names]
        return envelope


def _start(folder: Path, *flags: str) -> tuple[subprocess.Popen[bytes], str]:
    reading, writing = os.pipe()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EXECGO_")}
    command = [sys.executable, "-m", "pytest_execgo.kernel", "-addr", "127.0.0.1:0", "-data-dir", str(folder / "data")]
    command += ["-history", str(folder / "history.jsonl"), *flags]
    process = subprocess.Popen(
        [*command, "--ready-fd", str(writing)], cwd=folder, env=clean, pass_fds=[writing], stdout=subprocess.DEVNULL, umask=0o022
    )
    os.close(writing)
    with os.fdopen(reading) as ready:
        line = ready.readline()
    assert line, f"the kernel did not start: exit status {process.wait(_PATIENCE)}"
    announced = json.loads(line)
    return process, f"http://127.0.0.1:{announced['port']}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "service" in metafunc.fixturenames:
        names = ["given"] if metafunc.config.getoption("execgo_url") else ["compat", "strict"]
        metafunc.parametrize("service", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The service under test: its base URL, and which it is (given, compat or strict)."""
    name: str = request.param
    if name == "given":
        yield str(request.config.getoption("execgo_url")), name
        return
    process, url = _start(tmp_path_factory.mktemp(name), *(["--compat"] if name == "compat" else []))
    try:
        yield url, name
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE) == 0


@pytest.fixture
def subject(service: tuple[str, str]) -> Subject:
    """The service under test, with a prefix for ids of this test's own."""
    url, name = service
    return Subject(url, name)
