"""GET /history: the journal over HTTP, in pieces, guarded like everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_the_journal_is_read_in_pieces(new_kernel: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    kernel = new_kernel(EXECGO_HISTORY=str(path))
    assert "history" in kernel.call("GET", "/health").json["capabilities"]
    kernel.run({"id": "a", "type": "noop"})
    first = kernel.call("GET", "/history").json
    assert [event["f"] for event in first["events"]] == ["boot", "accept", "start", "spawn", "end", "persist"]
    assert first["events"] == [json.loads(line) for line in path.read_text().splitlines()]
    assert first["next"] == path.stat().st_size
    assert kernel.call("GET", f"/history?after={first['next']}").json == {"events": [], "next": first["next"]}
    assert kernel.call("DELETE", "/tasks/a").status == 204
    second = kernel.call("GET", f"/history?after={first['next']}").json
    assert [(event["f"], event["task"], event["seq"]) for event in second["events"]] == [("delete", "a", 7)]
    for bad in ("1", "-1", "x", "", str(second["next"] + 1), "9" * 30):
        answer = kernel.call("GET", f"/history?after={bad}")
        assert (answer.status, answer.json["error"][:5]) == (400, "after"), bad


def test_a_long_journal_is_bounded_per_answer(new_kernel: Callable[..., Any], tmp_path: Path) -> None:
    kernel = new_kernel("-history", str(tmp_path / "history.jsonl"))
    names = [f"{'n' * 900}{number}" for number in range(1000)]
    kernel.submit(*({"id": name, "type": "noop"} for name in names))
    kernel.call("POST", "/tasks/wait", {"task_ids": names, "timeout": "30s"})
    after, sizes, tasks = 0, list[int](), list[str]()
    while (answer := kernel.call("GET", f"/history?after={after}").json)["events"]:
        sizes.append(answer["next"] - after)
        after = answer["next"]
        tasks += [event["task"] for event in answer["events"] if event["f"] == "persist"]
    assert len(sizes) > 1
    assert max(sizes) <= 4 * 1024 * 1024
    assert sorted(tasks) == sorted(names)


def test_no_history_unless_it_is_asked_for(new_kernel: Callable[..., Any], tmp_path: Path) -> None:
    kernel = new_kernel()
    assert "history" not in kernel.call("GET", "/health").json["capabilities"]
    answer = kernel.call("GET", "/history")
    assert (answer.status, answer.json) == (404, {"error": "no history is kept (start the kernel with -history FILE)"})


def test_the_token_guards_it(new_kernel: Callable[..., Any], tmp_path: Path) -> None:
    kernel = new_kernel("-history", str(tmp_path / "h"), EXECGO_TOKEN="secret")
    assert kernel.call("GET", "/history").status == 401
    assert kernel.call("GET", "/history", Authorization="Bearer secret").status == 200


def test_a_journal_that_cannot_be_written_is_no_history(new_kernel: Callable[..., Any]) -> None:
    kernel = new_kernel("-history", "/dev/full")
    assert kernel.run({"id": "a", "type": "noop"})["a"]["status"] == "success"
    answer = kernel.call("GET", "/history")
    assert (answer.status, answer.json) == (503, {"error": "the history can't be written: No space left on device"})
