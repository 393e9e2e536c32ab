"""The protocol on the wire: acceptance, waiting, killing, events, errors, metrics, stop."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_execgo.core.serving import bind

Finish = Callable[..., dict[str, Any]]
Launch = Callable[..., tuple["subprocess.Popen[bytes]", httpx.Client]]


def submit(client: httpx.Client, execution: dict[str, Any], **rest: Any) -> dict[str, Any]:
    accepted = client.post("/api/v1/tasks", json={"execution": execution, **rest})
    assert accepted.status_code == 202, accepted.text
    answer: dict[str, Any] = accepted.json()
    return answer


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def written(path: Path) -> int:
    """Wait until a command has written its number into a file."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.01)
    return int(path.read_text())


def error_of(response: httpx.Response) -> tuple[int, str]:
    body = response.json()["error"]
    assert set(body) == {"code", "message", "details"}
    return response.status_code, body["code"]


def test_acceptance_makes_ids_and_keeps_given_ones(runtime: httpx.Client) -> None:
    made = submit(runtime, {"kind": "emit"})
    assert set(made) == {"task_id", "handle_id", "status"}
    assert made["status"] == "accepted"
    assert made["task_id"]
    name = "run/1 stage:é " + "x" * 300
    given = submit(runtime, {"kind": "emit", "payload": {"a": None}}, task_id=name)
    assert given["task_id"] == name
    by_handle = runtime.get(f"/api/v1/tasks/{given['handle_id']}?wait=20s").json()
    by_id = runtime.get(httpx.URL(f"{runtime.base_url}/api/v1/tasks/").join(f"/api/v1/tasks/{_quoted(name)}")).json()
    assert by_id == by_handle
    assert by_handle["output"] == {"a": None}
    again = runtime.post("/api/v1/tasks", json={"task_id": name, "execution": {"kind": "emit"}})
    assert error_of(again) == (409, "conflict")


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def test_a_wait_ends_with_the_task_and_not_before_its_time(runtime: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    handle = submit(runtime, {"kind": "command", "program": "cat", "args": [str(gate)]})["handle_id"]
    assert runtime.get(f"/api/v1/tasks/{handle}?wait=50ms").json()["status"] == "running"
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(runtime.get, f"/api/v1/tasks/{handle}?wait=30s")
        gate.write_text("7")
        began = time.monotonic()
        answer = waiting.result(30).json()
    assert (answer["status"], answer["output"]) == ("success", 7)
    assert time.monotonic() - began < 15
    assert error_of(runtime.get(f"/api/v1/tasks/{handle}?wait=soon")) == (400, "invalid_input")


def test_a_kill_ends_the_whole_group(runtime: httpx.Client, tmp_path: Path) -> None:
    text = f"trap '' TERM; sleep 300 & echo $! > {tmp_path}/child; wait"
    task = submit(runtime, {"kind": "script", "script": text})
    child = written(tmp_path / "child")
    killed = runtime.post(f"/api/v1/tasks/{task['task_id']}/kill").json()
    assert killed["status"] == "cancelled"
    assert killed["error"]["code"] == "cancelled"
    assert not alive(child)
    assert runtime.post(f"/api/v1/tasks/{task['handle_id']}/kill").json() == killed
    events = runtime.get(f"/api/v1/tasks/{task['task_id']}/events").json()["events"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    assert [event["type"] for event in events] == ["accepted", "started", "cancel_requested", "finished"]
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert events[-1]["details"] == {"status": "cancelled", "code": "cancelled"}


def test_only_the_owner_kills(runtime: httpx.Client) -> None:
    task = submit(runtime, {"kind": "sleep", "duration_ms": 60_000}, control_context={"owner": "anna", "tenant": "t"})
    path = f"/api/v1/tasks/{task['task_id']}/kill"
    for headers in ({}, {"x-execgo-owner": "ann"}, {"x-execgo-owner": ""}):
        assert error_of(runtime.post(path, headers=headers)) == (403, "permission_denied")
    assert runtime.get(f"/api/v1/tasks/{task['task_id']}").json()["status"] == "running"
    assert runtime.post(path, headers={"X-Execgo-Owner": "anna"}).json()["status"] == "cancelled"
    assert error_of(runtime.post(path)) == (403, "permission_denied")


def test_unknown_places_and_methods_answer_json(runtime: httpx.Client) -> None:
    for path in ("/api/v1/tasks/none", "/api/v1/tasks/none/events", "/nowhere", "/healthz/", "/api/v1/tasks/a%00b"):
        assert error_of(runtime.get(path)) == (404, "not_found")
    assert error_of(runtime.post("/api/v1/tasks/none/kill")) == (404, "not_found")
    assert error_of(runtime.get("/api/v1/tasks")) == (405, "method_not_allowed")
    assert error_of(runtime.delete("/healthz")) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"execution": {"kind": "emit", "payload": NaN}}',
        b'{"execution": {"kind": "emit", "payload": 1e999}}',
        b'{"execution": {"kind": "sleep", "duration_ms": ' + b"9" * 5000 + b"}}",
        b'{"execution": {"kind": "sleep", "duration_ms": 99999999999999999999}}',
        b'{"execution": {"kind": "sleep", "duration_ms": true}}',
        b'{"execution": {"kind": "emit", "payload": ["\\ud800"]}}',
        b'{"execution": {"kind": "command", "program": "a\\u0000b"}}',
        b'{"execution": {"kind": "command", "program": "\xff"}}',
        b'{"execution": {"kind": "emit", "payload": ' + b"[" * 101 + b"]" * 101 + b"}}",
    ],
    ids=range(13),
)
def test_bad_bodies_are_refused_with_a_path(runtime: httpx.Client, body: bytes) -> None:
    response = runtime.post("/api/v1/tasks", content=body)
    assert error_of(response) == (400, "invalid_input")
    problems = response.json()["error"]["details"]["problems"]
    assert problems
    assert all(problem["path"].startswith("$") for problem in problems)


