"""The fixtures service as a process: readiness, faults on a real connection, mistakes, stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pytest_execgo.core.bundle import bundle_root

Launch = Callable[..., tuple["subprocess.Popen[bytes]", httpx.Client]]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(bundle_root()), "EXECGO_FIXTURES_TOKEN": "t"}


@pytest.fixture
def launch_fixtures(tmp_path: Path) -> Iterator[Launch]:
    started: list[tuple[subprocess.Popen[bytes], httpx.Client]] = []

    def launch(*command: str, options: tuple[str, ...] = ()) -> tuple[subprocess.Popen[bytes], httpx.Client]:
        read, write = os.pipe()
        address = ["-addr", "127.0.0.1:0", "--ready-fd", str(write)]
        argv = [sys.executable, "-m", *(command or ("fixtures_service",)), *address, *options]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(argv, pass_fds=[write], env=_ENVIRONMENT, cwd=tmp_path, stderr=log)
        os.close(write)
        with os.fdopen(read) as ready:
            announced = json.loads(ready.readline())
        client = httpx.Client(base_url=f"http://127.0.0.1:{announced['port']}", timeout=30, trust_env=False)
        client.headers["authorization"] = "Bearer t"
        started.append((process, client))
        return process, client

    yield launch
    for process, client in started:
        client.close()
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("command", [("fixtures_service",), ("pytest_execgo", "serve", "fixtures", "-shutdown-timeout", "5")])
def test_it_answers_once_it_is_ready_and_stops_cleanly(launch_fixtures: Launch, command: tuple[str, ...]) -> None:
    process, client = launch_fixtures(*command)
    assert client.get("/health").json()["status"] == "ok"
    assert len(client.get("/advisories").json()["advisories"]) >= 30
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_dropped_connection_is_dropped_and_the_log_stays_quiet(launch_fixtures: Launch, tmp_path: Path) -> None:
    process, client = launch_fixtures()
    client.put("/control/mode", json={"error_mode": "drop"}).raise_for_status()
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("/effects", json={"kind": "a"}, headers={"idempotency-key": "k"})
    assert client.get("/health").status_code == 200
    client.put("/control/mode", json={"error_mode": "garbage", "routes": ["/advisories"]}).raise_for_status()
    with pytest.raises(ValueError, match="decode"):
        client.get("/advisories").json()
    assert [one["outcome"] for one in client.get("/effects/deliveries").json()["deliveries"]] == ["applied", "repeated"]
    process.terminate()
    assert process.wait(30) == 0
    assert (tmp_path / "log").read_text() == ""


def test_what_was_answered_before_a_kill_is_there_after_it(launch_fixtures: Launch, tmp_path: Path) -> None:
    options = ("-data-dir", str(tmp_path / "data"))
    process, client = launch_fixtures(options=options)
    answered = 0

    def deliver_until_it_ends() -> None:
        nonlocal answered
        with contextlib.suppress(httpx.TransportError):
            for number in range(100_000):
                assert client.post("/effects", json={"kind": "a"}, headers={"idempotency-key": f"k{number}"}).status_code == 201
                answered += 1

    thread = threading.Thread(target=deliver_until_it_ends)
    thread.start()
    while answered < 50:
        thread.join(0.001)
        assert thread.is_alive()
    process.kill()
    thread.join(30)
    process.wait(30)
    with (tmp_path / "data" / "deliveries.jsonl").open("ab") as file:
        file.write(b'{"delivery":{"sequ')  # as a write that was cut short would leave it
    _, again = launch_fixtures(options=options)
    deliveries = again.get("/effects/deliveries").json()["deliveries"]
    assert len(deliveries) - answered in (0, 1)  # one that was written, and not answered any more
    assert [one["sequence"] for one in deliveries] == list(range(1, len(deliveries) + 1))
    health = again.get("/health").json()
    assert health["sink"] == {"kept": True, "deliveries": len(deliveries), "torn": 1}
    assert health["boot_id"] not in {one["boot_id"] for one in deliveries}
    repeated = again.post("/effects", json={"kind": "a"}, headers={"idempotency-key": "k0"})
    assert (repeated.status_code, repeated.json()["effect_id"]) == (200, "effect-1")


def test_a_folder_that_is_in_use_or_corrupt_is_one_clear_error(launch_fixtures: Launch, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    argv = [sys.executable, "-m", "fixtures_service", "-addr", "127.0.0.1:0", "-data-dir", str(folder)]

    def said() -> str:
        ended = subprocess.run(argv, env=_ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode in (2, 3)
        assert "Traceback" not in ended.stderr
        return ended.stderr

    process, _ = launch_fixtures(options=("-data-dir", str(folder)))
    assert f"in use by another fixtures service (pid {process.pid})" in said()
    process.terminate()
    process.wait(30)
    (folder / "deliveries.jsonl").write_text("what?\n{}\n")
    assert f"{folder / 'deliveries.jsonl'}, line 1: " in said()


def test_a_large_body_is_refused_and_the_answer_arrives(launch_fixtures: Launch) -> None:
    _, client = launch_fixtures()
    refused = client.post("/effects", content=b" " * 20_000_000, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("options", "said"), [(["-data", "nowhere"], "advisories.json"), (["-addr", "x"], "'x'")])
def test_a_mistake_is_one_clear_error(tmp_path: Path, options: list[str], said: str) -> None:
    argv = [sys.executable, "-m", "fixtures_service", *options]
    ended = subprocess.run(argv, env=_ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_imports_nothing_of_the_project_but_the_core() -> None:
    code = (
        "import sys, fixtures_service.app, fixtures_service.server;"
        "print(sorted({'.'.join(m.split('.')[:2]) for m in sys.modules if m.startswith('pytest')}))"
    )
    seen = subprocess.run([sys.executable, "-c", code], env=_ENVIRONMENT, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "['pytest_execgo', 'pytest_execgo.core']"
