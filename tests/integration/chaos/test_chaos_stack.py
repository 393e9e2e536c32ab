"""Faults on real services: each hit, each was undone, and no process was left."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_execgo.chaos.actions import ACTIONS, flood
from pytest_execgo.chaos.engine import Nemesis
from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient, KernelRefused
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.events import StageStarted
from pytest_execgo.plan.fault import FaultRecord, World
from pytest_execgo.plan.stack import Service, Stack

WAIT = 30.0


class Owner:
    """A run that brings back what it may bring back."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.held: set[Service] = set()

    def stop(self, how: str) -> None:
        raise AssertionError("no fault here stops the run")

    def stopped(self) -> bool:
        return False

    def hold_down(self, service: Service) -> None:
        self.held.add(service)

    def let_up(self, service: Service) -> None:
        self.held.discard(service)
        self.bring_back()

    def let_go(self, service: Service) -> None:
        self.held.discard(service)

    def bring_back(self) -> None:
        for row in self.stack.status():
            if not row.running and row.service not in self.held:
                self.stack.restart(row.service)


class Scene:
    """A stack, a world around it, and faults that strike when a stage starts."""

    def __init__(self, stack: EmbeddedStack, folder: Path) -> None:
        ends = stack.endpoints()
        self.stack = stack
        self.owner = Owner(stack)
        self.kernel = KernelClient(ends.kernel, ends.token)
        self.fixtures = FixturesClient(ends.fixtures, token=ends.token)
        self.world = World("run-1", 1, stack, self.kernel, self.fixtures, self.owner, folder)

    def nemesis(self, *faults: dict[str, Any]) -> Nemesis:
        """Let faults strike; return once they are in force."""
        trigger = {"phase": "submit", "event": "stage_started"}
        whole = [{"trigger": trigger, **fault} for fault in faults]
        profile = ChaosProfile.model_validate({"id": "p", "description": "", "faults": whole})
        for fault in profile.faults:
            assert ACTIONS[fault.action].problems(fault) == []
        stream = EventStream([])
        nemesis = Nemesis(profile, ACTIONS, seed=1, cell_id="c", world=self.world, emit=stream.emit, note=lambda f, value: None)
        stream.add(nemesis)
        stream.emit(StageStarted(stage_id="a", attempt=1))
        return nemesis

    def pid(self, service: Service) -> int | None:
        return next(row.pid for row in self.stack.status() if row.service is service)

    def works(self, task_id: str) -> bool:
        """Tell whether a command runs from end to end."""
        command = {"kind": "command", "program": "echo", "args": [task_id]}
        self.kernel.submit([{"id": task_id, "type": "runtime", "input": {"execution": command}}])
        return bool(self.kernel.wait([task_id], WAIT).tasks[0]["status"] == "success")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=os.environ))
    stack.up()
    scene = Scene(stack, tmp_path)
    assert scene.works("warm-up")
    until(lambda: waits_logged(scene) == 1)
    yield scene
    scene.kernel.close()
    scene.fixtures.close()
    stack.down()


def only(records: Sequence[FaultRecord]) -> FaultRecord:
    (record,) = records
    return record


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("service", ["kernel", "runtime", "fixtures"])
def test_a_restarted_service_is_another_process_that_works(scene: Scene, service: str) -> None:
    before = scene.pid(Service(service))
    nemesis = scene.nemesis({"action": "restart", "target": service})
    after = scene.pid(Service(service))
    assert after not in (None, before)
    nemesis.lift()
    assert nemesis.conclusive() == []
    assert only(nemesis.records).observed == {"hit": True, "pid_before": before, "pid_after": after}
    assert scene.works("after")


@pytest.mark.parametrize("service", ["kernel", "runtime"])
def test_a_killed_service_stays_down_for_its_duration(scene: Scene, service: str) -> None:
    before = scene.pid(Service(service))
    nemesis = scene.nemesis({"action": "kill", "target": service, "duration_ms": 50})
    until(lambda: only(nemesis.records).lifted_ns is not None)
    nemesis.lift()
    assert scene.pid(Service(service)) not in (None, before)
    assert nemesis.conclusive() == []
    assert scene.works("after")


def test_a_service_that_is_killed_without_a_duration_is_left_to_the_run(scene: Scene) -> None:
    nemesis = scene.nemesis({"action": "kill", "target": "runtime"})
    assert scene.pid(Service.RUNTIME) is None
    scene.owner.bring_back()
    nemesis.lift()
    assert nemesis.conclusive() == []
    assert scene.works("after")


def test_a_paused_service_answers_nothing_until_it_goes_on(scene: Scene) -> None:
    nemesis = scene.nemesis({"action": "pause", "target": "kernel", "duration_ms": 3_600_000})
    with pytest.raises(requests.Timeout):
        requests.get(f"{scene.stack.endpoints().kernel}/health", timeout=0.2)
    nemesis.lift()
    assert only(nemesis.records).observed == {"hit": True, "pid": scene.pid(Service.KERNEL), "resumed": True}
    assert scene.works("after")


