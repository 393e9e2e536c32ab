"""Routes, ids in paths, headers, limits, the token, the process itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_health_and_metrics(new_kernel: Any) -> None:
    kernel = new_kernel("--compat")
    assert re.fullmatch(r'\{"status":"ok","version":"v1\.0\.0","uptime":"\d+s"\}\n', kernel.call("GET", "/health").text)
    kernel.run(
        {"id": "a", "type": "noop"},
        {"id": "b", "type": "shell", "params": {"command": "no"}},
        {"id": "c", "type": "noop", "depends_on": ["b", "b"]},
        {"id": "d", "type": "noop", "depends_on": ["c"]},
        {"id": "m", "type": "mcp"},
    )
    assert kernel.call("GET", "/metrics").text == (
        '{"tasks_total":5,"tasks_running":0,"tasks_succeeded":2,"tasks_failed":2,"by_type":{"mcp":1,"os":4}}\n'
    )
    assert [task["id"] for task in kernel.call("GET", "/tasks").json] == ["a", "b", "c", "d", "m"]


def test_an_empty_list_is_a_list(new_kernel: Any) -> None:
    assert new_kernel().call("GET", "/tasks").text == "[]\n"


@pytest.mark.parametrize("task_id", [".", "..", "a/b", "../tasks", "中文 id", "x" * 300, "a%2Fb", "\n\x00?#", '"<', "a b+c", "é"])
def test_every_id_can_be_reached(kernel: Any, task_id: str) -> None:
    kernel.submit({"id": task_id, "type": "noop"})
    path = "/tasks/" + quote(task_id, safe="").replace(".", "%2E")
    assert kernel.call("GET", path).json["id"] == task_id
    deleted = kernel.call("DELETE", path)
    assert (deleted.status, deleted.text) == (204, "")
    again = kernel.call("DELETE", path)
    assert (again.status, again.json) == (404, {"error": f"task not found: {task_id}"})


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/", 404, None),
        ("GET", "/nope", 404, None),
        ("GET", "/tasks/", 404, None),
        ("GET", "/tasks/a/b", 404, None),
        ("PUT", "/tasks", 405, "GET, HEAD, POST"),
        ("POST", "/tasks/x", 405, "DELETE, GET, HEAD"),
        ("DELETE", "/health", 405, "GET, HEAD"),
    ],
)
def test_wrong_routes_and_methods_are_json(kernel: Any, method: str, path: str, status: int, allowed: str | None) -> None:
    answer = kernel.call(method, path)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert answer.headers.get("allow") == allowed


def test_head_is_get_without_a_body(kernel: Any) -> None:
    answer = kernel.call("HEAD", "/health")
    assert (answer.status, answer.text) == (200, "")


def test_a_trace_id_is_echoed_or_made_on_every_answer(new_kernel: Any) -> None:
    kernel = new_kernel(EXECGO_TOKEN="secret")
    for method, path, body in (("GET", "/health", None), ("GET", "/tasks", None), ("POST", "/tasks", b""), ("GET", "/x", None)):
        assert kernel.call(method, path, body, X_Trace_ID="my trace").headers["x-trace-id"] == "my trace"
        assert re.fullmatch(r"[0-9a-f]{16}", kernel.call(method, path, body).headers["x-trace-id"])


def test_the_token_guards_everything_but_health(new_kernel: Any) -> None:
    kernel = new_kernel(EXECGO_TOKEN="secret")
    assert kernel.call("GET", "/health").status == 200
    assert kernel.call("GET", "/tasks").status == 401
    assert kernel.call("GET", "/health/../tasks").status in (401, 404)
    assert kernel.call("GET", "/tasks", Authorization="Bearer wrong").status == 401
    assert kernel.call("GET", "/tasks", Authorization="Bearer secret").status == 200


def test_a_body_without_end_is_refused_and_the_kernel_goes_on(kernel: Any) -> None:
    with socket.create_connection(("127.0.0.1", kernel.port), timeout=30) as connection:
        connection.sendall(b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        answered = b""
        with contextlib.suppress(ConnectionError):  # it hangs up on what we still send
            for _ in range(40):
                connection.sendall(b" " * 1024 * 1024)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answered += part
    assert not answered or b" 413 " in answered.split(b"\r\n")[0]
    assert kernel.call("GET", "/health").status == 200


def test_a_head_without_end_is_refused_and_the_kernel_goes_on(kernel: Any) -> None:
    with socket.create_connection(("127.0.0.1", kernel.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
        answered = b""
        sent = 0
        with contextlib.suppress(ConnectionError):  # it hangs up on what we still send
            for _ in range(64):
                connection.sendall(b"a" * 1024 * 1024)
                sent += 1
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answered += part
    assert sent < 64
    assert not answered or b" 400 " in answered.split(b"\r\n")[0]
    assert kernel.call("GET", "/health", X_Long="a" * 60_000).status == 200


def test_heads_in_small_pieces_one_after_the_other_are_no_long_head(kernel: Any) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 30_000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", kernel.port), timeout=30) as connection:
        for _ in range(5):
            for at in range(0, len(head), 10_000):
                connection.sendall(head[at : at + 10_000])
                time.sleep(0.01)
            answered = b""
            while not answered.endswith(b"}\n"):
                part = connection.recv(65536)
                assert part, f"it hung up after {answered!r}"
                answered += part
            assert answered.startswith(b"HTTP/1.1 200 OK")


def test_many_tasks_stay_usable(new_kernel: Any) -> None:
    kernel = new_kernel()
    kernel.submit(*({"id": f"t{n}", "type": "noop", "params": {"message": "m" * 50}} for n in range(10_000)))
    kernel.until("t9999", lambda found: found["status"] == "success")
    listed = kernel.call("GET", "/tasks").json
    assert len(listed) == 10_000
    assert {task["status"] for task in listed} == {"success"}


def test_a_timeout_ends_the_whole_process_group_and_is_prompt(kernel: Any, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {note}; echo begun; sleep 600"
    task = kernel.run_one("shell", {"script": script}, timeout=5000)
    assert task["error"] == "command failed: signal: killed"
    assert task["result"] == {"exit_code": -1, "runner": "sh", "stderr": "", "stdout": "begun\n"}
    assert task["runtime"]["error"] == {
        "code": "external_failure",
        "message": "command failed: signal: killed",
        "source": "executor",
    }
    assert task["runtime"]["duration_ms"] < 20_000  # the background child would hold the pipe for 600 s
    wait_until(lambda: not alive(int(note.read_text())))


def test_a_background_child_does_not_hold_up_a_command_that_ended(kernel: Any) -> None:
    task = kernel.run_one("shell", {"script": "sleep 600 & echo done"})
    assert (task["status"], task["result"]["stdout"]) == ("success", "done\n")


def test_waiting_retries_leave_the_slots_to_others(new_kernel: Any) -> None:
    kernel = new_kernel("-max-concurrency=1")
    kernel.submit({"id": "r", "type": "shell", "params": {"command": "no"}, "retry": 1_000_000})
    kernel.run({"id": "n", "type": "noop"})
    assert kernel.task("r")["status"] == "running"
    assert kernel.task("r")["runtime"]["attempt"] < 100  # no hot loop


def test_sigterm_ends_running_commands_and_exits_0(new_kernel: Any, tmp_path: Path) -> None:
    kernel = new_kernel()
    note = tmp_path / "pid"
    kernel.submit(
        {"id": "s", "type": "shell", "params": {"script": f"echo $$ > {note}.new; mv {note}.new {note}; sleep 600"}},
        {"id": "r", "type": "shell", "params": {"command": "no"}, "retry": 50},
    )
    wait_until(note.exists)
    assert kernel.stop() == 0
    assert not alive(int(note.read_text()))


def test_sigterm_is_not_held_up_by_an_endless_http_answer(new_kernel: Any) -> None:
    kernel = new_kernel()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kernel.submit({"id": "h", "type": "http", "params": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}})
        connection, _ = silent.accept()
        with connection:
            assert kernel.stop() == 0


def test_one_connection_serves_many_requests(kernel: Any) -> None:
    connection = HTTPConnection("127.0.0.1", kernel.port, timeout=30)
    try:
        for number in range(20):
            connection.request("POST", "/tasks", json.dumps({"tasks": [{"id": f"k{number}", "type": "noop"}]}))
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["task_ids"]) == (202, [f"k{number}"])
    finally:
        connection.close()


@pytest.mark.parametrize("argv", [["-max-concurrency", "none"], ["--bogus"], ["-addr", "127.0.0.1:99999"]])
def test_bad_options_are_one_line_and_exit_2(argv: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pytest_execgo.kernel", *argv], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_taken_address_is_one_line_and_exit_2(kernel: Any, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pytest_execgo.kernel", "-addr", f"127.0.0.1:{kernel.port}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"can't listen on 127.0.0.1:{kernel.port}" in done.stderr
