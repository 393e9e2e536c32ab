"""Faults of machine and disk, and the flood: their processes end, their bounds are taken back, their hits are real."""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.chaos.actions import ACTIONS, flood
from pytest_execgo.chaos.actions import machine as machine_actions
from pytest_execgo.chaos.actions.disk import FillDisk, file_size_limit
from pytest_execgo.chaos.actions.flood import OutputFlood
from pytest_execgo.chaos.actions.machine import Burden
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Surroundings
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes

MakeFault = Callable[..., Fault]
Near = Callable[..., Surroundings]


class Refused(ExecGoError):
    """As the client raises it."""

    status_code = 503


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("name", "parameters", "processes", "memory"),
    [("cpu_pressure", {"processes": 2}, 2, 0), ("memory_pressure", {"megabytes": 20}, 1, 20)],
)
def test_pressure_is_put_on_the_machine_and_taken_off(
    make_fault: MakeFault, fakes: Fakes, name: str, parameters: Any, processes: int, memory: int
) -> None:
    action = ACTIONS[name]
    assert isinstance(action, Action)
    fault = make_fault(name, "machine", parameters)
    assert action.problems(fault) == []
    applied = action.apply(fault, fakes.world(), random.Random(1))
    assert isinstance(applied, Burden)
    pids = [process.pid for process in applied.processes]
    assert len(pids) == processes
    assert not any(map(gone, pids))
    applied.undo()
    assert all(map(gone, pids))
    seen = applied.observed()
    assert seen["hit"] is True
    assert seen["cpu_seconds"] > 0
    assert seen["resident_megabytes"] >= memory


def test_pressure_ends_with_whoever_put_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pytest_execgo.chaos.actions.machine import Burden\n"
        "burden = Burden.of(['cpu'], 1)\n"
        "print(burden.processes[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    try:
        handle = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:  # it is gone already
        return
    assert select.select([handle], [], [], 30)[0], "it outlived the one who started it"
    os.close(handle)


def test_a_process_that_does_not_come_to_weigh_leaves_none_behind(
    make_fault: MakeFault, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = machine_actions._start

    def starting(arguments: Any) -> subprocess.Popen[bytes]:
        started.append(start(["memory", "no number"] if started else arguments))
        return started[-1]

    monkeypatch.setattr(machine_actions, "_start", starting)
    with pytest.raises(ExecGoError, match="ended before it weighed anything"):
        Burden.of(["cpu"], 3)
    assert len(started) == 3
    assert all(process.returncode is not None for process in started)


def test_memory_that_the_machine_does_not_have_is_not_taken(
    make_fault: MakeFault, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_actions, "_available_megabytes", lambda: 99)
    action = ACTIONS["memory_pressure"]
    assert isinstance(action, Action)
    with pytest.raises(ExecGoError, match="50 MB were asked for, and the machine has 99 MB"):
        action.apply(make_fault("memory_pressure", "machine", {"megabytes": 50}), fakes.world(), random.Random(1))


def test_what_was_killed_before_it_took_anything_is_no_hit() -> None:
    burden = Burden.of(["cpu"], 1)
    burden.processes[0].kill()
    burden.undo()
    assert burden.observed()["hit"] is False
    assert Burden(5, took=[{"cpu_seconds": 1.0, "resident_megabytes": 4.0}]).observed()["hit"] is False


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("cpu_pressure", {"processes": 0}, "parameters.processes: found the number 0; allowed: at least 1"),
        ("memory_pressure", {}, "parameters.megabytes: required field"),
        ("disk_full", {"megabytes": 1}, "parameters.megabytes: unknown field"),
        ("output_flood", {"megabytes": 5000}, "parameters.megabytes: found the number 5000; allowed: at most 4096"),
    ],
)
def test_what_is_wrong_with_a_fault(make_fault: MakeFault, name: str, parameters: Any, said: str) -> None:
    (sentence,) = ACTIONS[name].problems(make_fault(name, "machine", parameters))
    assert said in sentence


def test_only_what_runs_here_can_be_hit(make_fault: MakeFault, near: Near, plan: dict[str, Any]) -> None:
    elsewhere = near(local=False)
    for name in ("cpu_pressure", "memory_pressure", "disk_full"):
        fault = make_fault(name, "kernel" if name == "disk_full" else "machine", {"megabytes": 1})
        assert ACTIONS[name].unusable(fault, near()) is None
        assert ACTIONS[name].unusable(fault, elsewhere) == "the services don't run on this machine"
    assert ACTIONS["output_flood"].unusable(make_fault("output_flood", "runtime"), elsewhere) is None
    silent = near(plan={**plan, "stages": plan["stages"][2:]})
    assert "runs in the runtime" in str(ACTIONS["disk_full"].unusable(make_fault("disk_full", "runtime"), silent))


class Disk:
    """Remembers the bounds of processes; a `post` to it answers as the runtime would."""

    def __init__(self, status: int = 503) -> None:
        self.bounds: list[tuple[int, int]] = []
        self.posted: list[tuple[str, str | None, Mapping[str, Any]]] = []
        self.status = status

    def limit(self, pid: int, soft: int) -> int:
        self.bounds.append((pid, soft))
        return -1

    def post(self, url: str, token: str | None, body: Mapping[str, Any]) -> int:
        self.posted.append((url, token, body))
        return self.status