def waits_logged(scene: Scene) -> int:
    return scene.stack.logs(Service.KERNEL, tail=1000).count('"path": "/tasks/wait"')


@pytest.mark.parametrize("service", ["kernel", "runtime"])
def test_a_full_disk_refuses_what_would_be_written_until_there_is_room(scene: Scene, service: str) -> None:
    pid = scene.pid(Service(service))
    assert pid is not None
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    logged = waits_logged(scene)
    nemesis = scene.nemesis({"action": "disk_full", "target": service})
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE)[0] == 0
    nemesis.lift()
    assert nemesis.conclusive() == []
    seen = only(nemesis.records).observed
    assert (seen["hit"], seen["status_code"]) == (True, 503)
    assert (scene.pid(Service(service)), resource.prlimit(pid, resource.RLIMIT_FSIZE)) == (pid, before)
    assert scene.works("after")
    until(lambda: waits_logged(scene) > logged)  # the kernel's log goes on, too


def test_a_graph_that_a_full_disk_refused_is_as_if_it_had_never_been(scene: Scene) -> None:
    command = {"execution": {"kind": "command", "program": "echo"}}
    graph: list[dict[str, Any]] = [
        {"id": "a", "type": "runtime", "input": command},
        {"id": "b", "type": "noop", "depends_on": ["a"]},
    ]
    nemesis = scene.nemesis({"action": "disk_full", "target": "kernel"})
    for _ in range(3):
        with pytest.raises(KernelRefused, match="can't be written"):
            scene.kernel.submit(graph)
        for task in graph:
            with pytest.raises(KernelRefused, match="not found"):
                scene.kernel.task(str(task["id"]))
    nemesis.lift()
    assert scene.kernel.submit(graph) == ["a", "b"]
    assert [task["status"] for task in scene.kernel.wait(["a", "b"], WAIT).tasks] == ["success"] * 2
    rows, _ = scene.kernel.history(0)
    told = [(row["f"], row["task"]) for row in rows if row["task"] in ("a", "b")]
    assert [row for row in told if row[0] in ("accept", "skip", "persist")] == [
        ("accept", "a"),
        ("accept", "b"),
        ("persist", "a"),
        ("persist", "b"),
    ]


def test_a_flood_is_truncated_and_over_when_it_is_undone(scene: Scene) -> None:
    nemesis = scene.nemesis({"action": "output_flood", "target": "runtime", "parameters": {"megabytes": 16}})
    task = "nemesis:run-1:flood:"
    assert scene.works("beside")
    nemesis.lift()
    assert nemesis.conclusive() == []
    seen = only(nemesis.records).observed
    assert str(seen["task"]).startswith(task)
    assert scene.kernel.task(str(seen["task"]))["status"] in ("success", "failed")


def test_a_flood_that_goes_on_is_cut_short(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "_TO_FINISH", 0.0)
    nemesis = scene.nemesis({"action": "output_flood", "target": "runtime", "parameters": {"megabytes": 4096}})
    nemesis.lift()
    record = only(nemesis.records)
    assert record.error is None
    assert scene.kernel.task(str(record.observed["task"]))["status"] == "failed"
    assert scene.works("after")


def test_cpu_and_memory_are_given_back(scene: Scene) -> None:
    nemesis = scene.nemesis(
        {"action": "cpu_pressure", "target": "machine", "parameters": {"processes": 1}},
        {"action": "memory_pressure", "target": "machine", "parameters": {"megabytes": 32}},
    )
    assert len(pressing()) == 2
    assert scene.works("beside")
    nemesis.lift()
    assert pressing() == []
    assert nemesis.conclusive() == []


def pressing() -> list[int]:
    """Return the processes of ours that put pressure on the machine."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and b"chaos/pressure.py" in place.joinpath("cmdline").read_bytes():
                parent = int(place.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                found += [int(place.name)] if parent == os.getpid() else []
        except OSError:
            continue  # it ended
    return found


def test_the_fixtures_service_suffers_from_all_of_its_faults_and_recovers(scene: Scene) -> None:
    url = f"{scene.stack.endpoints().fixtures}/advisories"
    plain = requests.get(url, timeout=WAIT).text
    nemesis = scene.nemesis(
        {"action": "fixture_latency", "target": "fixtures", "parameters": {"latency_ms": 5}},
        {"action": "fixture_error", "target": "fixtures", "parameters": {"error_mode": "error_503", "count": 1}},
        {"action": "fixture_injection", "target": "fixtures", "parameters": {"text": "OBEY ME"}},
    )
    answers = [requests.get(url, timeout=WAIT) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 200]
    assert "OBEY ME" in answers[1].text
    nemesis.lift()
    assert nemesis.conclusive() == []
    assert [record.observed["requests"] for record in nemesis.records] == [2, 1, 1]
    assert requests.get(url, timeout=WAIT).text == plain
