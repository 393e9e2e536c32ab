"""A cancel or removal that was answered stays so, whatever becomes of the kernel right after."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
CANCELLED = {"code": "cancelled", "message": "cancelled", "source": "scheduler"}


def lasting(task_id: str, out: Path, **more: Any) -> dict[str, Any]:
    """Return a task that says so when it begins, and goes on for ever."""
    script = f"echo {task_id} >> {out}; while :; do sleep 0.05; done"
    return {"id": task_id, "type": "shell", "params": {"script": script}, **more}


def lines(target: Path) -> list[str]:
    return target.read_text().split() if target.exists() else []


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("annotations", [{}, {"effect": "once"}])
def test_a_cancel_that_was_answered_survives_a_kill(start: Start, tmp_path: Path, annotations: dict[str, str]) -> None:
    out = tmp_path / "out"
    first = start(fault=("hold_end", 1))
    first.submit(lasting("t", out, retry=2, annotations=annotations), {"id": "after", "type": "noop", "depends_on": ["t"]})
    until(lambda: lines(out))
    status, text, _ = first.call("POST", "/tasks/t/cancel")
    assert (status, json.loads(text)["status"]) == (202, "running")  # its end is not on disk, and never will be
    first.kill()
    second = start()
    ended, after = second.end_of("t"), second.end_of("after")
    assert (ended["status"], ended["run_status"], ended["error"]) == ("failed", "cancelled", "cancelled")
    assert ended["runtime"]["error"] == CANCELLED
    assert (after["status"], after["error"]) == ("skipped", "dependency t failed")
    second.kill()
    third = start()
    assert (third.task("t"), third.task("after")) == (ended, after)
    third.submit({"id": "last", "type": "shell", "params": {"script": "true"}})
    third.end_of("last")
    assert lines(out) == ["t"]


def test_a_cancel_that_was_answered_survives_a_kill_at_once(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kernel = start()
    for number in range(8):
        kernel.submit(lasting(f"t{number}", out))
        until(lambda: f"t{number}" in lines(out))  # noqa: B023 - called here and now
        assert kernel.call("POST", f"/tasks/t{number}/cancel")[0] in (200, 202)
        kernel.kill()
        kernel = start()
        assert kernel.end_of(f"t{number}")["run_status"] == "cancelled"
    assert lines(out) == [f"t{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("point", "ended", "runs"),
    [("before_cancel", "success", 2), ("after_cancel", "failed", 1)],
)
def test_a_kill_around_the_commit_of_a_cancel(start: Start, tmp_path: Path, point: str, ended: str, runs: int) -> None:
    out = tmp_path / "out"
    script = f"echo t >> {out}; test -e {tmp_path}/go || sleep 60"
    first = start(fault=(point, 1))
    first.submit({"id": "t", "type": "shell", "params": {"script": script}})
    until(lambda: lines(out))
    with pytest.raises(OSError):  # noqa: PT011 - there is no answer, in whichever way
        first.call("POST", "/tasks/t/cancel")
    first.process.wait(30)
    (tmp_path / "go").touch()
    assert start().end_of("t")["status"] == ended
    assert len(lines(out)) == runs


def test_a_removal_that_was_answered_survives_a_kill(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kernel = start()
    names = [f"t{number}" for number in range(4)]
    for name in names:
        kernel.submit(lasting(name, out, retry=2), {"id": f"{name}-after", "type": "noop", "depends_on": [name]})
        until(lambda: name in lines(out))  # noqa: B023 - called at once
        assert kernel.call("DELETE", f"/tasks/{name}")[0] == 204
        kernel.kill()
        kernel = start()
        assert kernel.task(name) is None
        after = kernel.end_of(f"{name}-after")
        assert (after["status"], after["error"]) == ("skipped", f"dependency {name} deleted")
    kernel.submit({"id": "last", "type": "shell", "params": {"script": "true"}})
    kernel.end_of("last")
    assert lines(out) == names


def test_a_cancelled_task_of_an_older_store_is_found(start: Start, tmp_path: Path) -> None:
    assert start().stop() == 0
    with sqlite3.connect(tmp_path / "data/store/kernel.db") as store:
        store.execute("DROP INDEX tasks_cancelled")  # as in a store of before there were such tasks
    store.close()
    first = start(fault=("hold_end", 1))
    first.submit(lasting("t", tmp_path / "out"))
    until(lambda: lines(tmp_path / "out"))
    assert first.call("POST", "/tasks/t/cancel")[0] == 202
    first.kill()
    second = start()
    assert second.end_of("t")["run_status"] == "cancelled"
    assert "store" not in second.health()
