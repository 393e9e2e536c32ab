"""A sweep kept to compare others with: made from its summary, saved whole or not at all, read back with care."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps, read_json
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.statistics import Baseline, CellOutcome

VERSION = 1
_MARK = "execgo_baseline"
_REASONS, _REASON = 5, 300  # how many reasons of a cell are kept, and how many characters of each
_MAKE_ONE = "--execgo-baseline save=FILE writes one"


def baseline_of(summary: BenchmarkSummary) -> Baseline:
    """Return what of a sweep is kept: how each cell ended and why, what it ran on, its seed; nothing of interrupted runs."""
    ended = [run for run in summary.runs if not run.interrupted]
    ran = [run for run in ended if run.outcome != "skipped"] or ended
    names = sorted({name for run in ran for name in run.versions})
    return Baseline(
        sweep_id=summary.sweep_id,
        finished_at=summary.finished_at,
        backend=_all_of(run.backend for run in ran) or "none",
        versions={name: _all_of(run.versions[name] for run in ran if name in run.versions) for name in names},
        cells=[outcome_of(run) for run in ended],
    )


def outcome_of(run: BenchmarkResult) -> CellOutcome:
    """Return what a baseline keeps of one run: long reasons are cut."""
    judged = run.verdict.reasons if run.verdict is not None and not run.verdict.passed else []
    reasons = [*judged, *([run.error] if run.error else [])]
    return CellOutcome(
        cell_id=run.cell_id,
        scenario_id=run.scenario_id,
        framework=run.framework,
        mode=run.mode,
        chaos_profile=run.chaos_profile,
        repetition=run.repetition,
        seed=run.seed,
        sweep_seed=run.sweep_seed,
        outcome=run.outcome,
        reasons=[reason if len(reason) <= _REASON else reason[: _REASON - 1] + "…" for reason in reasons[:_REASONS]],
        wall_time_ms=run.metrics.wall_time_ms,
        recovery_time_ms=run.metrics.recovery_time_ms,
        plan_digest=run.plan_digest,
        outcome_digest=run.outcome_digest,
        violations=len(run.history.violations) if run.history is not None else 0,
    )


def save_baseline(baseline: Baseline, path: Path) -> None:
    """Write a baseline, whole or not at all; `UsageError` when it can't be written there."""
    try:
        write_atomic(path, dumps(baseline.model_dump(mode="json"), indent=1) + "\n")
    except OSError as error:
        said = f"the baseline can't be written to {path}: {error.strerror or error}"
        raise UsageError("unwritable_baseline", said, "name a file that you may write") from error


def load_baseline(path: Path) -> Baseline:
    """Read a baseline; `UsageError` names a file that is missing, no baseline, of a newer version, or damaged."""
    try:
        document = read_json(path)
    except UsageError as error:
        raise UsageError("unreadable_baseline", f"baseline {error.message}", _MAKE_ONE) from error
    if not isinstance(document, dict) or _MARK not in document:
        summary = isinstance(document, dict) and "groups" in document and "runs" in document
        said = "it is a sweep's summary" if summary else f"it has no {_MARK!r}"
        raise UsageError("not_a_baseline", f"{path} is not a baseline: {said}", _MAKE_ONE)
    version = document[_MARK]
    if isinstance(version, int) and version > VERSION:
        said = f"{path} is a baseline of version {version}; this pytest-execgo reads version {VERSION}"
        raise UsageError("newer_baseline", said, "a newer pytest-execgo wrote it: use that one, or save the baseline anew")
    try:
        return Baseline.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "$"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UsageError(
            "damaged_baseline", f"{path} is damaged: {where}: {first['msg']}{more}", "save the baseline anew"
        ) from error


def _all_of(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))
