"""Several sweeps taken together as one: the parts that machines, or jobs, each ran of a matrix."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.wiring.found_runs import MERGE, SUMMARY, FoundRuns, MergedSweep, MergeFile, earlier_summary, find_runs, no_runs
from pytest_execgo.wiring.reports import never_ran, places, span_of, write_reports
from pytest_execgo.wiring.sweep_file import SWEEP

_SHOWN = 5


@dataclass(slots=True)
class Source:
    """One sweep that goes into a merge."""

    found: FoundRuns
    sweep_id: str
    results: list[BenchmarkResult]
    earlier: BenchmarkSummary | None
    unrun: list[BenchmarkResult] = field(default_factory=list)
    dropped: int = 0
    """How many of its cells another sweep stands for."""

    @property
    def planned(self) -> int | None:
        """How many cells it was to run, less those that another sweep stands for; None where that is not known."""
        planned = self.earlier.planned if self.earlier is not None else None
        return planned - self.dropped if planned is not None else None

    def described(self) -> MergedSweep:
        """Describe what of it goes into the merge."""
        backends = sorted({run.backend for run in self.results})
        folder = str(self.found.folder.resolve())
        return MergedSweep(folder=folder, sweep_id=self.sweep_id, runs=len(self.results), backends=backends)

    def keep(self, results: list[BenchmarkResult], unrun: list[BenchmarkResult]) -> None:
        """Keep these of its cells."""
        self.dropped += len(self.results) + len(self.unrun) - len(results) - len(unrun)
        self.results, self.unrun = results, unrun

    def __str__(self) -> str:
        return f"{self.found.folder} (sweep {self.sweep_id})"


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge made: the summary of all, what it is made of, its reports, what could not be in it."""

    summary: BenchmarkSummary
    file: MergeFile
    reports: list[Path]
    left_out: list[str]


def merge(
    folders: Sequence[Path],
    out: Path,
    sweep_id: str,
    *,
    sweeps: Sequence[str] = (),
    prefer_latest: bool = False,
    link: bool = False,
) -> Merged:
    """Take the latest sweep of each folder (or `sweeps`, from whichever folder has them) together, in a new folder of its own.

    The runs' folders are copied, or their files hard-linked with `link`, with the logs of their stacks; reports are made of all
    of them. A cell that two sweeps ran is refused, unless `prefer_latest`: then the run that ended last stands for it.
    `UsageError` for that, for folders without runs, and for an `out` that is not empty. `out` is there whole or not at all.
    """
    _check_out(out)
    found = [find_runs(folder) for folder in _distinct(folders)]
    sources = _sources(found, sweeps)
    notes = [*_settle(sources, prefer_latest), *_differences(sources)]
    about = MergeFile(
        sweep_id=sweep_id,
        merged_at=rfc3339(),
        sources=[source.described() for source in sources],
        runs=[run.run_id for source in sources for run in source.results],
        notes=notes,
    )
    making = out.parent / f".{out.name}.{secrets.token_hex(4)}"
    try:
        for source in sources:
            _take(source, making, link)
        summary = _summary(sources, about, out)
        write_atomic(making / "sweeps" / sweep_id / MERGE, dumps(about.model_dump(mode="json"), indent=2) + "\n")
        reports = write_reports(summary, making, places(making, sweep_id, latest=True))
        making.rename(out)  # an empty folder gives way
    except OSError as error:
        raise _cannot(error, out, link) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return Merged(summary, about, [out / report.relative_to(making) for report in reports], _left_out(found, sources))


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("not_empty", f"{out} is there already, and not empty", "name a new folder with --out")


def _left_out(found: Sequence[FoundRuns], sources: Sequence[Source]) -> list[str]:
    lines = (line for one in found for line in one.problems)
    return list(dict.fromkeys([*lines, *(line for source in sources for line in source.found.left_out(source.sweep_id))]))


def _distinct(folders: Sequence[Path]) -> list[Path]:
    places = list(dict.fromkeys(folder.resolve() for folder in folders))
    if len(places) < len(folders):
        raise UsageError("same_folder", "a folder is named twice", "name each folder once")
    return places


def _sources(found: Sequence[FoundRuns], sweeps: Sequence[str]) -> list[Source]:
    if not sweeps:
        return [_source(one, one.chosen(None)) for one in found]
    known = [sweep_id for one in found for sweep_id in one.sweep_ids()]
    for sweep_id in sweeps:
        if sweep_id not in known:
            raise UsageError.unknown("sweep", sweep_id, known)
    return [_source(one, sweep_id) for one in found for sweep_id in one.sweep_ids() if sweep_id in sweeps]


def _source(found: FoundRuns, sweep_id: str) -> Source:
    results = found.of_sweep(sweep_id)
    if not results:
        raise no_runs(found.folder)
    earlier = earlier_summary(found.folder, sweep_id, found.problems)
    return Source(found, sweep_id, results, earlier, never_ran(results, earlier))


# -- what is in several of them ---------------------------------------------------------------------------------------------


