"""A sweep beside a baseline: which cells moved, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pytest_execgo.benchmark.baseline import baseline_of
from pytest_execgo.benchmark.exact_tests import ALPHA, DETECTABLE, fisher, fisher_power, holm, mcnemar, mcnemar_power
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plan.statistics import Baseline, CellChange, CellOutcome, Comparison, ComparisonTest

Pair = tuple[CellOutcome, CellOutcome]

ENOUGH_PAIRS = 6
"""Fewer pairs can't reach p <= 0.05 in McNemar's test, whatever they show; such a scenario or framework gets no test of its own."""
ENOUGH_A_SIDE = 4
"""As much for each side of Fisher's test."""
_AXES: tuple[tuple[str, Callable[[CellOutcome], str]], ...] = (
    ("scenario", lambda cell: cell.scenario_id),
    ("framework", lambda cell: cell.framework),
    ("mode", lambda cell: cell.mode),
    ("chaos", lambda cell: cell.chaos_profile),
)
_RANK = {"passed": 0, "failed": 1, "error": 2, "inconclusive": 3, "skipped": 4}
_KINDS = ("regression", "other", "improvement", "added", "removed")


@dataclass(slots=True)
class _Sides:
    """The cells of two sweeps, put together."""

    pairs: list[Pair] = field(default_factory=list)
    added: list[CellOutcome] = field(default_factory=list)
    removed: list[CellOutcome] = field(default_factory=list)
    skipped_now: int = 0
    skipped_before: int = 0


@dataclass(frozen=True, slots=True)
class _Counts:
    """What one test is about: (passed, ran) of both sides; `moved` is (passed only before, passed only after) of pairs."""

    what: str
    before: tuple[int, int]
    after: tuple[int, int]
    moved: tuple[int, int] | None = None

    @property
    def p(self) -> float:
        return fisher(self.before, self.after) if self.moved is None else mcnemar(*self.moved)

    def power(self, alpha: float, drop: float) -> float:
        ran, rate = self.before[1], self.before[0] / self.before[1]
        if self.moved is None:
            return fisher_power(ran, self.after[1], rate, alpha=alpha, drop=drop)
        return mcnemar_power(ran, min(self.moved) / ran, alpha=alpha, drop=drop)


def compare(baseline: Baseline, summary: BenchmarkSummary) -> Comparison:
    """Put a sweep beside a baseline: paired by cell, tested pair by pair (McNemar), cells of other seeds or repetitions by Fisher.

    Errors and inconclusive runs count as not passed. A cell that was skipped on either side is in no pair; `notes` say how many
    were, and in what the two sweeps differ beside their outcomes.
    """
    now = baseline_of(summary)
    sides = _put_together(baseline.cells, now.cells)
    changes = [*_moved(sides.pairs)]
    changes += [CellChange(kind="added", after=cell) for cell in sides.added]
    changes += [CellChange(kind="removed", before=cell) for cell in sides.removed]
    changes.sort(key=lambda change: (_KINDS.index(change.kind), *_place(change.after or change.before)))
    return Comparison(
        baseline_sweep=baseline.sweep_id,
        paired=len(sides.pairs),
        unpaired=len(sides.added) + len(sides.removed) + sides.skipped_now + sides.skipped_before,
        regressions=sum(change.kind == "regression" for change in changes),
        improvements=sum(change.kind == "improvement" for change in changes),
        changes=changes,
        tests=_tests([*_paired_counts(sides.pairs), *_unpaired_counts(sides.removed, sides.added)]),
        notes=[*_differences(baseline, now, sides.pairs), *_left_out(sides)],
    )


def _put_together(before: Iterable[CellOutcome], after: Iterable[CellOutcome]) -> _Sides:
    """Pair cells by their identity. Of a cell that was run several times, like outcomes are put together first."""
    both: dict[str, tuple[list[CellOutcome], list[CellOutcome]]] = {}
    for side, cells in enumerate((before, after)):
        for cell in cells:
            both.setdefault(cell.cell_id, ([], []))[side].append(cell)
    sides = _Sides()
    for old, new in both.values():
        ran, runs = ([cell for cell in cells if cell.outcome != "skipped"] for cells in (old, new))
        pairs = _like_first(ran, runs)
        sides.pairs += pairs
        used = {id(cell) for pair in pairs for cell in pair}
        left, came = ([cell for cell in cells if id(cell) not in used] for cells in (ran, runs))
        if len(new) > len(runs):
            sides.skipped_now += len(left)
        else:
            sides.removed += left
        if len(old) > len(ran):
            sides.skipped_before += len(came)
        else:
            sides.added += came
    return sides


def _like_first(before: Sequence[CellOutcome], after: Sequence[CellOutcome]) -> list[Pair]:
    if len(before) < 2 and len(after) < 2:
        return list(zip(before, after, strict=False))
    pairs: list[Pair] = []
    rest = sorted(after, key=lambda cell: _RANK[cell.outcome])
    unlike: list[CellOutcome] = []
    for cell in sorted(before, key=lambda cell: _RANK[cell.outcome]):
        like = next((other for other in rest if other.outcome == cell.outcome), None)
        if like is None:
            unlike.append(cell)
        else:
            rest.remove(like)
            pairs.append((cell, like))
    return [*pairs, *zip(unlike, rest, strict=False)]


