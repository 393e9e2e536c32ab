"""What is done about a failure: tried again as long as that can help and the scenario's policy allows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable
from pytest_execgo.plan.events import Event, RecoveryDecided
from pytest_execgo.plan.scenario import RecoveryPolicy
from pytest_execgo.plan.stack import Service
from pytest_execgo.plan.verdict import Attribution
from pytest_execgo.runner.guard import ServiceGuard

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.5  # seconds between tries of a kernel that runs and does not answer


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to go on, and why."""

    go_on: bool
    reason: str


class Recovery:
    """One run's recovery. `stopped` raises when the run was told to stop."""

    def __init__(
        self, policy: RecoveryPolicy, guard: ServiceGuard, emit: Callable[[Event], int], stopped: Callable[[], None]
    ) -> None:
        self._policy = policy
        self._guard = guard
        self._emit = emit
        self._stopped = stopped
        self._since: float | None = None

    def after_failure(self, stage_id: str, attempt: int, failure: Attribution, *, ended: bool) -> bool:
        """Decide whether a stage that failed is tried again; say so in the timeline. `ended`: nothing of the attempt runs on."""
        decision = self._judge(attempt, failure, ended)
        if decision.go_on:
            self._guard.settle()  # what was lost shall be back before the next attempt
            if self._guard.failure is not None:
                decision = Decision(False, f"a service could not be brought back: {self._guard.failure.message}")
        self._say(stage_id, "retry_stage" if decision.go_on else "give_up", failure.code, failure.layer, attempt, decision)
        return decision.go_on

    def _judge(self, attempt: int, failure: Attribution, ended: bool) -> Decision:
        policy = self._policy
        if not failure.retryable:
            return Decision(False, "trying again can't help")
        if failure.code in policy.give_up_on:
            return Decision(False, f"the scenario gives up on {failure.code}")
        if attempt >= policy.stage_attempts:
            return Decision(False, f"all {policy.stage_attempts} attempts are spent")
        if not ended:
            return Decision(False, "what the attempt began can't be ended, or must run once alone, and might run twice")
        return self._in_time()

    def _in_time(self) -> Decision:
        now = time.monotonic()
        self._since = self._since or now
        spent = (now - self._since) * 1000
        if spent > self._policy.budget_ms:
            return Decision(False, f"the budget of {self._policy.budget_ms} ms for recovery is spent")
        return Decision(True, "it may have passed")

    def through(self, call: Callable[[], T], stage_id: str) -> T:
        """Return what a call to the kernel gives, tried again while the kernel is away and the policy allows it.

        The call must be one that may be repeated. `KernelUnreachable`, or `KernelRefused` with a 5xx, when it never got through.
        """
        pause = _FIRST_PAUSE
        told = False
        while True:
            try:
                return call()
            except (KernelUnreachable, KernelRefused) as error:
                if isinstance(error, KernelRefused) and error.status_code < 500:
                    raise
                self._stopped()
                decision = self._in_time()
                if isinstance(error, KernelUnreachable) and not self._guard.alive(Service.KERNEL):
                    decision = Decision(False, "the kernel is gone, and nobody here can bring it back")
                restarts = self._guard.restarts
                if decision.go_on and not self._guard.settle():
                    decision = Decision(False, "the kernel could not be brought back")
                if not told or not decision.go_on:
                    action = "resume_stage" if decision.go_on else "give_up"
                    self._say(stage_id, action, error.code, "kernel", 0, decision)
                    told = True
                if not decision.go_on:
                    raise
                if self._guard.restarts == restarts:
                    time.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)

    def _say(self, stage_id: str, action: str, code: str, layer: str, attempt: int, decision: Decision) -> None:
        status = "ok" if decision.go_on else "failed"
        self._emit(
            RecoveryDecided(
                stage_id=stage_id, status=status, action=action, code=code, layer=layer, attempt=attempt, reason=decision.reason
            )
        )
