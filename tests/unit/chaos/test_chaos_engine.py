"""The nemesis: what strikes when, what is undone, what is said of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from pytest_execgo.plan.events import FaultInjected, FaultLifted, FaultSpared, RunStarted

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import Fakes, MakeScene

WAIT = 30.0
STARTED = {"phase": "submit", "event": "stage_started"}


def test_a_fault_strikes_before_the_run_goes_on_and_is_undone_at_the_end(make_scene: MakeScene) -> None:
    scene = make_scene([{}])
    scene.stream.emit(RunStarted(cell_id="c", seed=1, workspace="w"))
    assert scene.probe.log == []
    cause = scene.start()
    assert scene.probe.log == ["+x"], "emit returned, and the fault was not in force"
    (injected,) = scene.of(FaultInjected)
    assert (injected.profile, injected.fault, injected.action, injected.target, injected.cause) == (
        "storm",
        0,
        "probe",
        "kernel",
        cause,
    )
    scene.start()
    assert scene.probe.log == ["+x"]
    scene.nemesis.lift()
    assert scene.probe.log == ["+x", "-x"]
    (lifted,) = scene.of(FaultLifted)
    assert (lifted.hit, lifted.observed, lifted.status) == (True, {"hit": True}, "ok")
    named = {"fault": 0, "action": "probe", "target": "kernel"}
    assert scene.rows == [("fault_start", {**named, "hit": None}), ("fault_stop", {**named, "hit": True})]
    (record,) = scene.nemesis.records
    assert (record.drawn, record.hit, record.error, record.seq) == (True, True, None, cause + 1)
    assert 0 < (record.fired_ns or 0) <= (record.applied_ns or 0) <= (record.lifted_ns or 0)
    assert scene.nemesis.conclusive() == []


def test_lifting_again_changes_nothing_and_nothing_strikes_any_more(make_scene: MakeScene) -> None:
    scene = make_scene([{}, {"trigger": {"phase": "poll", "event": "stage_finished"}}])
    scene.start()
    scene.nemesis.lift()
    said = len(scene.events)
    scene.nemesis.lift()
    assert len(scene.events) == said
    scene.finish()
    assert scene.probe.log == ["+x", "-x"]
    assert len(scene.events) == said + 1


def test_faults_are_undone_in_the_reverse_order(make_scene: MakeScene) -> None:
    later = {"phase": "poll", "event": "stage_finished"}
    scene = make_scene(
        [{"parameters": {"name": "b"}, "trigger": later}, {"parameters": {"name": "a"}}, {"parameters": {"name": "c"}}]
    )
    scene.start()
    scene.finish()
    scene.nemesis.lift()
    assert scene.probe.log == ["+a", "+c", "+b", "-b", "-c", "-a"]


def test_a_duration_ends_a_fault_while_the_run_goes_on(make_scene: MakeScene) -> None:
    scene = make_scene([{"duration_ms": 1}])
    scene.start()
    assert scene.probe.undone.wait(WAIT)
    scene.nemesis.lift()
    assert scene.probe.log == ["+x", "-x"]
    assert len(scene.of(FaultLifted)) == 1


def test_a_delay_lets_the_run_go_on_first(make_scene: MakeScene) -> None:
    scene = make_scene([{"trigger": {**STARTED, "delay_ms": 1}}])
    scene.probe.hold = threading.Event()
    cause = scene.start()
    scene.stream.emit(RunStarted(cell_id="c", seed=1, workspace="w"))
    assert scene.probe.log == []
    scene.probe.hold.set()
    assert scene.probe.struck.wait(WAIT)
    scene.nemesis.lift()
    assert scene.of(FaultInjected)[0].cause == cause
    assert scene.nemesis.conclusive() == []


def test_a_delay_ends_with_its_stage(make_scene: MakeScene) -> None:
    scene = make_scene([{"trigger": {**STARTED, "delay_ms": 3_600_000}}])
    cause = scene.start()
    assert scene.probe.log == []
    scene.finish()
    assert scene.probe.log == ["+x"], "the run would have gone on to the next stage"
    scene.nemesis.lift()
    assert scene.of(FaultInjected)[0].cause == cause
    assert scene.nemesis.conclusive() == []


def test_the_end_of_the_run_does_not_wait_for_what_is_yet_to_come(make_scene: MakeScene) -> None:
    before = set(threading.enumerate())
    scene = make_scene([{"trigger": {**STARTED, "delay_ms": 3_600_000}}, {"duration_ms": 3_600_000}])
    scene.start()
    scene.nemesis.lift()
    assert scene.probe.log == ["+x", "-x"]
    (spared,) = scene.of(FaultSpared)
    assert (spared.fault, spared.drawn, spared.reason) == (0, True, "the run was over before it could strike")
    assert scene.nemesis.conclusive() == ["fault 0 (probe kernel) never struck: the run was over before it could strike"]
    assert not any(isinstance(thread, threading.Timer) for thread in set(threading.enumerate()) - before)


def test_a_fault_that_is_striking_when_the_run_ends_is_undone(make_scene: MakeScene) -> None:
    scene = make_scene([{"trigger": {**STARTED, "delay_ms": 1}}])
    scene.probe.hold, entered = threading.Event(), threading.Event()
    scene.probe.during = entered.set
    scene.start()
    ending = threading.Thread(target=scene.nemesis.lift)
    while not scene.nemesis._busy:
        threading.Event().wait(0.001)
    ending.start()
    scene.probe.hold.set()
    ending.join(WAIT)
    assert not ending.is_alive()
    assert entered.is_set()
    assert scene.probe.log == ["+x", "-x"]


def test_a_fault_that_strikes_in_another_thread_is_waited_for(make_scene: MakeScene) -> None:
    scene = make_scene([{}])
    scene.probe.hold = threading.Event()
    striking = threading.Thread(target=scene.start)
    striking.start()
    while not scene.nemesis._busy:
        threading.Event().wait(0.001)
    ending = threading.Thread(target=scene.nemesis.lift)
    ending.start()
    scene.probe.hold.set()
    ending.join(WAIT)
    striking.join(WAIT)
    assert not ending.is_alive()
    assert scene.probe.log == ["+x", "-x"]


def test_a_fault_may_emit_and_its_duration_may_end_while_the_stream_is_held(make_scene: MakeScene) -> None:
    """A timer thread emits while another thread is in the stream, striking: neither may wait for the other for ever."""
    scene = make_scene([{"duration_ms": 1, "parameters": {"name": "a"}}, {"trigger": {"phase": "poll", "event": "stage_finished"}}])
    scene.start()

    def during() -> None:
        scene.probe.undone.wait(WAIT)  # `a` is undone by now, and its timer wants to say so: the stream is ours
        scene.stream.emit(RunStarted(cell_id="c", seed=1, workspace="w"))

    scene.probe.during = during
    scene.finish()
    scene.nemesis.lift()
    assert len(scene.of(FaultLifted)) == 2
    assert scene.nemesis.conclusive() == []


def test_a_fault_may_be_triggered_by_another_ones_event_and_never_by_its_own(make_scene: MakeScene) -> None:
    injected = {"phase": "runtime", "event": "fault_injected"}
    scene = make_scene(
        [{"parameters": {"name": "a"}, "trigger": injected}, {"parameters": {"name": "b"}}, {"trigger": {"phase": "runtime"}}],
    )
    scene.start()
    assert scene.probe.log == ["+b", "+a"]
    scene.nemesis.lift()
    assert scene.of(FaultInjected)[1].cause == next(s.seq for s in scene.events if isinstance(s.event, FaultInjected))
    assert scene.nemesis.conclusive() == ["fault 2 (probe kernel) never struck: the run had no 1st event of the phase runtime"]


def test_probability_spares_a_cell_and_that_is_no_doubt(make_scene: MakeScene) -> None:
    scene = make_scene([{"probability": 0.0}])
    scene.start()
    scene.nemesis.lift()
    assert scene.probe.log == []
    (spared,) = scene.of(FaultSpared)
    assert (spared.drawn, spared.reason) == (False, "its probability of 0 spared this cell")
    assert scene.rows == [("fault_spared", {"fault": 0, "action": "probe", "target": "kernel", "hit": None, "drawn": False})]
    (record,) = scene.nemesis.records
    assert (record.drawn, record.fired_ns, record.hit) == (False, None, None)
    assert scene.nemesis.conclusive() == []


def test_the_same_seed_gives_the_same_faults_at_the_same_events(make_scene: MakeScene) -> None:
    faults = [
        {"probability": 0.5, "parameters": {"name": str(n)}, "trigger": {**STARTED, "occurrence": 1 + n % 3}} for n in range(12)
    ]

    def play(seed: int, cell_id: str = "cell") -> tuple[Any, ...]:
        scene = make_scene(faults, seed, cell_id)
        for stage in "abc":
            scene.start(stage)
        scene.nemesis.lift()
        told = [
            (type(s.event).__name__, getattr(s.event, "fault", None), s.seq, getattr(s.event, "cause", None)) for s in scene.events
        ]
        return told, scene.probe.log, scene.probe.drawn

    assert play(5) == play(5)
    assert play(5) != play(6)
    assert play(5) != play(5, "another cell")


def test_the_same_faults_are_drawn_in_every_process() -> None:
    """A pinned value: a run that is repeated elsewhere meets the same faults."""
    code = (
        "from pytest_execgo.chaos.engine import Nemesis\n"
        "from pytest_execgo.plan.chaos import ChaosProfile\n"
        "fault = {'action': 'x', 'target': 'y', 'trigger': {'phase': 'poll'}, 'probability': 0.5}\n"
        "profile = ChaosProfile.model_validate({'id': 'p', 'description': '', 'faults': [fault] * 16})\n"
        "drawn = dict(seed=1701, cell_id='cc43c834d6a3e02d', world=None, emit=lambda event: 1, note=lambda f, value: None)\n"
        "print(''.join('.x'[record.drawn] for record in Nemesis(profile, {'x': None}, **drawn).records))"
    )
    for hashes in ("1", "2"):
        command, env = [sys.executable, "-c", code], {"PYTHONHASHSEED": hashes}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
        assert done.stdout.strip() == ".xx...x.xxx..xxx"


def test_what_struck_in_an_earlier_life_of_the_run_does_not_strike_again(make_scene: MakeScene, plan: dict[str, Any]) -> None:
    at_plan = {"trigger": {"phase": "plan"}, "target": "plan", "action": "invalid_tool"}
    scene = make_scene([{"parameters": {"name": "a"}}, {"parameters": {"name": "b"}}, at_plan], before=(0, 2))
    assert scene.nemesis.disturb(plan) is plan
    scene.start()
    scene.nemesis.lift()
    assert scene.probe.log == ["+b", "-b"]
    assert scene.of(FaultSpared) == []
    assert scene.nemesis.conclusive() == []
    assert [record.fired_ns is None for record in scene.nemesis.records] == [True, False, True]


def test_faults_of_the_fixtures_service_share_one_mode(make_scene: MakeScene, fakes: Fakes) -> None:
    late = {"action": "fixture_latency", "target": "fixtures", "parameters": {"latency_ms": 10}}
    broken = {"action": "fixture_error", "target": "fixtures", "parameters": {"error_mode": "drop"}}
    scene = make_scene([late, broken])
    scene.start()
    assert (fakes.fixtures.modes[-1]["latency_ms"], fakes.fixtures.modes[-1]["error_mode"]) == (10, "drop")
    fakes.fixtures.count = {"latency": 1, "error": 1}
    scene.nemesis.lift()
    assert fakes.fixtures.modes[-1] == {}
    assert scene.nemesis.conclusive() == []
