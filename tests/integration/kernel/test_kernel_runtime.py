"""The runtime executor against a runtime that does as it is told."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

TASKS = "POST /api/v1/tasks"
ACCEPTED = (202, {"task_id": "one", "handle_id": "h-1", "status": "accepted"})
RUNNING = (200, {"task_id": "one", "handle_id": "h-1", "status": "running"})
POLL = "GET /api/v1/tasks/h-1"
KILL = "POST /api/v1/tasks/h-1/kill"


@pytest.fixture
def start(new_kernel: Any, runtime_kernel: Any, runtime: Any) -> Callable[..., Any]:
    """Give a kernel that talks to the fake runtime; one of its own when it is to have an environment of its own."""
    runtime.answers[TASKS] = [ACCEPTED]

    def run(**environment: str) -> Any:
        if not environment:
            runtime_kernel.forget("one")
        return new_kernel(EXECGO_RUNTIME_URL=runtime.url, **environment) if environment else runtime_kernel

    return run


def test_a_task_is_followed_to_its_end(start: Any, runtime: Any) -> None:
    answer = {
        "status": "success",
        "task_id": "one",
        "handle_id": "h-1",
        "output": {"output": {"n": 12345678901234567890}},
        "started_at": "2026-01-02T03:04:05.100000+00:00",
        "finished_at": "2026-01-02T03:04:05.350000+02:00",
        "duration_ms": 250,
    }
    runtime.answers[POLL] = [RUNNING, RUNNING, (200, answer)]
    task = start().run_one("runtime", {"execution": {"kind": "command"}, "big": 12345678901234567890}, depends_on=[])
    assert list(task) == [
        *("id", "type", "params", "status", "run_status", "handle_id", "result", "runtime", "created_at", "updated_at")
    ]
    assert (task["status"], task["run_status"], task["handle_id"], task["result"]) == ("success", "success", "h-1", answer)
    assert task["runtime"] == {
        "status": "success",
        "handle_id": "h-1",
        "output": answer,
        "started_at": "2026-01-02T03:04:05.1Z",
        "finished_at": "2026-01-02T03:04:05.35+02:00",
        "duration_ms": 250,
        "attempt": 1,
        "details": None,
    }
    headers, sent = runtime.wait_for(TASKS)
    assert sent == {"execution": {"kind": "command"}, "big": 12345678901234567890, "task_id": "one"}
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert any(key == POLL and headers["path"].endswith("?wait=1s") for key, headers, _ in runtime.requests)


def test_while_it_runs_the_latest_answer_shows(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING]
    kernel = start()
    kernel.submit({"id": "one", "type": "runtime", "input": {"x": 1}, "params": {"y": 2}})
    task = kernel.until("one", lambda found: found.get("run_status") == "running" and "handle_id" in found)
    assert task["status"] == "running"
    assert task["runtime"]["output"] == RUNNING[1]
    assert "finished_at" not in task["runtime"]
    assert "result" not in task
    assert runtime.wait_for(TASKS)[1] == {"x": 1, "task_id": "one"}  # input before params
    runtime.answers[POLL] = [(200, {"status": "success"})]
    done = kernel.until("one", lambda found: found["status"] == "success")
    assert done["result"] == {"status": "success"}
    assert done["handle_id"] == "h-1"


def test_a_task_shows_as_running_while_the_runtime_holds_its_answer(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING]
    runtime.holds.clear()
    kernel = start()
    kernel.submit({"id": "one", "type": "runtime"})
    task = kernel.until("one", lambda found: found.get("run_status") == "running" and "handle_id" in found)
    assert task["runtime"]["output"] == RUNNING[1]
    runtime.answers[POLL] = [(200, {"status": "success"})]
    runtime.holds.set()
    assert kernel.until("one", lambda found: found["status"] != "running")["run_status"] == "success"


def test_a_timeout_ends_the_wait_for_an_answer_that_is_held(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING]
    runtime.answers[KILL] = [(200, {"status": "cancelled"})]
    runtime.holds.clear()
    task = start().run_one("runtime", {}, timeout=5000)
    assert (task["run_status"], task["error"], task["result"]) == ("running", "context deadline exceeded", RUNNING[1])
    runtime.wait_for(KILL)


def test_token_tenant_and_owner_go_along(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [(200, {"status": "success"})]
    kernel = start(EXECGO_RUNTIME_TOKEN="rt", EXECGO_RUNTIME_TENANT="te", EXECGO_RUNTIME_OWNER="ow")
    kernel.run_one("runtime", {"task_id": "own", "control_context": {"owner": "mine", "x": 1}})
    headers, sent = runtime.wait_for(TASKS)
    assert headers["authorization"] == "Bearer rt"
    assert sent == {"task_id": "own", "control_context": {"owner": "mine", "x": 1, "tenant": "te"}}
    assert runtime.wait_for(POLL)[0]["authorization"] == "Bearer rt"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            {"code": "exit_nonzero", "message": "boom", "details": {"exit_code": 3, "a": 1e21}},
            {
                "code": "exit_nonzero",
                "message": "boom",
                "source": "execgo-runtime",
                "details": {"details": {"a": 1e21, "exit_code": 3}, "raw_error_code": "exit_nonzero"},
            },
        ),
        (
            {"code": "E42", "message": "odd"},
            {
                "code": "external_failure",
                "message": "odd",
                "source": "execgo-runtime",
                "details": {"details": None, "raw_error_code": "E42"},
            },
        ),
        (
            {"code": "timeout", "message": "late"},
            {
                "code": "timeout",
                "message": "late",
                "retryable": True,
                "source": "execgo-runtime",
                "details": {"details": None, "raw_error_code": "timeout"},
            },
        ),
        (None, {"code": "external_failure", "message": "task failed", "source": "executor"}),
    ],
)
def test_the_runtimes_error_becomes_ours(start: Any, runtime: Any, said: Any, error: Any) -> None:
    runtime.answers[POLL] = [(200, {"status": "failed", "error": said})]
    task = start().run_one("runtime", {})
    assert (task["status"], task["run_status"], task["error"]) == ("failed", "failed", error["message"])
    assert task["runtime"]["error"] == error
    assert task["result"] == {"status": "failed", "error": said}


def test_cancelled_in_the_runtime(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [(200, {"status": "cancelled"})]
    task = start().run_one("runtime", {})
    assert (task["status"], task["run_status"], task["error"]) == ("failed", "cancelled", "task cancelled")


@pytest.mark.parametrize(
    ("answer", "message", "more"),
    [
        (
            (400, {"error": {"code": "invalid_input", "message": "no kind"}}),
            "no kind",
            {"code": "invalid_input", "source": "execgo-runtime"},
        ),
        ((409, {"code": "conflict", "message": "exists"}), "exists", {"code": "external_failure", "source": "execgo-runtime"}),
        (
            (503, b"<html>"),
            "runtime submit returned status 503",
            {"code": "external_failure", "retryable": True, "source": "execgo-runtime"},
        ),
        ((403, b""), "runtime submit returned status 403", {"code": "external_failure", "source": "execgo-runtime"}),
        (
            (202, b"nope"),
            "decode runtime submit response: invalid character 'o' in literal null (expecting 'u')",
            {"code": "external_failure", "source": "executor"},
        ),
        ((202, {"status": "accepted"}), "non-terminal runtime result missing handle_id", {"source": "executor"}),
    ],
)
def test_a_submission_that_goes_wrong(start: Any, runtime: Any, answer: Any, message: str, more: dict[str, Any]) -> None:
    runtime.answers[TASKS] = [answer]
    task = start().run_one("runtime", {})
    assert (task["status"], task["error"]) == ("failed", message)
    assert {name: task["runtime"]["error"].get(name) for name in more} == more
    if answer[0] >= 300:
        body = answer[1].decode() if isinstance(answer[1], bytes) else answer[1]
        assert task["runtime"]["output"] == (body or None)


def test_input_that_is_no_object(start: Any) -> None:
    task = start().run_one("runtime", [1])
    message = "parse runtime input: json: cannot unmarshal array into Go value of type map[string]interface {}"
    assert task["runtime"]["error"] == {"code": "invalid_input", "message": message, "source": "runtime-executor"}


def test_an_unreachable_runtime(new_kernel: Any) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        task = new_kernel(EXECGO_RUNTIME_URL=url).run_one("runtime", {})
    reason = f'Post "{url}/api/v1/tasks": dial tcp {url[7:]}: connect: connection refused'
    assert task["runtime"]["error"] == {
        "code": "external_failure",
        "message": f"runtime submit request failed: {reason}",
        "retryable": True,
        "source": "runtime-executor",
    }


def test_a_handle_that_is_gone(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING, (404, {})]
    task = start().run_one("runtime", {})
    assert (task["status"], task["run_status"]) == ("failed", "running")
    assert task["error"] == "handle not found: h-1"
    assert task["result"] == RUNNING[1]
    assert "finished_at" not in task["runtime"]


def test_a_runtime_that_knows_the_task_by_its_id_only(start: Any, runtime: Any) -> None:
    runtime.answers["GET /api/v1/tasks/one"] = [RUNNING, (200, {"status": "success"})]
    assert start().run_one("runtime", {})["status"] == "success"


def test_a_timeout_ends_the_task_in_the_runtime_too(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING]
    runtime.answers[KILL] = [(200, {"status": "cancelled"})]
    kernel = start(EXECGO_RUNTIME_OWNER="ow", EXECGO_RUNTIME_TOKEN="rt")
    task = kernel.run_one("runtime", {}, timeout=5000)
    assert (task["status"], task["run_status"], task["error"]) == ("failed", "running", "context deadline exceeded")
    assert task["runtime"]["error"]["code"] == "timeout"
    assert task["result"] == RUNNING[1]
    headers, _ = runtime.wait_for(KILL)
    assert (headers["x-execgo-owner"], headers["authorization"]) == ("ow", "Bearer rt")


def test_an_answer_that_cannot_be_read_is_told_and_the_last_one_kept(start: Any, runtime: Any) -> None:
    runtime.answers[POLL] = [RUNNING, (200, b"xyz")]
    task = start().run_one("runtime", {})
    assert task["error"].startswith("decode runtime task response: invalid character 'x'")
    assert task["result"] == RUNNING[1]


def test_a_runtime_that_is_away_for_a_moment(new_kernel: Any, new_runtime: Any) -> None:
    before = new_runtime(0)
    before.hangs_up = True
    before.answers = {TASKS: [ACCEPTED], POLL: [RUNNING]}
    kernel = new_kernel(EXECGO_RUNTIME_URL=before.url)
    kernel.submit({"id": "one", "type": "runtime"})
    kernel.until("one", lambda found: found.get("run_status") == "running" and "handle_id" in found)
    before.stop()
    kernel.run({"id": "meanwhile", "type": "sleep", "params": {"duration_ms": 150}})
    assert kernel.task("one")["status"] == "running"
    new_runtime(before.server.server_port, {POLL: [(200, {"status": "success"})]})
    assert kernel.until("one", lambda found: found["status"] != "running")["status"] == "success"


def test_retries_submit_again(start: Any, runtime: Any) -> None:
    runtime.answers[TASKS] = [(429, {"error": {"code": "queue_full", "message": "full"}}), ACCEPTED]
    runtime.answers[POLL] = [(200, {"status": "success"})]
    task = start().run_one("runtime", {}, retry=1)
    assert (task["status"], task["runtime"]["attempt"]) == ("success", 2)


def test_a_cancelled_task_of_a_killed_kernel_is_killed_in_the_runtime(new_kernel: Any, new_runtime: Any) -> None:
    runtime = new_runtime(0)
    runtime.answers = {TASKS: [ACCEPTED], POLL: [RUNNING], "POST /api/v1/tasks/one/kill": [(200, {"status": "cancelled"})]}
    first = new_kernel(EXECGO_RUNTIME_URL=runtime.url)
    first.submit({"id": "one", "type": "runtime", "retry": 3})
    first.until("one", lambda found: found.get("run_status") == "running" and "handle_id" in found)
    runtime.holds.clear()
    assert first.call("POST", "/tasks/one/cancel").status == 202  # the runtime has not killed it yet: it holds that answer back
    first.process.kill()
    first.process.wait()
    runtime.holds.set()
    with runtime.arrived:
        runtime.requests.clear()
    second = new_kernel(EXECGO_RUNTIME_URL=runtime.url)
    assert second.until("one", lambda found: found["status"] == "failed")["run_status"] == "cancelled"
    runtime.wait_for("POST /api/v1/tasks/one/kill")
    second.stop()
    assert TASKS not in [key for key, _, _ in runtime.requests]
