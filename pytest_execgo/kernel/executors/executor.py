"""What an executor is to the scheduler: it is handed one attempt and answers with its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.task import TERMINAL_RUNS, Run, RunError, TaskSpec

DEADLINE = "context deadline exceeded"


class Outcome(NamedTuple):
    """How an attempt stands or ended; it failed when there is an `error`, whatever `status` says.

    `output` and `progress` are JSON text. `reported`: the executor got as far as having a result, so output and details
    show even when null.
    """

    status: str
    output: str | None = None
    reported: bool = True
    handle_id: str = ""
    started: Moment | None = None
    finished: Moment | None = None
    duration_ms: int = 0
    error: RunError | None = None
    progress: str | None = None

    def as_run(self, started_ns: int, finished_ns: int | None, attempt: int) -> Run:
        """Return what the task's record shows of this attempt; the executor's own times go before the scheduler's."""
        started = self.started or Moment(started_ns)
        finished = self.finished
        if finished is None and finished_ns is not None and self.status in TERMINAL_RUNS:
            finished = Moment(finished_ns)
        duration_ms = self.duration_ms
        if not duration_ms and finished is not None:
            duration_ms = max(0, (finished.ns - started.ns) // 1_000_000)
        return Run(
            self.status,
            self.handle_id,
            self.output,
            self.reported,
            started,
            finished,
            duration_ms,
            attempt,
            self.error,
            self.progress,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a task: `timeout` is in seconds (None: no limit), `report` takes what is known before the end.

    `cancelled` tells an executor that is interrupted whether its task was cancelled; otherwise the kernel stops.
    `interruptions` of the attempts so far were cut short by the end of a kernel: what they began may still go on elsewhere.
    """

    spec: TaskSpec
    number: int
    timeout: float | None
    report: Callable[[Outcome], None]
    cancelled: Callable[[], bool] = lambda: False
    interruptions: int = 0


class Executor(Protocol):
    """Runs the tasks of one type."""

    async def run(self, attempt: Attempt) -> Outcome:
        """Run one attempt to its end. Failures are outcomes, not exceptions; on cancellation nothing stays behind."""

    async def close(self) -> None:
        """Let go of what is still held; called once, after the last attempt."""


@runtime_checkable
class Immediate(Protocol):
    """An executor of attempts some of which are over at once: they wait for nothing and leave no trace."""

    def is_immediate(self, spec: TaskSpec) -> bool:
        """Tell whether a task's attempts are such."""

    def at_once(self, spec: TaskSpec, now_ns: int) -> Outcome:
        """Run such an attempt, which begins and ends at `now_ns`. Failures are outcomes, not exceptions."""


@runtime_checkable
class Withdrawing(Protocol):
    """An executor of attempts that go on elsewhere when the kernel is gone."""

    def withdraw(self, attempt: Attempt) -> None:
        """See to it that an earlier kernel's attempt, whose task is cancelled, is ended there; nobody waits for that."""


def timed_out(message: str = DEADLINE) -> RunError:
    """Return the error of an attempt that its task's timeout ended."""
    return RunError("timeout", message, True, "scheduler")


def failed(message: str) -> RunError:
    """Return the error of an attempt that failed on its own."""
    return RunError("external_failure", message, False, "executor")
