"""After a run: everything is quiet, everything is read once more, and the history of its four observers is judged."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_execgo.client.kernel import KernelRefused
from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.core.process_tree import processes
from pytest_execgo.observability.checker import check
from pytest_execgo.observability.history import History, from_kernel, from_sink
from pytest_execgo.plan.history import HistoryRow, HistoryVerdict
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.runner.observed import ObservedKernel
from pytest_execgo.runner.parts import RunParts

_BATCH = 1000  # ids in one request
_SETTLING = 5.0  # seconds that what was cancelled may take to end
_LEAVING = 2.0  # seconds that a process may take to be gone
_LOOK = 0.01


def submitted(record: RunRecord, before: Sequence[HistoryRow] = ()) -> list[str]:
    """Return the global id of every task that the run may have submitted, in order. `before`: rows of its earlier lives."""
    earlier = [row.value["tasks"] for row in before if (row.process, row.f, row.type) == ("client", "submit", "invoke")]
    now = [stage.wire_ids.values() for stage in record.stages]
    return list(dict.fromkeys(wire for wires in (*earlier, *now) for wire in wires))


def withdraw(kernel: ObservedKernel, wire_ids: Sequence[str]) -> list[str]:
    """End tasks that are not over; return those that may still be running. Where a kernel can't cancel, their records go."""
    able = "cancel" in kernel.capabilities()
    left = []
    for wire in reversed(wire_ids):
        try:
            kernel.cancel(wire) if able else kernel.delete(wire)
            left.append(wire)
        except KernelRefused as refused:
            if refused.status_code != 404:
                left.append(wire)
    if able and left:
        left = [str(task["id"]) for task in kernel.wait(left, _SETTLING).tasks if task.get("status") not in TERMINAL]
    return left


def unfinished(kernel: ObservedKernel, wire_ids: Sequence[str]) -> list[str]:
    """Return which tasks have not ended; those that nobody knows have."""
    found = []
    for wire in wire_ids:
        try:
            envelope = kernel.task(wire)
        except KernelRefused as refused:
            if refused.status_code != 404:
                raise
            continue
        if envelope.get("status") not in TERMINAL:
            found.append(wire)
    return found


def read_all(kernel: ObservedKernel, history: History, wire_ids: Sequence[str]) -> None:
    """Read every task once more, for the history."""
    if "wait" in kernel.capabilities():
        for start in range(0, len(wire_ids), _BATCH):
            asked = time.monotonic_ns()
            answer = kernel.wait(wire_ids[start : start + _BATCH], 0)
            for envelope in answer.tasks:
                kernel.saw(envelope, asked, final=True)
            for wire in answer.missing:
                _missing(history, wire, asked)
        return
    for wire in wire_ids:
        asked = time.monotonic_ns()
        try:
            kernel.saw(kernel.task(wire), asked, final=True)
        except KernelRefused as refused:
            if refused.status_code != 404:
                raise
            _missing(history, wire, asked)


def _missing(history: History, wire: str, asked_ns: int) -> None:
    history.client("ok", "read", task=wire, value={"status": "absent", "final": True, "invoked_ns": asked_ns})


def processes_of(run_id: str) -> list[dict[str, Any]]:
    """Return the processes of this machine that work in the run's folder or were told its id: `pid` and `command`.

    One that is about to end gets a moment for it. This process and those that started it are none of the run's: `runs resume`
    is told its id.
    """
    deadline = time.monotonic() + _LEAVING
    ours = _lineage()
    while True:
        places = (place for place in Path("/proc").iterdir() if place.name.isdigit() and int(place.name) not in ours)
        found = [row for place in places if (row := _process(place, run_id))]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_LOOK)


def _lineage() -> set[int]:
    """Return the pids of this process, its parent, and so on."""
    known, pid, found = processes(), os.getpid(), set[int]()
    while pid and pid not in found:
        found.add(pid)
        pid = known[pid].parent if pid in known else 0
    return found


def _process(place: Path, run_id: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError):  # it ended, or is not ours to look into
        command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        mark = run_id.encode()
        if command and (run_id in command or run_id in str(place.joinpath("cwd").readlink())):
            return {"pid": int(place.name), "command": command[:200]}
        if command and mark in place.joinpath("environ").read_bytes():
            return {"pid": int(place.name), "command": command[:200]}
    return None


def judge_history(parts: RunParts, history: History, run_id: str, before: Sequence[HistoryRow]) -> HistoryVerdict:
    """Put the four observers' accounts together and judge them. `before` is what earlier lives of the run wrote down."""
    if parts.journal is not None:
        history.take(from_kernel(parts.journal.news(), run_id))
    history.take(from_sink(parts.fixtures.deliveries(run_id), run_id))
    return check([*before, *history.rows])
