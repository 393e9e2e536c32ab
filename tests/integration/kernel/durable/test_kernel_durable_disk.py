"""A full disk, a damaged store in use, ExecGo's state.json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]).returncode:
        pytest.skip("mounting a small disk takes root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_and_forgets_nothing(small_disk: Path, start: Start) -> None:
    kernel = start()
    kernel.submit({"id": "before", "type": "noop"})
    kernel.end_of("before")
    accepted, status, text = [], 202, ""
    for number in range(200):
        task = {"id": f"t{number}", "type": "sleep", "params": {"duration_ms": 1, "x": "y" * 20_000}}
        status, text, _ = kernel.call("POST", "/tasks", {"tasks": [task]})
        if status != 202:
            break
        accepted.append(f"t{number}")
    assert status == 503, "the disk never filled up"
    assert "can't be written" in json.loads(text)["error"]
    assert kernel.task(f"t{len(accepted)}") is None
    assert kernel.health()["status"] == "ok"
    for path in (small_disk / "ballast", *small_disk.glob("damaged*")):
        assert not path.exists()
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    for task_id in accepted:  # what ran meanwhile is written as soon as there is room
        assert kernel.end_of(task_id)["status"] == "success"
    kernel.submit({"id": "after", "type": "noop"})
    assert kernel.end_of("after")["status"] == "success"
    kernel.kill()
    second = start()
    listed = [task["id"] for task in json.loads(second.call("GET", "/tasks")[1])]
    assert listed == ["before", *accepted, "after"]
    assert "store" not in second.health()
    second.kill()


def test_a_damaged_store_is_set_aside_said_and_told_by_health(start: Start, tmp_path: Path) -> None:
    first = start()
    first.submit({"id": "good", "type": "noop"}, {"id": "bad", "type": "noop", "params": {"message": "precious"}})
    good, _ = first.end_of("good"), first.end_of("bad")
    assert first.stop() == 0
    database = tmp_path / "data/store/kernel.db"
    database.write_bytes(database.read_bytes().replace(b"precious", b"previous"))
    second = start()
    told = second.health()
    assert told["status"] == "ok"
    assert (told["store"]["status"], told["store"]["kept"], told["store"]["lost"]) == ("replaced", 1, 1)
    assert "store was damaged" in second.said.read_text()
    assert b"previous" in (Path(told["store"]["moved_to"]) / "store/kernel.db").read_bytes()
    assert second.task("good") == good
    assert second.task("bad") is None


def test_damage_in_a_large_store_is_found_while_it_is_used(start: Start, tmp_path: Path) -> None:
    first = start()
    for batch in range(6):
        tasks = [{"id": f"b{batch}-{n}", "type": "noop", "params": {"message": "m" * 2000}} for n in range(200)]
        first.submit(*tasks, {"id": f"bad{batch}", "type": "noop", "params": {"message": f"precious{batch}"}})
        first.end_of(f"b{batch}-199")
        first.end_of(f"bad{batch}")
    assert first.stop() == 0
    database = tmp_path / "data/store/kernel.db"
    assert database.stat().st_size > 4 * 1024 * 1024
    database.write_bytes(database.read_bytes().replace(b"precious3", b"previous3"))
    second = start()
    status, text, _ = second.call("GET", "/tasks/bad3")
    assert (status, "is damaged" in text, "previous3" in text) == (500, True, False)
    assert second.task("b0-0")["status"] == "success"
    deadline = time.monotonic() + 60
    while second.health().get("store", {}).get("status") != "damaged":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert second.stop() == 0
    third = start()
    assert (third.health()["store"]["lost"], third.task("bad3"), third.task("bad2")["status"]) == (1, None, "success")


STATE: dict[str, dict[str, Any]] = {
    "done": {
        "id": "done",
        "type": "os",
        "params": {"message": "<é>", "n": 1.50},
        "tool_name": "noop",
        "input": {"message": "<é>", "n": 1.50},
        "execution_category": "os",
        "status": "success",
        "run_status": "success",
        "result": {"message": "x", "ok": True},
        "runtime": {
            "status": "success",
            "output": {"message": "x", "ok": True},
            "started_at": "2026-04-03T10:14:23.80576+08:00",
            "finished_at": "2026-04-03T10:14:23.805773+08:00",
            "attempt": 1,
            "details": None,
        },
        "created_at": "2026-04-03T10:14:23.805718+08:00",
        "updated_at": "2026-04-03T10:14:23.805778+08:00",
    },
    "child": {
        "id": "child",
        "type": "os",
        "tool_name": "noop",
        "depends_on": ["done", "ran"],
        "status": "pending",
        "created_at": "2026-04-03T10:14:24+08:00",
        "updated_at": "2026-04-03T10:14:24+08:00",
    },
    "ran": {
        "id": "ran",
        "type": "os",
        "tool_name": "noop",
        "status": "running",
        "run_status": "running",
        "created_at": "2026-04-03T10:14:25+08:00",
        "updated_at": "2026-04-03T10:14:25+08:00",
    },
    "once": {
        "id": "once",
        "type": "os",
        "tool_name": "shell",
        "params": {"command": "pwd"},
        "annotations": {"effect": "once"},
        "status": "running",
        "created_at": "2026-04-03T10:14:26+08:00",
        "updated_at": "2026-04-03T10:14:26+08:00",
    },
}


def test_execgos_state_is_taken_over_and_given_back(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    text = json.dumps(STATE, indent=2)
    (tmp_path / "data/state.json").write_text(text)
    kernel = start()
    assert kernel.end_of("child")["status"] == kernel.end_of("ran")["status"] == "success"
    assert kernel.end_of("once")["runtime"]["error"]["code"] == "unknown"
    done = kernel.task("done")
    times = ("created_at", "updated_at")
    assert {name: value for name, value in done.items() if name not in times} == {
        name: value for name, value in STATE["done"].items() if name not in times
    }
    assert done["created_at"] == "2026-04-03T02:14:23.805718Z"
    assert (tmp_path / "data/state.json").read_text() == text
    listed = json.loads(kernel.call("GET", "/tasks")[1])
    assert [task["id"] for task in listed] == ["done", "child", "ran", "once"]
    exported = export(tmp_path / "data", tmp_path / "out.json")  # while the kernel runs
    assert exported.returncode == 0, exported.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == {task["id"]: task for task in listed}
    kernel.kill()
    (tmp_path / "other").mkdir()
    (tmp_path / "out.json").rename(tmp_path / "data/state.json")
    (tmp_path / "data/store").rename(tmp_path / "elsewhere")
    assert json.loads(start().call("GET", "/tasks")[1]) == listed


def test_an_export_without_a_store_is_refused(tmp_path: Path) -> None:
    refused = export(tmp_path / "none", tmp_path / "out.json")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "there is no store in" in refused.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "out.json").exists()


def export(data: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_execgo.kernel", "--export-state", str(target), "-data-dir", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
