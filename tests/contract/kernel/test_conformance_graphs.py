"""Graphs: who runs when, what is skipped and why, attempts, deletion, submitting again, counting."""

from __future__ import annotations

from typing import Any

import pytest

FAILS = {"type": "shell", "params": {"command": "nope"}}
NOT_ALLOWED = 'command "nope" is not in the allowed whitelist'


def noop(task_id: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "noop", "depends_on": list(depends_on), **more}


def skipped(task_id: str, depends_on: list[str], error: str, **more: Any) -> dict[str, Any]:
    start = {"id": task_id, "type": "os", "tool_name": "noop", "execution_category": "os", "depends_on": depends_on}
    return {**start, **more, "status": "skipped", "error": error}


def test_a_task_runs_after_all_that_it_depends_on(subject: Any) -> None:
    last, *others = subject.run(
        noop("§d", "§b", "§c"),
        {"id": "§c", "type": "sleep", "params": {"duration_ms": 30}, "depends_on": ["§a"]},
        noop("§b", "§a"),
        noop("§a"),
    )
    assert [task["status"] for task in (last, *others)] == ["success"] * 4
    assert all(subject.in_order(task["runtime"]["finished_at"], last["runtime"]["started_at"]) for task in others)


def test_a_dependency_named_twice_still_resolves(subject: Any) -> None:
    _, task = subject.run(noop("§a"), noop("§b", "§a", "§a"))
    subject.same([task["status"], task["depends_on"]], ["success", ["§a", "§a"]])


def test_a_failure_skips_what_depends_on_it(subject: Any) -> None:
    tasks = subject.run(
        {"id": "§x", **FAILS},
        noop("§y", "§x"),
        noop("§z", "§y", retry=2, timeout=5, annotations={"a": "b"}),
        noop("§free"),
    )
    assert [task["status"] for task in tasks] == ["failed", "skipped", "skipped", "success"]
    subject.same(subject.without_times(tasks[1]), skipped("§y", ["§x"], "dependency §x failed"))
    more = {"retry": 2, "timeout": 5, "annotations": {"a": "b"}}
    subject.same(subject.without_times(tasks[2]), skipped("§z", ["§y"], "dependency §y skipped", **more))


def test_what_waits_for_another_task_is_pending(subject: Any) -> None:
    script = subject.own("until test -e §go; do sleep 0.02; done")
    subject.submit({"id": "§slow", "type": "shell", "params": {"script": script}}, noop("§after", "§slow"))
    running = subject.until("/tasks/§slow", lambda task: task["status"] == "running")
    assert running["run_status"] == "running"
    assert list(running["runtime"]) == ["status", "started_at"]
    waiting = subject.task("§after")
    assert waiting["status"] == "pending"
    assert {"run_status", "runtime", "result", "error"}.isdisjoint(waiting)
    subject.run({"id": "§go", "type": "file", "params": {"action": "write", "path": "§go", "content": ""}})
    assert subject.ended("§after")["status"] == "success"


@pytest.mark.parametrize(("retry", "attempts"), [(-1, 1), (0, 1), (1, 2), (2, 3)])
def test_a_failing_task_has_its_attempts(subject: Any, retry: int, attempts: int) -> None:
    (task,) = subject.run({"id": "§r", **FAILS, "retry": retry})
    assert (task["status"], task["error"], task["runtime"]["attempt"]) == ("failed", NOT_ALLOWED, attempts)
    assert task.get("retry", 0) == retry


def test_a_timeout_is_for_each_attempt(subject: Any) -> None:
    (task,) = subject.run({"id": "§t", "type": "sleep", "params": {"duration_ms": 5000}, "timeout": 30, "retry": 1})
    run = task["runtime"]
    assert (run["attempt"], task["error"]) == (2, "context deadline exceeded")
    subject.same(
        run["error"], {"code": "timeout", "message": "context deadline exceeded", "retryable": True, "source": "scheduler"}
    )


@pytest.mark.parametrize("timeout", [-5, 0, 60_000])
def test_a_timeout_that_does_not_pass_changes_nothing(subject: Any, timeout: int) -> None:
    (task,) = subject.run(noop("§n", timeout=timeout))
    assert (task["status"], task.get("timeout", 0)) == ("success", timeout)


def test_a_deleted_record_is_gone(subject: Any) -> None:
    subject.run(noop("§a"))
    deleted = subject.call("DELETE", "/tasks/§a")
    assert (deleted.status, deleted.text) == (204, "")
    for method in ("DELETE", "GET"):
        answer = subject.call(method, "/tasks/§a")
        assert (answer.status, answer.text) == (404, subject.own('{"error":"task not found: §a"}\n'))


def test_an_id_submitted_again_replaces_its_record(subject: Any) -> None:
    if subject.name == "strict":
        pytest.skip("without --compat another content under the same id is refused")
    (first,) = subject.run(noop("§a", params={"message": "1"}))
    (second,) = subject.run(noop("§a", params={"message": "2"}))
    assert (first["result"]["message"], second["result"]["message"]) == ("1", "2")
    assert first["created_at"] != second["created_at"]
    assert subject.in_order(first["created_at"], second["created_at"])


def test_the_list_has_every_task_as_it_is_alone(subject: Any) -> None:
    subject.run(noop("§a"), {"id": "§x", **FAILS}, noop("§y", "§x"))
    answer = subject.call("GET", "/tasks")
    assert answer.status == 200
    listed = {task["id"]: task for task in answer.json}
    for name in ("§a", "§x", "§y"):
        subject.same(listed[subject.own(name)], subject.task(name))


def test_tasks_are_counted(subject: Any) -> None:
    before = subject.call("GET", "/metrics").json
    assert list(before) == ["tasks_total", "tasks_running", "tasks_succeeded", "tasks_failed", "by_type"]
    subject.run(
        noop("§a"),
        {"id": "§x", **FAILS},
        noop("§y", "§x"),
        noop("§z", "§y"),
        {"id": "§m", "type": "mcp", "tool_name": "t"},
        {"id": "§c", "type": "cli-skills", "input": {"command": "true"}},
    )
    after = subject.call("GET", "/metrics").json
    grown = {name: after[name] - before[name] for name in before if name != "by_type"}
    # a task that is skipped because of its own dependency's failure counts as failed; one further down counts as neither
    assert grown == {"tasks_total": 6, "tasks_running": 0, "tasks_succeeded": 3, "tasks_failed": 2}
    types = {name: after["by_type"].get(name, 0) - before["by_type"].get(name, 0) for name in after["by_type"]}
    assert {name: count for name, count in types.items() if count} == {"cli-skills": 1, "mcp": 1, "os": 4}
    assert list(after["by_type"]) == sorted(after["by_type"])
