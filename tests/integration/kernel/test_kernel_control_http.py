"""The control extensions on a kernel as users have it: waiting, cancelling, submitting again, the Host check, compat."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SLEEP = {"id": "s", "type": "sleep", "params": {"duration_ms": 600_000}}
OTHER = 'task id "x" already exists with other content'


@pytest.fixture
def own(new_kernel: Callable[..., Any]) -> Any:
    """A kernel of one's own, whose ids are free."""
    return new_kernel()


@contextlib.contextmanager
def in_background(call: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()

    def answer() -> Any:
        thread.join(30)
        assert answers, "no answer within 30 s"
        return answers[0]

    yield answer
    thread.join(30)


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def processes_with(text: str) -> list[int]:
    """Return live processes that have a text on their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = place.joinpath("stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and text in place.joinpath("cmdline").read_bytes().decode(errors="replace"):
                found.append(int(place.name))
    return found


def test_health_tells_what_the_kernel_can(own: Any) -> None:
    health = own.call("GET", "/health").json
    assert list(health)[:4] == ["status", "version", "uptime", "capabilities"]
    assert {"wait", "cancel", "resubmit"} <= set(health["capabilities"])


def test_an_answer_is_held_until_the_task_ends(own: Any) -> None:
    own.submit(SLEEP, {"id": "child", "type": "noop", "depends_on": ["s"]})
    with in_background(lambda: own.call("GET", "/tasks/child?wait=60s")) as answer:
        assert own.call("GET", "/tasks/child?wait=10ms").json["status"] == "pending"
        own.call("POST", "/tasks/s/cancel")
        assert answer().json["status"] == "skipped"
    assert own.call("GET", "/tasks/child?wait=60s").json == own.task("child")


@pytest.mark.parametrize(
    ("query", "status"), [("wait=x", 400), ("wait=-1s", 400), ("wait=0", 200), ("else=x", 200), ("%ff=%00", 200)]
)
def test_what_a_query_may_say(own: Any, query: str, status: int) -> None:
    own.run({"id": "n", "type": "noop"})
    assert own.call("GET", f"/tasks/n?{query}").status == status
    assert own.call("GET", "/tasks/unknown?wait=60s").status == 404


def test_many_are_waited_for_at_once(own: Any) -> None:
    own.submit(SLEEP, *({"id": f"n{n}", "type": "noop"} for n in range(500)))
    ids = [f"n{n}" for n in range(500)]
    answer = own.call("POST", "/tasks/wait", {"task_ids": [*ids, "nobody"], "timeout": "60s"}).json
    assert list(answer) == ["done", "tasks", "missing"]
    assert (answer["done"], answer["missing"]) == (True, ["nobody"])
    assert [(task["id"], task["status"]) for task in answer["tasks"]] == [(task_id, "success") for task_id in ids]
    answer = own.call("POST", "/tasks/wait", {"task_ids": ["s", "n1"], "timeout": "10ms"}).json
    assert (answer["done"], [task["status"] for task in answer["tasks"]]) == (False, ["running", "success"])
    answer = own.call("POST", "/tasks/wait", {"task_ids": ["s", "n1"], "timeout": "60s", "until": "any"}).json
    assert answer["done"] is True
    assert own.call("POST", "/tasks/wait", {"task_ids": []}).status == 400
    assert own.call("PUT", "/tasks/wait").headers["allow"] == "DELETE, GET, HEAD, POST"
    own.call("POST", "/tasks/s/cancel")  # a kernel that stops lets what runs have its time


def test_a_task_that_is_called_wait_can_be_had(own: Any) -> None:
    own.run({"id": "wait", "type": "noop"})
    assert own.call("GET", "/tasks/wait").json["id"] == "wait"
    assert own.call("POST", "/tasks/wait/cancel").json["id"] == "wait"
    assert own.call("DELETE", "/tasks/wait").status == 204


def test_a_client_that_hangs_up_is_forgotten_and_others_are_answered(own: Any) -> None:
    own.submit(SLEEP)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
            connection.sendall(b"GET /tasks/s?wait=60s HTTP/1.1\r\nHost: x\r\n\r\n")
    with in_background(lambda: own.call("GET", "/tasks/s?wait=60s")) as answer:
        own.call("POST", "/tasks/s/cancel")
        assert answer().json["run_status"] == "cancelled"


def test_a_kernel_that_stops_does_not_keep_who_waits(own: Any) -> None:
    own.submit({"id": "a", "type": "shell", "params": {"script": "exit 1"}, "retry": 1_000_000})
    wait_until(lambda: own.task("a").get("run_status") == "failed")
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
        line = " HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(f"GET /health{line}GET /tasks/a?wait=60s{line}".encode())
        received = connection.recv(65536)  # when the first is answered, the second has arrived
        assert own.stop() == 0
        received += b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b'"id":"a"' in received


def test_cancelling_ends_the_whole_process_tree(own: Any) -> None:
    marker = f"{297.0 + os.getpid() / 1e7}"
    script = f"setsid sleep {marker} & (sleep {marker} & sleep {marker}) & trap '' TERM; sleep {marker}; sleep {marker}"
    own.submit(
        {"id": "tree", "type": "shell", "params": {"script": script}, "retry": 9},
        {"id": "next", "type": "noop", "depends_on": ["tree"]},
    )
    wait_until(lambda: len(processes_with(marker)) >= 4)
    answer = own.call("POST", "/tasks/tree/cancel")
    assert (answer.status, answer.json["status"]) == (202, "running")
    task = own.call("GET", "/tasks/tree?wait=60s").json
    assert (task["status"], task["run_status"], task["error"]) == ("failed", "cancelled", "cancelled")
    assert task["runtime"]["error"] == {"code": "cancelled", "message": "cancelled", "source": "scheduler"}
    assert own.call("GET", "/tasks/next?wait=60s").json["error"] == "dependency tree failed"
    wait_until(lambda: not processes_with(marker))
    again = own.call("POST", "/tasks/tree/cancel")
    assert (again.status, again.json) == (200, task)


def test_cancelling_nothing_is_404_and_get_is_405(own: Any) -> None:
    assert own.call("POST", "/tasks/nobody/cancel").json == {"error": "task not found: nobody"}
    own.run({"id": "n", "type": "noop"})
    assert own.call("GET", "/tasks/n/cancel").headers["allow"] == "POST"


def test_a_runtime_task_is_killed_in_the_runtime_too(new_kernel: Any, runtime: Any) -> None:
    runtime.answers["POST /api/v1/tasks"] = [(202, {"task_id": "one", "handle_id": "h1", "status": "accepted"})]
    runtime.answers["GET /api/v1/tasks/h1"] = [(200, {"task_id": "one", "handle_id": "h1", "status": "running"})]
    runtime.answers["POST /api/v1/tasks/h1/kill"] = [(200, {"status": "cancelled"})]
    kernel = new_kernel(EXECGO_RUNTIME_URL=runtime.url)
    kernel.submit({"id": "one", "type": "runtime"})
    kernel.until("one", lambda found: found.get("run_status") == "running" and "handle_id" in found)
    kernel.call("POST", "/tasks/one/cancel")
    task = kernel.call("GET", "/tasks/one?wait=60s").json
    assert any(key == "POST /api/v1/tasks/h1/kill" for key, _, _ in runtime.requests)  # before the task is terminal
    assert (task["status"], task["run_status"], task["handle_id"]) == ("failed", "cancelled", "h1")
    assert task["runtime"]["error"]["code"] == "cancelled"


def test_deleting_a_running_task_ends_its_command(own: Any) -> None:
    marker = f"{298.0 + os.getpid() / 1e7}"
    own.submit(
        {"id": "gone", "type": "shell", "params": {"script": f"sleep {marker}"}},
        {"id": "next", "type": "noop", "depends_on": ["gone"]},
    )
    wait_until(lambda: bool(processes_with(marker)))
    assert own.call("DELETE", "/tasks/gone").status == 204
    wait_until(lambda: not processes_with(marker))
    assert own.call("GET", "/tasks/next?wait=60s").json["error"] == "dependency gone deleted"


def test_the_same_submission_is_accepted_again_and_runs_once(own: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    graph = [
        {"id": "x", "type": "shell", "params": {"script": f"echo x >> {ran}; sleep 0.1"}},
        {"id": "y", "type": "shell", "params": {"script": f"echo y >> {ran}"}, "depends_on": ["x"]},
    ]
    for _ in range(3):
        answer = own.call("POST", "/tasks", {"tasks": graph})
        assert (answer.status, answer.json) == (202, {"accepted": 2, "task_ids": ["x", "y"]})
    assert own.call("POST", "/tasks/wait", {"task_ids": ["x", "y"], "timeout": "60s"}).json["done"]
    longer = [*graph, {"id": "z", "type": "shell", "params": {"script": f"echo z >> {ran}"}, "depends_on": ["y", "x"]}]
    assert own.call("POST", "/tasks", {"tasks": longer}).json["task_ids"] == ["x", "y", "z"]
    assert own.call("GET", "/tasks/z?wait=60s").json["status"] == "success"
    assert ran.read_text().split() == ["x", "y", "z"]


def test_other_content_is_409_and_stores_nothing(own: Any) -> None:
    own.run({"id": "x", "type": "noop"})
    before = own.task("x")
    answer = own.call("POST", "/tasks", {"tasks": [{"id": "new", "type": "noop"}, {"id": "x", "type": "sleep"}]})
    assert (answer.status, answer.json) == (409, {"error": OTHER})
    assert own.call("GET", "/tasks/new").status == 404
    assert own.task("x") == before


def test_the_canonical_style_is_the_same_content_after_it_ran(own: Any) -> None:
    task = {"id": "x", "type": "os", "tool_name": "noop", "input": {"message": "m"}}
    own.run(task)
    assert own.call("POST", "/tasks", {"tasks": [task]}).status == 202


def test_compat_is_execgos_letter(new_kernel: Any) -> None:
    kernel = new_kernel(EXECGO_COMPAT="1")
    assert list(kernel.call("GET", "/health").json) == ["status", "version", "uptime"]
    first = kernel.run({"id": "x", "type": "noop"})["x"]
    kernel.submit({"id": "x", "type": "noop", "params": {"message": "other"}})
    assert kernel.until("x", lambda found: found["status"] == "success")["result"]["message"] == "other"
    assert kernel.task("x")["created_at"] != first["created_at"]
    assert kernel.call("GET", "/tasks/x?wait=nonsense").status == 200
    for method, path, status, text in (
        ("POST", "/tasks/x/cancel", 404, "404 page not found\n"),
        ("GET", "/nowhere", 404, "404 page not found\n"),
        ("POST", "/tasks/wait", 405, "Method Not Allowed\n"),
    ):
        answer = kernel.call(method, path, {"task_ids": ["x"]})
        assert (answer.status, answer.text, answer.headers["content-type"]) == (status, text, "text/plain; charset=utf-8")
    assert kernel.call("POST", "/tasks/wait").headers["allow"] == "DELETE, GET, HEAD"


def test_only_allowed_hosts_are_served(new_kernel: Any) -> None:
    kernel = new_kernel("-allowed-hosts", "localhost", EXECGO_TOKEN="secret")
    for host, status in (("localhost", 200), ("LOCALHOST:1", 200), ("evil.example", 421), (f"127.0.0.1:{kernel.port}", 421)):
        answer = kernel.call("GET", "/health", Host=host)
        assert answer.status == status
        assert "x-trace-id" in answer.headers
    graph = {"tasks": [{"id": "x", "type": "noop"}]}
    refused = kernel.call("POST", "/tasks", graph, Host="evil.example", Authorization="Bearer secret")
    assert refused.json == {"error": "host evil.example is not served here"}
    assert kernel.call("GET", "/tasks/x", Host="localhost", Authorization="Bearer secret").status == 404


def test_a_long_pipeline_of_waits_is_answered_in_order(own: Any) -> None:
    own.run({"id": "n", "type": "noop"})
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as connection:
        one = b"GET /tasks/n?wait=5s HTTP/1.1\r\nHost: x\r\n"
        connection.sendall((one + b"\r\n") * 19 + one + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b'"id":"n"') == 20
    assert json.loads(received.rsplit(b"\r\n\r\n", 1)[1])["status"] == "success"