@pytest.mark.parametrize(("refuses", "hit"), [(Refused("refused", "the store can't be written"), True), (None, False)])
def test_a_full_disk_is_seen_by_a_refused_submission(make_fault: MakeFault, fakes: Fakes, refuses: Any, hit: bool) -> None:
    disk = Disk()
    fakes.kernel.refuses = refuses
    applied = FillDisk(limit=disk.limit, post=disk.post).apply(make_fault("disk_full", "kernel"), fakes.world(), random.Random(1))
    assert disk.bounds == [(100, 0)]
    assert [str(task["id"])[:19] for task in fakes.kernel.submitted] == ([] if hit else ["nemesis:run-1:disk:"])
    applied.undo()
    assert disk.bounds == [(100, 0), (100, -1)]
    assert applied.observed()["hit"] is hit


@pytest.mark.parametrize("status", [503, 202])
def test_a_full_disk_of_the_runtime_is_seen_by_its_own_answer(make_fault: MakeFault, fakes: Fakes, status: int) -> None:
    disk = Disk(status)
    applied = FillDisk(limit=disk.limit, post=disk.post).apply(make_fault("disk_full", "runtime"), fakes.world(), random.Random(1))
    ((url, token, body),) = disk.posted
    assert (url, token, body["task_id"][:8]) == ("http://r/api/v1/tasks", "token", "nemesis:")
    assert applied.observed() == {"hit": status == 503, "status_code": status}
    fakes.stack.pids[Service.RUNTIME] = 4711
    applied.undo()
    assert disk.bounds == [(101, 0)], "another process has bounds of its own"


def test_a_disk_that_can_not_be_probed_is_not_left_full(make_fault: MakeFault, fakes: Fakes) -> None:
    disk = Disk()
    fakes.kernel.refuses = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        FillDisk(limit=disk.limit).apply(make_fault("disk_full", "kernel"), fakes.world(), random.Random(1))
    assert disk.bounds == [(100, 0), (100, -1)]
    fakes.stack.pids[Service.KERNEL] = None
    with pytest.raises(ExecGoError, match="no running process"):
        FillDisk(limit=disk.limit).apply(make_fault("disk_full", "kernel"), fakes.world(), random.Random(1))


def test_the_bound_on_files_is_real_and_can_be_taken_back(tmp_path: Path) -> None:
    code = """\
import sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "w") as file:
            file.write("x" * 10)
        print("written", flush=True)
    except OSError:
        print("refused", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "file")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:

        def ask() -> str:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("write\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        said = [ask()]
        before = file_size_limit(child.pid, 0)
        said.append(ask())
        assert file_size_limit(child.pid, before) == 0
        said.append(ask())
        assert resource.prlimit(child.pid, resource.RLIMIT_FSIZE)[0] == before
        assert child.stdin is not None
        child.stdin.close()
    assert said == ["written", "refused", "written"]


def flooded(status: str, truncated: bool) -> dict[str, Any]:
    return {"status": status, "result": {"stdout": "....", "stdout_truncated": truncated}}


@pytest.mark.parametrize("truncated", [True, False])
def test_a_flood_that_is_over_is_only_looked_at(make_fault: MakeFault, fakes: Fakes, truncated: bool) -> None:
    fault = make_fault("output_flood", "runtime", {"megabytes": 3})
    applied = OutputFlood().apply(fault, fakes.world(), random.Random(1))
    (task,) = fakes.kernel.submitted
    assert task["id"].startswith("nemesis:run-1:flood:")
    assert (task["type"], task["input"]["execution"]["args"][-1]) == ("runtime", "3")
    assert task["input"]["limits"]["stdout_max_bytes"] < 1024 * 1024, "else the smallest flood would not be cut"
    fakes.kernel.answers = [flooded("success", truncated)]
    applied.undo()
    assert applied.observed() == {"hit": truncated, "task": task["id"], "status": "success", "characters_kept": 4}
    assert fakes.kernel.cancelled == []


def test_a_flood_that_is_about_to_end_is_waited_for(make_fault: MakeFault, fakes: Fakes) -> None:
    pauses: list[float] = []
    applied = replace(OutputFlood(), sleep=pauses.append).apply(
        make_fault("output_flood", "runtime"), fakes.world(), random.Random(1)
    )
    fakes.kernel.answers = [{"status": "running"}, {"status": "running"}, flooded("success", True)]
    applied.undo()
    assert (len(pauses), fakes.kernel.cancelled) == (2, [])
    assert applied.observed()["hit"] is True


@pytest.mark.parametrize("ends", [True, False])
def test_a_flood_that_goes_on_is_cancelled(
    make_fault: MakeFault, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(flood, "_TO_FINISH", -1.0)
    monkeypatch.setattr(flood, "_TO_BE_GONE", 60.0 if ends else -1.0)
    applied = replace(OutputFlood(), sleep=lambda s: None).apply(
        make_fault("output_flood", "runtime"), fakes.world(), random.Random(1)
    )
    fakes.kernel.answers = [{"status": "running"}, {"status": "running"}, {"status": "failed"}]
    if ends:
        applied.undo()
    else:
        with pytest.raises(ExecGoError, match="was cancelled, and still runs"):
            applied.undo()
    assert fakes.kernel.cancelled == [fakes.kernel.submitted[0]["id"]]
    assert applied.observed()["hit"] is False