def _settle(sources: Sequence[Source], prefer_latest: bool) -> list[str]:
    """Leave each cell in one sweep only; return what was left out. `UsageError` where two ran it and none is preferred."""
    holders: dict[str, list[Source]] = {}
    for source in sources:
        for cell_id in dict.fromkeys(run.cell_id for run in source.results):
            holders.setdefault(cell_id, []).append(source)
    twice = {cell_id: where for cell_id, where in holders.items() if len(where) > 1}
    if twice and not prefer_latest:
        raise _twice(twice)
    notes = []
    for cell_id, where in twice.items():
        kept = max(where, key=lambda source: max(run.finished_at for run in source.results if run.cell_id == cell_id))
        cell = next(run.cell for run in kept.results if run.cell_id == cell_id)
        for source in where:
            if source is not kept:
                source.keep([run for run in source.results if run.cell_id != cell_id], source.unrun)
        notes.append(f"{cell}: ran in {len(where)} sweeps; the run of {kept.sweep_id} stands, since it ended last")
    _settle_unrun(sources, set(holders))
    return notes


def _settle_unrun(sources: Sequence[Source], seen: set[str]) -> None:
    """Keep of the cells that never ran those that ran nowhere, once."""
    for source in sources:
        source.keep(source.results, [run for run in source.unrun if run.cell_id not in seen])
        seen |= {run.cell_id for run in source.unrun}


def _twice(twice: dict[str, list[Source]]) -> UsageError:
    shown = []
    for cell_id, where in list(twice.items())[:_SHOWN]:
        cell = next(run.cell for run in where[0].results if run.cell_id == cell_id)
        shown.append(f"\n  {cell}: {' and '.join(map(str, where))}")
    more = f"\n  … and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
    count = f"{len(twice)} cells were" if len(twice) > 1 else "a cell was"
    return UsageError(
        "cells_twice",
        f"{count} run by more than one of the sweeps:{''.join(shown)}{more}",
        "merge parts of one matrix; --prefer latest takes the run that ended last, `report compare` puts two sweeps side by side",
    )


def _differences(sources: Sequence[Source]) -> Iterator[str]:
    """Say in what the sweeps differ that should be the same in parts of one matrix."""
    yield from _differ("backend", sources, lambda run: run.backend)
    yield from _differ(
        "seed of the sweep", sources, lambda run: "each scenario's own" if run.sweep_seed is None else str(run.sweep_seed)
    )
    names = sorted({name for source in sources for run in source.results for name in run.versions})
    for name in names:
        yield from _differ(f"version of {name}", sources, lambda run, name=name: run.versions.get(name))  # type: ignore[misc]


def _differ(what: str, sources: Sequence[Source], value: Callable[[BenchmarkResult], str | None]) -> Iterator[str]:
    values: dict[str, list[str]] = {}
    for source in sources:
        for found in sorted({text for run in source.results if (text := value(run)) is not None}):
            values.setdefault(found, []).append(source.sweep_id)
    if len(values) > 1:
        told = "; ".join(f"{found} in {_listed(where)}" for found, where in sorted(values.items()))
        yield f"the {what} differs: {told}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


# -- the new folder ---------------------------------------------------------------------------------------------------------


def _summary(sources: Sequence[Source], about: MergeFile, out: Path) -> BenchmarkSummary:
    """Summarise all runs. The sweeps' own wall times are added up: it is what the machines were busy for."""
    spans = [span_of(source.results, source.earlier) for source in sources if source.results]
    runs = [_at(run, out.resolve() / run.run_id) for source in sources for run in source.results]
    runs += (run for source in sources for run in source.unrun)
    planned = [source.planned for source in sources]
    return summarise(
        runs,
        sweep_id=about.sweep_id,
        started_at=min(started for started, _, _ in spans),
        finished_at=max(finished for _, finished, _ in spans),
        wall_time_ms=sum(took for _, _, took in spans),
        planned=None if None in planned else sum(count for count in planned if count is not None),
    )


def _at(run: BenchmarkResult, path: Path) -> BenchmarkResult:
    return run.model_copy(update={"artifacts": run.artifacts.model_copy(update={"run_dir": str(path)})})


def _take(source: Source, making: Path, link: bool) -> None:
    """Copy, or link, a sweep's runs, the logs of their stacks, and what it says of itself."""
    copy = os.link if link else shutil.copy2
    for run in source.results:
        shutil.copytree(run.artifacts.run_dir, making / run.run_id, symlinks=True, copy_function=copy, ignore=_special)
    folder = source.found.folder
    merged = (folder / "sweeps" / source.sweep_id / MERGE).is_file()  # then what its parts left is there under their own ids
    which = "*" if merged else source.sweep_id
    logs = folder.glob(f"stacks/{which if merged else f'{which}-*'}/*.log")
    own = (file for name in (SWEEP, MERGE, SUMMARY, "benchmark-summary.md") for file in folder.glob(f"sweeps/{which}/{name}"))
    for file in [*logs, *own]:
        if file.is_file() and not file.is_symlink():
            target = making / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(file, target)


def _special(folder: str, names: Iterable[str]) -> set[str]:
    """Name what is neither file nor folder nor link: a FIFO that a task left can't be copied, and would be waited for."""
    paths = ((name, Path(folder, name)) for name in names)
    return {name for name, path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())}


def _cannot(error: OSError, out: Path, link: bool) -> UsageError:
    said = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):  # copytree gathers all, as texts
        said = str(error.args[0][0][2])
    hint = "leave --link out: files can't be linked over file systems" if link and os.strerror(errno.EXDEV) in said else ""
    return UsageError("not_merged", f"{out} was not made: {said}", hint)