def _moved(pairs: Iterable[Pair]) -> Iterable[CellChange]:
    for before, after in pairs:
        if before.outcome == after.outcome:
            continue
        if before.outcome == "passed":
            yield CellChange(kind="regression", before=before, after=after)
        elif after.outcome == "passed":
            yield CellChange(kind="improvement", before=before, after=after)
        else:
            yield CellChange(kind="other", before=before, after=after)


def _place(cell: CellOutcome | None) -> tuple[str, str, str, str, int]:
    if cell is None:
        raise ValueError("a change has a cell before or after")
    return (cell.scenario_id, cell.framework, cell.mode, cell.chaos_profile, cell.repetition)


def _paired_counts(pairs: Sequence[Pair]) -> list[_Counts]:
    """Return what is tested in pairs: all of them, and each scenario, framework, mode and chaos profile with enough of its own."""
    if not pairs:
        return []
    counts = [_paired("all pairs", pairs)]
    for axis, name in _AXES:
        parts: dict[str, list[Pair]] = {}
        for pair in pairs:
            parts.setdefault(name(pair[0]), []).append(pair)
        if len(parts) > 1:
            counts += [_paired(f"{axis} {key}", part) for key, part in sorted(parts.items()) if len(part) >= ENOUGH_PAIRS]
    return counts


def _paired(what: str, pairs: Sequence[Pair]) -> _Counts:
    ends = [(before.outcome == "passed", after.outcome == "passed") for before, after in pairs]
    lost, won = ends.count((True, False)), ends.count((False, True))
    kept = ends.count((True, True))
    return _Counts(what, (kept + lost, len(ends)), (kept + won, len(ends)), (lost, won))


def _unpaired_counts(removed: Sequence[CellOutcome], added: Sequence[CellOutcome]) -> list[_Counts]:
    """Return what is tested without pairs: cells of other seeds or repetitions, where both sweeps ran such of the same axes."""
    groups = {_group(cell) for cell in removed} & {_group(cell) for cell in added}
    before, after = ([cell for cell in cells if _group(cell) in groups] for cells in (removed, added))
    if not groups:
        return []
    counts = [_unpaired("cells not in pairs", before, after)]
    for axis, name in _AXES:
        keys = sorted({name(cell) for cell in before})
        for key in keys if len(keys) > 1 else ():
            old, new = ([cell for cell in cells if name(cell) == key] for cells in (before, after))
            if min(len(old), len(new)) >= ENOUGH_A_SIDE:
                counts.append(_unpaired(f"{axis} {key}, not in pairs", old, new))
    return counts


def _group(cell: CellOutcome) -> tuple[str, str, str, str]:
    return _place(cell)[:4]


def _unpaired(what: str, before: Sequence[CellOutcome], after: Sequence[CellOutcome]) -> _Counts:
    passed, passed_after = (sum(cell.outcome == "passed" for cell in cells) for cells in (before, after))
    return _Counts(what, (passed, len(before)), (passed_after, len(after)))


def _tests(counts: Sequence[_Counts]) -> list[ComparisonTest]:
    """Make the tests. A power is that at the strictest level that Holm's step can ask for."""
    values = [count.p for count in counts]
    tests = []
    for count, p, adjusted in zip(counts, values, holm(values), strict=True):
        drop = min(DETECTABLE, count.before[0] / count.before[1])
        tests.append(
            ComparisonTest(
                what=count.what,
                method="fisher_exact" if count.moved is None else "mcnemar_exact",
                before=count.before,
                after=count.after,
                p=p,
                p_adjusted=adjusted,
                alpha=ALPHA,
                power=count.power(ALPHA / len(counts), drop) if drop else None,
                detectable=drop or None,
            )
        )
    return tests


def _differences(before: Baseline, now: Baseline, pairs: Sequence[Pair]) -> Iterable[str]:
    """Say in what else the two sweeps differ."""
    if before.backend != now.backend:
        yield f"the backend was {before.backend}, now it is {now.backend}"
    for name in sorted(before.versions.keys() | now.versions.keys()):
        old, new = before.versions.get(name), now.versions.get(name)
        if old != new:
            yield f"{name} was {old or 'not there'}, now it is {new or 'not there'}"
    seeds, seeds_now = (sorted({_seed(cell) for cell in sweep.cells}) for sweep in (before, now))
    if seeds and seeds_now and seeds != seeds_now:
        yield f"the sweep's seed was {' and '.join(seeds)}, now it is {' and '.join(seeds_now)}: such cells make no pair"
    reseeded = sum(old.seed != new.seed for old, new in pairs)
    if reseeded:
        yield f"ran with another seed, since the scenario's own has changed: {_cells(reseeded)}"


def _seed(cell: CellOutcome) -> str:
    return "each scenario's own" if cell.sweep_seed is None else str(cell.sweep_seed)


def _left_out(sides: _Sides) -> Iterable[str]:
    """Say which cells are in no pair."""
    for said, count in (
        ("not run this time, which is no regression: {} of the baseline", len(sides.removed)),
        ("not in the baseline: {}", len(sides.added)),
        ("skipped now, but not in the baseline, and so not compared: {}", sides.skipped_now),
        ("skipped in the baseline, but not now, and so not compared: {}", sides.skipped_before),
    ):
        if count:
            yield said.format(_cells(count))


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"