def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(runtime: httpx.Client) -> None:
    head = "POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a-token\r\ncontent-length: 50000000\r\n\r\n"
    with socket.create_connection((runtime.base_url.host, runtime.base_url.port or 0), timeout=60) as raw:
        raw.sendall(head.encode() + b" " * 50_000_000)  # fails when the service closes before it has read everything
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")
    streamed = runtime.post("/api/v1/tasks", content=(b" " * 1_000_000 for _ in range(20)))
    assert error_of(streamed) == (413, "body_too_large")


def test_the_token_guards_all_but_the_probes(runtime: httpx.Client) -> None:
    with httpx.Client(base_url=runtime.base_url, trust_env=False) as stranger:
        for path in ("/api/v1/runtime/info", "/api/v1/tasks/x", "/metrics", "/nowhere"):
            assert error_of(stranger.get(path)) == (401, "unauthorized")
        assert error_of(stranger.post("/api/v1/tasks", json={})) == (401, "unauthorized")
        assert stranger.get("/healthz").json()["status"] == "ok"
        assert stranger.get("/readyz").json() == {"status": "ready"}


def test_the_service_describes_itself(runtime: httpx.Client) -> None:
    info = runtime.get("/api/v1/runtime/info").json()
    assert info["protocol"] == "v1"
    assert info["boot_id"]
    kinds = runtime.get("/api/v1/runtime/capabilities").json()["execution_kinds"]
    assert kinds == ["command", "script", "code", "emit", "sleep", "fail"]
    config = runtime.get("/api/v1/runtime/config").json()
    assert (config["max_concurrency"], config["queue_limit"], config["max_wait_ms"]) == (12, 1000, 30_000)
    assert config["default_limits"]["wall_time_ms"] == 300_000
    assert runtime.get("/api/v1/runtime/resources").json()["max_concurrency"] == 12


