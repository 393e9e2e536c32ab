"""What judges a run, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document
from pytest_execgo.plan.model import StandardPlan

Outcome = Literal["passed", "failed", "error", "inconclusive", "skipped"]
Layer = Literal["planner", "adapter", "plan", "binding", "submit", "kernel", "runtime", "fixture", "verifier", "machine"]


class Verdict(Document):
    """A verifier's judgement: whether the world is as the scenario wants it, why, and the figures behind it."""

    passed: bool
    reasons: list[str] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, problems: list[str], **details: Any) -> Verdict:
        """Pass when there are no problems; otherwise fail with the problems as reasons."""
        return cls(passed=not problems, reasons=problems, details=details)


class Attribution(Document):
    """Where a failure came from: the layer, a machine-readable code, and the timeline events (`seq`) that show it."""

    layer: Layer
    code: str
    message: str
    retryable: bool = False
    evidence: list[int] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """A finished task as verifiers and bindings see it.

    `output` is the portable view (the same on every kernel and runtime); `envelope` the kernel's whole answer.
    `started_ns` and `finished_ns` are the kernel's own times of the last attempt, in ns since the epoch; None if it never ran.
    """

    stage_id: str
    task_id: str
    wire_id: str
    status: str
    output: Any
    started_ns: int | None
    finished_ns: int | None
    attempt: int
    envelope: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifierContext:
    """All that a verifier may look at: the plan, what its tasks left behind, and the world they changed.

    `tasks` is keyed by the plan's task ids; `expected` is the scenario's; `fixtures_url` reaches the fixtures service.
    """

    run_id: str
    seed: int
    scenario_dir: Path
    workspace: Path
    fixtures_url: str
    input: Mapping[str, Any] = field(repr=False)
    expected: Mapping[str, Any] = field(repr=False)
    plan: StandardPlan = field(repr=False)
    tasks: Mapping[str, TaskOutcome] = field(repr=False)


Verifier = Callable[[VerifierContext], Verdict]
