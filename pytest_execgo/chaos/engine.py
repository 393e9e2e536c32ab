"""The nemesis: draws a profile's faults, lets them strike when their events come, takes them back, keeps account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from pytest_execgo.chaos import draws
from pytest_execgo.chaos.fate import Fate, PlanChanged, State
from pytest_execgo.chaos.fixture_layers import FixtureLayers
from pytest_execgo.chaos.trigger import Countdown, at_the_plan
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonvalue import clean_json
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.events import Event, FaultInjected, FaultLifted, FaultSpared, StageFinished, Stamped
from pytest_execgo.plan.fault import Action, FaultRecord, PlanAction, World


class Nemesis:
    """One run's faults. A consumer of the run's events, the last one on the stream: see `consume`.

    `actions` holds every action of the profile. `emit` puts an event into the run's stream and returns its `seq`; `note` writes a
    row of the history. Both are called from any thread, and never while a lock of the nemesis is held: whoever emits may be
    waiting for the stream while another thread is in `consume`, holding it. `struck_before` are the faults, by their place in the
    profile, that struck in an earlier life of the run: they don't strike again, and cast no doubt.
    """

    def __init__(
        self,
        profile: ChaosProfile,
        actions: Mapping[str, Action | PlanAction],
        *,
        seed: int,
        cell_id: str,
        world: World | None,
        emit: Callable[[Event], int],
        note: Callable[[str, dict[str, Any]], None],
        struck_before: Collection[int] = (),
    ) -> None:
        self.profile = profile
        self._world = replace(world, fixtures=FixtureLayers.over(world.fixtures)) if world else None
        self._emit = emit
        self._note = note
        self._changed = threading.Condition()
        self._busy: list[int] = []  # idents of the threads in which a fault strikes or is taken back right now
        self._timers: list[threading.Timer] = []
        self._closed = False
        self._fates = []
        for index, fault in enumerate(profile.faults):
            drawn = draws.strikes(fault.probability, seed=seed, cell_id=cell_id, index=index)
            draw = draws.source(seed=seed, cell_id=cell_id, index=index)
            before = index in struck_before
            state = State.OVER if before else State.WAITING if drawn else State.SPARED
            countdown = Countdown(fault.trigger, index)
            self._fates.append(Fate(index, fault, actions[fault.action], drawn, draw, countdown, state, before=before))

    @property
    def records(self) -> tuple[FaultRecord, ...]:
        """What became of each fault, in the profile's order."""
        return tuple(fate.record() for fate in self._fates)

    def conclusive(self) -> list[str]:
        """Return why nothing can be concluded from the run: faults that were to strike and didn't, hit nothing, or stayed."""
        return [doubt for fate in self._fates for doubt in fate.doubts()]

    def disturb(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Let everything strike that waits for the plan, in the profile's order.

        Returns the plan as it is then: the very document that was given, unless a fault changed it.
        """
        document = plan if isinstance(plan, dict) else dict(plan)
        for fate in self._fates:
            if at_the_plan(fate.fault.trigger) and self._call(fate, None):
                if isinstance(fate.action, PlanAction):
                    document = self._disturb(fate, fate.action, document)
                else:
                    self._strike_in_time(fate)
        return document

    def consume(self, stamped: Stamped) -> None:
        """Take one event of the run. What it calls strikes before this returns, so before the run goes on, or on a timer."""
        if isinstance(stamped.event, StageFinished):
            self._strike_what_is_late(stamped.event.stage_id)
        called = [fate for fate in self._fates if fate.countdown.strikes(stamped) and self._call(fate, stamped.seq)]
        for fate in called:
            fate.stage_id = stamped.event.stage_id
            self._strike_in_time(fate)

    def lift(self) -> None:
        """Take back all that is in force, the last one first, and let nothing strike any more. Never raises; safe to repeat.

        Waits for what is striking on other threads, so it is not to be called by a consumer while it takes an event.
        """
        with self._changed:
            self._closed = True
            timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()
        for timer in timers:
            if timer is not threading.current_thread():
                timer.join()
        with self._changed:  # a fault may be striking in the thread that emitted its event
            mine = threading.get_ident()
            self._changed.wait_for(lambda: all(ident == mine for ident in self._busy))
        struck = [fate for fate in self._fates if fate.fired_ns is not None]
        for fate in sorted(struck, key=lambda fate: fate.fired_ns or 0, reverse=True):
            self._take_back(fate)
        for fate in self._fates:
            if fate.state in (State.WAITING, State.CALLED, State.SPARED):
                self._spare(fate)

    # -- striking -----------------------------------------------------------------------------------------------------

    def _call(self, fate: Fate, cause: int | None) -> bool:
        with self._changed:
            if self._closed or fate.state is not State.WAITING:
                return False
            fate.state, fate.cause = State.CALLED, cause
            return True

    def _strike_what_is_late(self, stage_id: str | None) -> None:
        """Let what was called in a stage, and still waits for its delay, strike before the run goes on from that stage."""
        with self._changed:
            late = [fate for fate in self._fates if fate.state is State.CALLED and fate.timer and fate.stage_id == stage_id]
            timers = {fate.index: fate.timer for fate in late}
        for fate in late:
            timer = timers[fate.index]
            if timer is not None and not timer.finished.is_set():
                timer.cancel()
                self._strike(fate)

    def _strike_in_time(self, fate: Fate) -> None:
        if fate.fault.trigger.delay_ms:
            fate.timer = self._later(fate.fault.trigger.delay_ms, lambda: self._kept(fate, self._strike))
        else:
            self._strike(fate)

    def _disturb(self, fate: Fate, action: PlanAction, document: dict[str, Any]) -> dict[str, Any]:
        struck_ns = time.monotonic_ns()
        try:
            found = action.disturb(fate.fault, document, fate.draw)
        except Exception as error:  # whoever wrote the action
            self._failed(fate, f"could not be applied: {_said(error)}")
            return document
        if found is None:
            self._failed(fate, "there is nothing in the plan that it could change")
            return document
        document, changed = found
        fate.applied = PlanChanged(changed)
        self._in_force(fate, struck_ns, {**fate.fault.parameters, "changed": changed})
        return document

    def _strike(self, fate: Fate) -> None:
        """Apply one fault that was called, and say so; once, whoever comes first."""
        with self._changed:
            if fate.state is not State.CALLED or fate.striking:
                return
            fate.striking = True
        if not self._enter():
            return
        try:
            struck_ns = time.monotonic_ns()
            try:
                fate.applied = self._apply(fate)
            except Exception as error:  # whoever wrote the action: the run goes on without the fault, and says so
                self._failed(fate, f"could not be applied: {_said(error)}")
                return
            self._in_force(fate, struck_ns, dict(fate.fault.parameters))
        finally:
            self._leave()
        if fate.fault.duration_ms:
            self._later(fate.fault.duration_ms, lambda: self._kept(fate, self._take_back))

    def _apply(self, fate: Fate) -> Any:
        if self._world is None or isinstance(fate.action, PlanAction):
            raise ExecGoError("nothing_to_strike", "there is no world here that it could strike")
        return fate.action.apply(fate.fault, self._world, fate.draw)

    def _in_force(self, fate: Fate, struck_ns: int, parameters: dict[str, Any]) -> None:
        with self._changed:
            fate.state, fate.fired_ns, fate.applied_ns = State.IN_FORCE, struck_ns, time.monotonic_ns()
        event = FaultInjected(**self._named(fate), parameters=parameters, cause=fate.cause)
        fate.seq = self._emit(event)
        self._note("fault_start", self._row(fate))

    def _failed(self, fate: Fate, what: str) -> None:
        fate.error = what
        self._spare(fate)

    # -- taking back --------------------------------------------------------------------------------------------------

    def _take_back(self, fate: Fate) -> None:
        """Undo one fault, once; whatever goes wrong is kept with it."""
        with self._changed:
            if fate.state is not State.IN_FORCE or fate.applied is None:
                return
            fate.state = State.OVER
            self._busy.append(threading.get_ident())
        try:
            self._undo(fate)
            try:
                self._emit(self._lifted(fate))
                self._note("fault_stop", self._row(fate))
            except Exception as error:  # a full disk, say: every other fault is to be lifted all the same
                self._keep(fate, f"could not be written down: {_said(error)}")
        finally:
            self._leave()

    def _undo(self, fate: Fate) -> None:
        assert fate.applied is not None
        try:
            fate.applied.undo()
        except Exception as error:
            self._keep(fate, f"could not be undone: {_said(error)}")
        fate.lifted_ns = time.monotonic_ns()
        try:
            observed, faults = clean_json(dict(fate.applied.observed()))
            if faults:
                raise ValueError(f"what was observed {faults[0].message}")
            fate.observed, fate.hit = observed, observed.get("hit") is True
        except Exception as error:
            fate.hit = False
            self._keep(fate, f"could not be observed: {_said(error)}")

    def _spare(self, fate: Fate) -> None:
        """Say, once, that one fault did not strike."""
        with self._changed:
            if fate.state is State.CALLED and fate.error is None:
                fate.error = "the run was over before it could strike"
            fate.state = State.OVER
            if fate.told:
                return
            fate.told = True
        try:
            reason = fate.spared()
            self._emit(FaultSpared(**self._named(fate), status="skipped", drawn=fate.drawn, reason=reason))
            self._note("fault_spared", {**self._row(fate), "drawn": fate.drawn})
        except Exception as error:
            self._keep(fate, f"could not be written down: {_said(error)}")

    @staticmethod
    def _keep(fate: Fate, what: str) -> None:
        fate.error = f"{fate.error}; {what}" if fate.error else what

    # -- threads ------------------------------------------------------------------------------------------------------

    def _enter(self) -> bool:
        with self._changed:
            if self._closed:
                return False
            self._busy.append(threading.get_ident())
            return True

    def _leave(self) -> None:
        with self._changed:
            self._busy.remove(threading.get_ident())
            self._changed.notify_all()

    def _later(self, delay_ms: int, job: Callable[[], None]) -> threading.Timer:
        timer = threading.Timer(delay_ms / 1000, job)
        timer.daemon = True
        with self._changed:
            if not self._closed:
                self._timers.append(timer)
                timer.start()
        return timer

    def _kept(self, fate: Fate, job: Callable[[Fate], None]) -> None:
        """Do something on a timer's thread, where nobody would hear of what it raises."""
        try:
            job(fate)
        except Exception as error:
            self._keep(fate, _said(error))

    # -- telling ------------------------------------------------------------------------------------------------------

    def _named(self, fate: Fate) -> dict[str, Any]:
        return {"profile": self.profile.id, "fault": fate.index, "action": fate.fault.action, "target": fate.fault.target}

    def _row(self, fate: Fate) -> dict[str, Any]:
        return {"fault": fate.index, "action": fate.fault.action, "target": fate.fault.target, "hit": fate.hit}

    def _lifted(self, fate: Fate) -> FaultLifted:
        return FaultLifted(
            **self._named(fate),
            status="failed" if fate.error else "ok",
            error_code="fault_not_undone" if fate.error else None,
            hit=bool(fate.hit),
            observed=dict(fate.observed),
        )


def _said(error: Exception) -> str:
    return error.message if isinstance(error, ExecGoError) else repr(error)