def test_metrics_count_what_happened(launch_runtime: Launch, finish: Finish) -> None:
    _, client = launch_runtime("--max-concurrency", "1", "--queue-limit", "1")
    finish(client, {"kind": "emit"})
    finish(client, {"kind": "fail", "code": "own"})
    finish(client, {"kind": "script", "script": "exit 1"})
    running = submit(client, {"kind": "sleep", "duration_ms": 60_000})
    submit(client, {"kind": "emit"}, task_id="waits")
    refused = client.post("/api/v1/tasks", json={"task_id": "too-many", "execution": {"kind": "emit"}})
    assert error_of(refused) == (429, "queue_full")
    assert client.get("/api/v1/tasks/too-many").status_code == 404
    lines = client.get("/metrics").text.splitlines()
    for line in (
        "execgo_runtime_tasks_submitted_total 5",
        'execgo_runtime_tasks_finished_total{status="success"} 1',
        'execgo_runtime_tasks_finished_total{status="failed"} 2',
        'execgo_runtime_errors_total{code="exit_nonzero"} 1',
        'execgo_runtime_errors_total{code="other"} 1',
        "execgo_runtime_tasks_running 1",
        "execgo_runtime_tasks_queued 1",
    ):
        assert line in lines
    client.post(f"/api/v1/tasks/{running['task_id']}/kill")
    assert client.get("/api/v1/tasks/waits?wait=20s").json()["status"] == "success"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_every_command_and_answers_who_waits(launch_runtime: Launch, tmp_path: Path, signum: signal.Signals) -> None:
    process, client = launch_runtime("-max-concurrency", "2")
    text = f"trap '' TERM INT; sleep 300 & echo $! > {tmp_path}/$NAME; wait"
    running = [submit(client, {"kind": "script", "script": text, "env": {"NAME": name}}) for name in ("a", "b")]
    waiting = submit(client, {"kind": "script", "script": text, "env": {"NAME": "c"}})
    children = [written(tmp_path / name) for name in ("a", "b")]
    host, port = httpx.URL(client.base_url).host, httpx.URL(client.base_url).port
    waiters = [http.client.HTTPConnection(host, port, timeout=60) for _ in range(3)]
    for waiter, task in zip(waiters, (*running, waiting), strict=True):
        waiter.request("GET", f"/api/v1/tasks/{task['handle_id']}?wait=30s")
    _await_reading(port or 0)
    process.send_signal(signum)
    shown = [json.load(waiter.getresponse()) for waiter in waiters]
    for waiter in waiters:
        waiter.close()
    assert process.wait(30) == 0
    assert [one["error"]["code"] for one in shown[:2]] == ["cancelled"] * 2
    assert shown[2]["status"] == "accepted"  # it is kept, and runs when the service is back
    assert not any(map(alive, children))
    assert not (tmp_path / "c").exists()


def _await_reading(port: int) -> None:
    """Return when a service has read all that it was sent: nothing is left in the queue of any connection to its port."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if all(row[4].endswith(":00000000") for row in rows if row[1].endswith(f":{port:04X}")):
            return
        time.sleep(0.01)
    raise AssertionError("the requests were never read")


def test_a_taken_port_and_a_bad_option_are_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for options, said in ((["-addr", address], address), (["-queue-limit", "-5"], "-queue-limit")):
            argv = [sys.executable, "-m", "pytest_execgo.runtime", *options]
            ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
            assert ended.returncode == 2
            assert said in ended.stderr
            assert "Traceback" not in ended.stderr
    assert not [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _works_in(entry, tmp_path)]


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").resolve().is_relative_to(folder)
    except OSError:
        return False


def test_answers_do_not_wait_for_the_clients_acknowledgement() -> None:
    with bind("127.0.0.1:0") as listening:
        assert listening.proto == socket.IPPROTO_TCP  # else asyncio leaves TCP_NODELAY off: 40 ms on every answer
