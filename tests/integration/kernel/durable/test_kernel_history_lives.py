"""The journal of kernels that are killed and started again: what it says is what happened, in a possible order."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.jsonio import digest
from pytest_execgo.plan.history import HistoryRow

Start = Callable[..., Any]
KILLS = 12
GONE = (OSError, http.client.HTTPException)


def shell(task_id: str, script: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "shell", "params": {"script": script}, "depends_on": list(depends_on), **more}


def rows_of(path: Path) -> list[HistoryRow]:
    return [HistoryRow(run="r", **json.loads(line)) for line in path.read_text().splitlines()]


def told(row: HistoryRow) -> str:
    detail = row.value.get("outcome") or row.value.get("status") or row.value.get("cause")
    return " ".join(str(part) for part in (row.f, row.task, row.attempt, detail) if part is not None)


def lives_of(rows: list[HistoryRow]) -> list[list[HistoryRow]]:
    return [list(life) for _, life in itertools.groupby(rows, key=lambda row: row.boot_id)]


def check_order(rows: list[HistoryRow]) -> None:
    """Hold a journal to what must come before what."""
    known: dict[str, dict[str, Any]] = {}
    over: dict[str, str] = {}
    assert len({row.boot_id for row in rows}) == len(lives_of(rows))
    assert [row.monotonic_ns for row in rows] == sorted(row.monotonic_ns for row in rows)
    for life in lives_of(rows):
        assert [row.seq for row in life] == list(range(1, len(life) + 1))
        assert [row.f for row in life].index("boot") == 0
        counted: set[tuple[str, int]] = set()
        for row in life:
            task, attempt = row.task or "", row.attempt or 0
            if row.f in ("accept", "recover"):
                known[task] = row.value
                assert (row.f == "recover") or task not in over
            elif task:
                assert task in known, told(row)
            if row.f in ("start", "spawn", "end"):
                assert over.get(task) is None, f"{told(row)} after it was over"
            if row.f == "start":
                counted.add((task, attempt))
            elif row.f == "spawn":
                assert (task, attempt) in counted
                if known[task]["effects"]:  # of one that has none, an end that is known is enough
                    assert {over.get(parent) for parent in known[task]["depends_on"]} <= {"success"}, told(row)
            elif row.f == "persist":
                assert task not in over, told(row)
                over[task] = row.value["status"]


def graph(name: str) -> list[dict[str, Any]]:
    return [
        shell(f"{name}-a", "true"),
        shell(f"{name}-b", "exit 1", f"{name}-a", retry=1),
        shell(f"{name}-c", "true", f"{name}-a", annotations={"effect": "once"}),
        shell(f"{name}-d", "true", f"{name}-b"),
        {"id": f"{name}-e", "type": "noop", "depends_on": [f"{name}-c"]},
    ]


class Clients:
    """Clients that submit graphs to whatever kernel there is."""

    def __init__(self) -> None:
        self.kernel: Any = None
        self.accepted: list[str] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(4)]

    def work(self, number: int) -> None:
        for count in itertools.count():
            if self.stopped.is_set():
                return
            name = f"c{number}-{count}"
            try:
                status = self.kernel.call("POST", "/tasks", {"tasks": graph(name)})[0]
            except GONE:
                status = 0
            if status == 202:
                self.accepted.append(name)
            self.stopped.wait(0.03)


def test_the_journal_of_a_kernel_that_is_killed_again_and_again(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    flags = ("-history", str(path))
    clients, moments = Clients(), random.Random(5)
    clients.kernel = start(*flags)
    for thread in clients.threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.02, 0.2))
            clients.kernel.kill()
            clients.kernel = start(*flags, port=clients.kernel.port)
    finally:
        clients.stopped.set()
        for thread in clients.threads:
            thread.join()
    tasks = [task["id"] for name in clients.accepted for task in graph(name)]
    ends = {task_id: clients.kernel.end_of(task_id) for task_id in tasks}
    assert clients.kernel.stop() == 0
    rows = rows_of(path)
    check_order(rows)
    assert [life[-1].f == "stop" for life in lives_of(rows)] == [False] * KILLS + [True]
    persisted = {row.task: row for row in rows if row.f == "persist"}
    noted = {row.task for row in rows if row.f in ("accept", "recover")}
    assert len(tasks) > KILLS
    for task_id, task in ends.items():
        assert task_id in noted
        assert persisted[task_id].value == {"status": task["status"]}
        assert persisted[task_id].digest == digest([task["status"], task.get("result"), task.get("error")])


@pytest.mark.parametrize(
    ("point", "first", "second"),
    [
        ("before_accept", [], []),
        ("after_accept", [], ["recover t 0", "start t 1", "spawn t 1", "end t 1 success", "persist t success"]),
        ("before_start", ["accept t", "start t 1"], ["recover t 0", "start t 1"]),
        ("after_start", ["accept t", "start t 1"], ["recover t 1", "start t 2"]),
        ("spawn", ["accept t", "start t 1", "spawn t 1"], ["recover t 1", "start t 2"]),
        ("before_end", ["accept t", "start t 1", "spawn t 1", "end t 1 success"], ["recover t 1", "start t 2", "spawn t 2"]),
        ("after_end", ["accept t", "start t 1", "spawn t 1", "end t 1 success"], ["persist t success"]),
    ],
)
def test_a_kill_at_each_point(start: Start, tmp_path: Path, point: str, first: list[str], second: list[str]) -> None:
    path = tmp_path / "history.jsonl"
    killed = start("-history", str(path), fault=(point, 1))
    try:
        killed.call("POST", "/tasks", {"tasks": [shell("t", "true")]})
    except OSError:
        assert point.endswith("_accept")
    killed.process.wait(30)
    again = start("-history", str(path))
    if second:
        again.end_of("t")
    assert again.stop() == 0
    rows = rows_of(path)
    check_order(rows)
    lives = [[told(row) for row in life if row.task] for life in lives_of(rows)]
    assert lives[0] == first
    assert lives[1][: len(second)] == second
    assert [row.value["status"] for row in rows if row.f == "persist"] == ["success"] * bool(second)


def test_a_torn_line_of_the_last_life(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    first = start("-history", str(path))
    first.submit(shell("a", "true"))
    first.end_of("a")
    first.kill()
    whole = len(rows_of(path))
    with path.open("ab") as torn:
        torn.write(b'{"seq":99,"boot_id":"')
    assert start("-history", str(path)).stop() == 0
    assert [row.f for row in rows_of(path)[whole:]] == ["boot", "stop"]


def test_a_file_that_cannot_be_a_history(start: Start, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    refused = start("-history", str(tmp_path / "notes"))
    assert refused.process.wait(30) == 2
    assert refused.said.read_text().startswith(f"kernel: history file {str(tmp_path / 'notes')!r} holds something else (")
    assert (tmp_path / "notes").read_text() == "mine"


def test_compat_keeps_a_history_too(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    kernel = start("-history", str(path), "--compat")
    kernel.submit(shell("a", "true"), {"id": "b", "type": "noop", "depends_on": ["a"]})
    kernel.end_of("b")
    kernel.submit(shell("a", "exit 1"))  # replaces it
    kernel.end_of("a")
    assert kernel.call("DELETE", "/tasks/b")[0] == 204
    assert "capabilities" not in kernel.health()
    assert kernel.call("GET", "/history")[:2] == (404, "404 page not found\n")
    kernel.kill()
    assert start("-history", str(path), "--compat").stop() == 0
    seen = [told(row) for row in rows_of(path) if row.task in ("a", None)]
    run = ["accept a", "start a 1", "spawn a 1"]
    assert seen[:6] == ["boot", *run, "end a 1 success", "persist a success"]
    assert seen[6:] == [*run, "end a 1 failed", "persist a failed", "boot", "stop"]
    assert "delete b" in [told(row) for row in rows_of(path)]
