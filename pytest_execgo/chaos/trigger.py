"""When a fault strikes: matching a run's events, counting them, and telling what could never come."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, get_args

from pytest_execgo.plan import events
from pytest_execgo.plan.chaos import Fault, Phase, Trigger
from pytest_execgo.plan.events import Event, FaultInjected, FaultLifted, FaultSpared, Stamped
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.view import PlanView, view_plan


def _event_phases() -> dict[str, Phase]:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event]
    return {kind.__new__(kind).event_type: kind.phase for kind in kinds}


EVENT_PHASES: Mapping[str, Phase] = _event_phases()
"""Every type of event that there is, and the phase that it belongs to."""

ONCE_A_STAGE = frozenset({"stage_started", "stage_submitted", "stage_finished", "checkpoint_saved"})
"""Events that come once for each stage that does not have to be tried again."""

_OF_FAULTS = (FaultInjected, FaultLifted, FaultSpared)
_AFTER_FAULTS = frozenset({"verdict_reached", "history_checked", "run_finished", "fault_spared"})


def at_the_plan(trigger: Trigger) -> bool:
    """Tell whether a trigger means the moment in which the plan is there and not yet checked, which is no event."""
    return trigger.phase == "plan" and trigger.event is None


class Countdown:
    """Counts the events that one fault waits for. `index` is the fault's place in its profile.

    What faults do are events, too: they count only where a trigger names them, and never for the fault that they tell of.
    """

    def __init__(self, trigger: Trigger, index: int) -> None:
        self._trigger = trigger
        self._index = index
        self._left = trigger.occurrence
        self._lock = threading.Lock()

    def strikes(self, stamped: Stamped) -> bool:
        """Take one event; tell whether it is the one that was waited for (which is so once)."""
        if not self._matches(stamped.event):
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def _matches(self, event: Event) -> bool:
        trigger = self._trigger
        if at_the_plan(trigger) or event.phase != trigger.phase:
            return False
        if isinstance(event, _OF_FAULTS) and (trigger.event is None or event.fault == self._index):
            return False
        return (
            trigger.event in (None, event.event_type)
            and trigger.stage_id in (None, event.stage_id)
            and trigger.task_id in (None, event.task_id)
        )


def told(trigger: Trigger) -> str:
    """Say in words what a trigger waits for: `the 2nd stage_finished of stage 'test'`."""
    if at_the_plan(trigger):
        return "the plan"
    what = trigger.event or f"event of the phase {trigger.phase}"
    place = "".join(
        f" of {kind} {name!r}" for kind, name in (("task", trigger.task_id), ("stage", trigger.stage_id)) if name is not None
    )
    after = f", and {trigger.delay_ms} ms" if trigger.delay_ms else ""
    return f"the {_nth(trigger.occurrence)} {what}{place}{after}"


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def trigger_problems(trigger: Trigger, path: str, suggest: Suggester) -> list[Problem]:
    """Find what keeps a trigger from ever coming: an unknown event, an event of another phase, one after the faults' end."""
    if trigger.event is not None and trigger.event not in EVENT_PHASES:
        return [Problem(f"{path}.event", "unknown_event", suggest.unknown("event", trigger.event, sorted(EVENT_PHASES)))]
    if at_the_plan(trigger):
        counted = trigger.occurrence > 1 or trigger.stage_id is not None or trigger.task_id is not None
        what = "phase plan without an event is the one moment in which the plan is there; leave out occurrence, stage_id, task_id"
        return [Problem(path, "trigger_contradiction", what)] if counted else []
    if trigger.event is None:
        late = trigger.phase == "verify"
    else:
        right = EVENT_PHASES[trigger.event]
        if right != trigger.phase:
            what = f"{trigger.event} belongs to the phase {right}, never to {trigger.phase}; write phase: {right}"
            return [Problem(f"{path}.phase", "trigger_contradiction", what)]
        late = trigger.event in _AFTER_FAULTS
    if not late:
        return []
    phases = ", ".join(phase for phase in get_args(Phase) if phase != "verify")
    what = f"faults are lifted before the run is judged, so that nothing strikes then; allowed: an event of the phases {phases}"
    return [Problem(path, "trigger_contradiction", what)]


def unreachable(fault: Fault, plan: Mapping[str, Any]) -> str | None:
    """Say why a fault's trigger would not come in a run of such a plan, as far as the plan tells; None when it may."""
    trigger, view = fault.trigger, view_plan(plan)
    stages = {stage.id for stage in view.stages}
    if trigger.stage_id is not None and trigger.stage_id not in stages:
        return f"it waits for stage {trigger.stage_id!r}, which the scenario's plan does not have"
    if trigger.task_id is not None and not _has_task(view, trigger):
        return f"it waits for task {trigger.task_id!r}, which the scenario's plan does not have there"
    most = 1 if trigger.stage_id is not None else len(view.stages)
    if trigger.event in ONCE_A_STAGE and trigger.occurrence > most:
        return f"it waits for {told(trigger)}; the scenario's plan has {most} such stage{'' if most == 1 else 's'}"
    return None


def _has_task(view: PlanView, trigger: Trigger) -> bool:
    task = view.tasks.get(str(trigger.task_id))
    return task is not None and trigger.stage_id in (None, view.stage_of(task).id)
