"""`SandboxExecutor`: code in, a bounded and truthful result out, within one configuration (seed 002)."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from pytest_execgo.plan.confinement import Confinement
from pytest_execgo.plan.sandbox import ExecutionRequest, ExecutionResult, ExecutorStats, SandboxConfig
from pytest_execgo.sandbox.backend import TIMED_OUT, ConfinementBackend, ExecutionBackend, mounts_of
from pytest_execgo.sandbox.choose import confinement_for
from pytest_execgo.sandbox.request_check import check_request


class SandboxExecutor:
    """Executes requests in a sandbox; a context manager that cleans up at its end. Any number of threads may use it.

    `backend` is a mode's `Confinement` or an `ExecutionBackend`; without one it is the configuration's mode, which for
    `native` refuses, since that mode has to be enabled: `NativeConfinement(enabled=True)`.
    """

    def __init__(self, config: SandboxConfig | None = None, backend: ExecutionBackend | Confinement | None = None) -> None:
        self.config = config or SandboxConfig()
        mounts_of(self.config)
        chosen = backend or confinement_for(self.config.mode)
        self.backend: ExecutionBackend = chosen if isinstance(chosen, ExecutionBackend) else ConfinementBackend(chosen)
        self._lock = threading.Lock()
        self._stats = ExecutorStats()

    def __enter__(self) -> SandboxExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cleanup()

    @property
    def stats(self) -> ExecutorStats:
        """What it has done so far. What timed out or could not be confined has failed, too; a bad request is no execution."""
        with self._lock:
            return self._stats

    @property
    def isolation(self) -> dict[str, Any]:
        """By what the last code was confined: `mode`, and what the mode tells beside (`rung` in mode native)."""
        return getattr(self.backend, "isolation", {"mode": self.backend.name})

    def execute(self, request: ExecutionRequest) -> ExecutionResult:
        """Run code to its end and return how it ended, whatever it did.

        `BadRequest` (a `UsageError`) when the request can't or may not be run, with every reason; `Unsupported` for a
        language that the mode can't run here; `SandboxError` when the code could not be confined. In all three nothing of it
        has run.
        """
        check_request(request, self.config)
        started = time.monotonic()
        try:
            result = self.backend.execute(request, self.config)
        except BaseException:
            self._count(time.monotonic() - started, success=False, timed_out=False)
            raise
        timed_out = not result.success and (result.error or "").startswith(TIMED_OUT)
        self._count(result.duration, success=result.success, timed_out=timed_out)
        return result

    def cleanup(self) -> None:
        """Remove whatever the sandbox has left on the machine. Safe to call twice."""
        self.backend.cleanup()

    def _count(self, duration: float, *, success: bool, timed_out: bool) -> None:
        with self._lock:
            before = self._stats
            self._stats = ExecutorStats(
                total_executions=before.total_executions + 1,
                success_executions=before.success_executions + success,
                failed_executions=before.failed_executions + (not success),
                timeout_executions=before.timeout_executions + timed_out,
                total_duration=before.total_duration + duration,
            )
