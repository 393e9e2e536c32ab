"""What carries one execution of a graph or a flow (seed 003), and what an executor is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Protocol

from pydantic import Field

from pytest_execgo.plan.base import Document


class ExecutorBackend(StrEnum):
    """The built-in executors."""

    GRAPH = "graph"
    FLOW = "flow"


class ExecutionMode(StrEnum):
    """Where the work is done: on this machine, on AWS Batch, on a Kubernetes cluster."""

    LOCAL = "local"
    BATCH = "batch"
    REMOTE = "remote"


class ExecutionStatus(StrEnum):
    """How far an execution is. `pending`: not begun, or a graph that waits for an answer and goes on under the same thread."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExecutionContext(Document):
    """Identity, configuration and limits of one execution; `timeout_seconds` None means no limit.

    `run_id` names this execution alone, `thread_id` what goes on from one execution to the next. `config` is the graph's,
    `metadata` comes back in the result. `mode` is taken as text too.
    """

    run_id: str
    thread_id: str
    mode: Annotated[ExecutionMode, Field(strict=False)] = ExecutionMode.LOCAL
    config: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None


class ExecutionResult(Document):
    """What came of an execution. Times are seconds since the epoch; `error` is set when it neither succeeded nor waits.

    `metadata` holds the context's, and what the executor has to say beside the output (docs/executors.md).
    """

    backend: ExecutorBackend | str
    run_id: str
    status: ExecutionStatus
    output: Any = None
    error: str | None = None
    started_at: float
    finished_at: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def duration_seconds(self) -> float | None:
        """How long it took, in seconds; None while it runs."""
        return None if self.finished_at is None else self.finished_at - self.started_at


class Executor(Protocol):
    """Executes targets of one kind."""

    async def execute(self, target: Any, inputs: Any, context: ExecutionContext) -> ExecutionResult:
        """Execute `target` with `inputs`; what it raises is a result of status `failed`, a caller's mistake an `ExecGoError`."""
        ...
