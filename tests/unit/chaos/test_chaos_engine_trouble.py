"""The nemesis when something goes wrong, and faults of the plan: nothing is lost, nothing stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.engine import Nemesis
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.events import Event, FaultInjected, FaultLifted, FaultSpared, StageStarted, Stamped

if TYPE_CHECKING:
    from tests.unit.chaos.conftest import MakeScene

WAIT = 30.0
STARTED = {"phase": "submit", "event": "stage_started"}


def test_an_action_that_fails_is_kept_and_the_run_goes_on(make_scene: MakeScene) -> None:
    scene = make_scene([{"parameters": {"apply": "no such luck"}}, {"parameters": {"name": "b"}}])
    scene.start()
    scene.nemesis.lift()
    assert scene.probe.log == ["+b", "-b"]
    (spared,) = scene.of(FaultSpared)
    assert (spared.fault, spared.drawn) == (0, True)
    assert "could not be applied: RuntimeError('no such luck')" in spared.reason
    record = scene.nemesis.records[0]
    assert (record.fired_ns, record.hit, record.drawn) == (None, None, True)
    assert "no such luck" in str(record.error)
    (doubt,) = scene.nemesis.conclusive()
    assert doubt.startswith("fault 0 (probe kernel) never struck: could not be applied")


def test_an_undo_that_fails_is_kept_and_the_others_are_undone(make_scene: MakeScene) -> None:
    scene = make_scene([{"parameters": {"name": "a"}}, {"parameters": {"name": "b", "undo": "it stays"}}])
    scene.start()
    scene.nemesis.lift()
    assert scene.probe.log == ["+a", "+b", "-b", "-a"]
    assert [(lifted.fault, lifted.status) for lifted in scene.of(FaultLifted)] == [(1, "failed"), (0, "ok")]
    assert scene.nemesis.records[1].error == "could not be undone: it stays"
    assert scene.nemesis.conclusive() == ["fault 1 (probe kernel): could not be undone: it stays"]


@pytest.mark.parametrize(
    ("parameters", "doubt"),
    [
        ({"hit": False}, "struck, but hit nothing"),
        ({"hit": None}, "struck, but hit nothing"),
        ({"hit": "yes"}, "struck, but hit nothing"),
        ({"observed": "raise"}, "could not be observed: RuntimeError('blind')"),
        ({"observed": "nan"}, "could not be observed: ValueError"),
    ],
)
def test_what_hit_nothing_concludes_nothing(make_scene: MakeScene, parameters: dict[str, Any], doubt: str) -> None:
    scene = make_scene([{"parameters": parameters}])
    scene.start()
    scene.nemesis.lift()
    assert scene.nemesis.records[0].hit is False
    assert scene.of(FaultLifted)[0].hit is False
    assert doubt in " ".join(scene.nemesis.conclusive())


@pytest.mark.parametrize("broken", ["stream", "history"])
def test_lifting_never_raises_and_lifts_all_even_if_nothing_can_be_said(make_scene: MakeScene, broken: str) -> None:
    scene = make_scene([{"parameters": {"name": "a"}}, {"parameters": {"name": "b"}}, {"trigger": {"phase": "poll"}}])
    scene.start()

    def fail(*args: Any) -> int:
        raise OSError("no space left")

    if broken == "stream":
        scene.nemesis._emit = fail
    else:
        scene.nemesis._note = fail  # type: ignore[assignment]
    scene.nemesis.lift()
    assert scene.probe.log == ["+a", "+b", "-b", "-a"]
    assert all("no space left" in str(record.error) for record in scene.nemesis.records)


def test_a_broken_timeline_in_a_timers_thread_is_kept_with_the_fault(make_scene: MakeScene) -> None:
    scene = make_scene([{"trigger": {**STARTED, "delay_ms": 1}}])
    emit = scene.nemesis._emit

    def fail(event: Event) -> int:
        if isinstance(event, FaultInjected):
            raise OSError("no space left")
        return emit(event)

    scene.nemesis._emit = fail
    scene.start()
    assert scene.probe.struck.wait(WAIT)
    scene.nemesis.lift()
    assert scene.probe.log == ["+x", "-x"]
    assert "no space left" in str(scene.nemesis.records[0].error)


def test_faults_of_the_plan_strike_in_order_before_it_is_checked(make_scene: MakeScene, plan: dict[str, Any]) -> None:
    at_plan = {"trigger": {"phase": "plan"}, "target": "plan"}
    scene = make_scene(
        [
            {**at_plan, "action": "invalid_tool", "parameters": {"task_id": "run"}},
            {**at_plan, "action": "bad_dependency", "parameters": {"task_id": "run"}},
            {**at_plan, "action": "missing_binding", "parameters": {"stage_id": "note"}},
            {"trigger": {"phase": "plan"}},
        ],
    )
    changed = scene.nemesis.disturb(plan)
    task = changed["stages"][1]["task_graph"]["tasks"][0]
    assert (task["type"], task["depends_on"]) == ("undeclared_tool", ["absent_task"])
    assert scene.probe.log == ["+x"], "a fault of the world may strike at that moment, too"
    said = [injected.parameters.get("changed") for injected in scene.of(FaultInjected)]
    assert said[:2] == [
        "task 'run' uses the tool 'undeclared_tool' instead of 'runtime'",
        "task 'run' depends on 'absent_task', which does not exist",
    ]
    assert [spared.fault for spared in scene.of(FaultSpared)] == [2]
    scene.nemesis.lift()
    assert [record.hit for record in scene.nemesis.records] == [True, True, None, True]
    assert scene.nemesis.records[0].observed["changed"] == said[0]
    (doubt,) = scene.nemesis.conclusive()
    assert "there is nothing in the plan that it could change" in doubt


def test_a_plan_that_no_fault_changes_is_the_very_same_document(make_scene: MakeScene, plan: dict[str, Any]) -> None:
    at_plan = {"trigger": {"phase": "plan"}, "target": "plan", "action": "invalid_tool", "probability": 0.0}
    scene = make_scene([{}, at_plan])
    assert scene.nemesis.disturb(plan) is plan


def test_a_fault_of_the_plan_that_crashes_leaves_the_plan_alone(
    make_scene: MakeScene, plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_plan = {"trigger": {"phase": "plan"}, "target": "plan", "action": "invalid_tool", "parameters": {"task_id": 5}}
    scene = make_scene([at_plan])
    assert scene.nemesis.disturb(plan) is plan
    assert "could not be applied" in str(scene.nemesis.records[0].error)


def test_without_a_world_only_the_plan_can_be_struck(plan: dict[str, Any]) -> None:
    profile = ChaosProfile.model_validate(
        {"id": "p", "description": "", "faults": [{"action": "kill", "target": "kernel", "trigger": STARTED}]}
    )
    nemesis = Nemesis(profile, ACTIONS, seed=1, cell_id="c", world=None, emit=lambda event: 1, note=lambda f, value: None)
    nemesis.consume(Stamped(1, 1, 1, StageStarted(stage_id="a", attempt=1)))
    nemesis.lift()
    assert "there is no world here" in nemesis.conclusive()[0]
