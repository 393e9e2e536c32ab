"""Results and timelines for the tests of reports: ordinary ones, to be bent by each test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, GroupSummary, RunMetrics
from pytest_execgo.plan.verdict import Attribution, Verdict


def _result(**values: Any) -> BenchmarkResult:
    fields: dict[str, Any] = {
        "run_id": "run-1",
        "sweep_id": "sweep-1",
        "cell_id": "0123456789abcdef",
        "scenario_id": "codegen_exec",
        "framework": "langgraph",
        "mode": "replay",
        "chaos_profile": "none",
        "repetition": 0,
        "seed": 7,
        "outcome": "failed",
        "verdict": Verdict(passed=False, reasons=["tests: 2 of 5 failed"]),
        "attribution": Attribution(layer="runtime", code="exit_nonzero", message="exit status 1", evidence=[3]),
        "metrics": RunMetrics(wall_time_ms=120.5, critical_path_ms=60.0, overhead=2.01, plan_validity=1.0, retry_count=0),
        "artifacts": ArtifactManifest(run_dir="var/runs/run-1", files={"plan.json": "aa" * 32}),
        "started_at": "2030-01-01T00:00:00.000000000Z",
        "finished_at": "2030-01-01T00:00:01.000000000Z",
        "backend": "embedded",
        "versions": {"python": "3.11"},
    }
    return BenchmarkResult(**{**fields, **values})


def _event(seq: int, at_ms: float, event_type: str, **values: Any) -> dict[str, Any]:
    fields = {"run_id": "run-1", "timestamp": "t", "phase": "runtime", "status": "ok", "framework": "f", "scenario_id": "s"}
    return {**fields, "seq": seq, "monotonic_ns": 5_000_000_000 + int(at_ms * 1e6), "event_type": event_type, **values}


def _timeline() -> list[dict[str, Any]]:
    task: dict[str, Any] = {"stage_id": "build", "task_id": "compile"}
    error = {"attempt": 2, "error": "exit status 1"}
    return [
        _event(1, 0, "run_started", metadata={"seed": 7}),
        _event(2, 10, "stage_submitted", stage_id="build", metadata={"accepted": 1}),
        _event(3, 35.5, "task_observed", **task, status="failed", error_code="exit_nonzero", metadata=error),
        _event(4, 40, "stage_finished", stage_id="build", status="failed", metadata={"unfinished": []}),
        _event(5, 41, "run_finished", status="failed", metadata={"wall_time_ms": 41.0}),
    ]


def _group(**values: Any) -> GroupSummary:
    fields: dict[str, Any] = {
        "scenario_id": "codegen_exec",
        "framework": "langgraph",
        "mode": "replay",
        "chaos_profile": "none",
        "repetitions": 3,
        "passed": 3,
        "failed": 0,
        "errors": 0,
        "inconclusive": 0,
        "skipped": 0,
        "pass_rate": 1.0,
        "wall_time_ms": 914.2,
        "critical_path_ms": 321.0,
        "overhead": 2.85,
        "determinism_drift": 0.0,
    }
    return GroupSummary(**{**fields, **values})


def _summary(groups: list[GroupSummary], runs: list[BenchmarkResult], **totals: int) -> BenchmarkSummary:
    zero = dict.fromkeys(("passed", "failed", "error", "inconclusive", "skipped", "cells"), 0)
    return BenchmarkSummary(
        sweep_id="sweep-1",
        started_at="2030-01-01T00:00:00Z",
        finished_at="2030-01-01T00:00:09Z",
        wall_time_ms=8200.0,
        totals={**zero, **totals},
        groups=groups,
        runs=runs,
    )


@pytest.fixture
def make_result() -> Callable[..., BenchmarkResult]:
    """Build a failed run's result; keywords replace fields."""
    return _result


@pytest.fixture
def make_event() -> Callable[..., dict[str, Any]]:
    """Build a timeline row from its seq, its time in ms and its type; keywords add fields."""
    return _event


@pytest.fixture
def timeline() -> list[dict[str, Any]]:
    """Return the timeline of a run whose one stage failed."""
    return _timeline()


@pytest.fixture
def make_group() -> Callable[..., GroupSummary]:
    """Build a group of three passed repetitions; keywords replace fields."""
    return _group


@pytest.fixture
def make_summary() -> Callable[..., BenchmarkSummary]:
    """Build a sweep's summary from groups, runs and totals."""
    return _summary


HOSTILE = [
    "a | b",
    "first\nsecond\r\nthird\x0bfourth\u2028fifth",
    "`code` ```fence``` ~~~",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "&lt;script&gt; &amp; &#60;b&#62;",
    "\\| \\` \\<b> trailing \\",
    "[click](javascript:alert(1)) ![image](http://x.invalid/y.png)",
    "**bold** _it_ __em__ $x$",
    "\x1b[31mred\x07\x00\x9b",
    "\u202eevil\u2066",
    "\ud800 lone",
    "--- | ---",
    "# heading",
    "- item",
    "1. one",
    "2) two",
    "===",
    "|---|---|\n| x | y |",
    "\n\n\n",
    "",
]


@pytest.fixture(params=HOSTILE, ids=[f"hostile{index}" for index in range(len(HOSTILE))])
def hostile(request: pytest.FixtureRequest) -> str:
    """Return one of the strings that try to break out of where they are put."""
    text: str = request.param
    return text
