"""A kernel that is killed again and again under clients: nothing accepted is lost, everything ends, nothing is done twice.

`PYTEST_EXECGO_KILLS` sets how many kills (default 60).
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLS = int(os.environ.get("PYTEST_EXECGO_KILLS", "60"))
CLIENTS = 8
GONE = (OSError, http.client.HTTPException)


def graph(name: str, out: Path) -> list[dict[str, Any]]:
    """A small graph: a noop, a command that must run once, one that may run again, a noop after both."""

    def shell(task_id: str, **more: Any) -> dict[str, Any]:
        return {
            "id": task_id,
            "type": "shell",
            "params": {"script": f"echo {task_id} >> {out}"},
            "depends_on": [f"{name}-n"],
            **more,
        }

    return [
        {"id": f"{name}-n", "type": "noop"},
        shell(f"{name}-once", annotations={"effect": "once"}),
        shell(f"{name}-more"),
        {"id": f"{name}-z", "type": "noop", "depends_on": [f"{name}-once", f"{name}-more"]},
    ]


class Clients:
    """Clients that submit graphs to whatever kernel there is, and note what was accepted and which ends were shown."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.kernel: Any = None
        self.stopped = threading.Event()
        self.busy = threading.Event()
        self.accepted: list[str] = []
        self.seen: dict[str, str] = {}
        self.problems: list[str] = []
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(CLIENTS)]

    def work(self, number: int) -> None:
        for count in itertools.count():
            name = f"c{number}-{count}"
            if self.stopped.is_set():
                return
            try:
                status, text, _ = self.kernel.call("POST", "/tasks", {"tasks": graph(name, self.out)})
                if status != 202:
                    self.problems.append(f"{name}: {status} {text}")
                    return
                self.accepted.append(name)
                self.busy.set()
                for task_id in (f"{name}-once", f"{name}-z"):
                    found = self.kernel.task(task_id)
                    if found is None:
                        self.problems.append(f"{task_id} is lost")
                    elif found["status"] in ("success", "failed", "skipped"):
                        self.seen[task_id] = found["status"]
            except GONE:
                self.stopped.wait(0.02)  # killed; the next one comes
            self.stopped.wait(0.02)


def test_kills_under_clients_lose_nothing_and_do_nothing_twice(start: Callable[..., Any], tmp_path: Path) -> None:
    clients = Clients(tmp_path / "out")
    moments = random.Random(3)
    clients.kernel = start()
    for thread in clients.threads:
        thread.start()
    try:
        for number in range(KILLS):
            clients.busy.clear()
            assert number % 2 or clients.busy.wait(60)  # every other life may end before it has taken anything
            time.sleep(moments.uniform(0.0, 0.12))
            clients.kernel.kill()
            clients.kernel = start(port=clients.kernel.port)
    finally:
        clients.stopped.set()
        for thread in clients.threads:
            thread.join()
    assert not clients.problems
    assert len(clients.accepted) > KILLS // 3
    expected = {task["id"] for name in clients.accepted for task in graph(name, clients.out)}
    for name in clients.accepted:
        clients.kernel.end_of(f"{name}-z")
    ends = {task["id"]: task for task in json.loads(clients.kernel.call("GET", "/tasks")[1])}
    assert expected <= ends.keys(), "accepted tasks are lost"
    wrote = Counter((tmp_path / "out").read_text().split())
    for task_id in expected:
        ended = ends[task_id]
        assert ended["status"] in ("success", "failed", "skipped")
        assert clients.seen.get(task_id, ended["status"]) == ended["status"], "a terminal state changed"
        if task_id.endswith("-once"):
            assert wrote[task_id] <= 1, f"{task_id} was done {wrote[task_id]} times"
            unknown = ended["status"] == "failed" and ended["runtime"]["error"]["code"] == "unknown"
            assert unknown or (ended["status"], wrote[task_id]) == ("success", 1)
        elif task_id.endswith("-more"):
            assert ended["status"] == "success"
            assert wrote[task_id] >= 1
    assert "store" not in clients.kernel.health()
    assert clients.kernel.stop() == 0
