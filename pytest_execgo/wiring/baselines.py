"""What a sweep is held against: a baseline to compare it with, gates that it has to pass, a file to keep it in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pytest_execgo.benchmark.baseline import baseline_of, load_baseline, save_baseline
from pytest_execgo.benchmark.comparison import compare
from pytest_execgo.benchmark.gates import Condition, evaluate
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plan.statistics import Baseline, GateResult

if TYPE_CHECKING:
    from pytest_execgo.wiring.settings import Settings

_WAYS = ("compare", "save")
_EXAMPLE = "write save=FILE, compare=FILE, or both with a comma between them"


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of a sweep; without anything given, nothing."""

    gates: tuple[Condition, ...] = ()
    baseline: Baseline | None = None
    save: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the baseline to compare with; `UsageError` when that, or saving one, can't be done."""
        if settings.baseline_save is not None:
            _check_writable(settings.baseline_save)
        baseline = load_baseline(settings.baseline_compare) if settings.baseline_compare is not None else None
        return cls(settings.gates, baseline, settings.baseline_save)

    def judge(self, summary: BenchmarkSummary, unfinished: str | None) -> BenchmarkSummary:
        """Return the summary with its comparison and what became of the gates; `unfinished` says why a sweep is not at its end."""
        if self.baseline is not None:
            summary = summary.model_copy(update={"comparison": compare(self.baseline, summary)})
        return summary.model_copy(update={"gates": evaluate(self.gates, summary, unfinished=unfinished)})

    def unmet(self, reason: str) -> list[GateResult]:
        """Return every gate as not passed, for a sweep of which there is nothing to judge."""
        return [GateResult(condition=str(condition), passed=False, because=[reason]) for condition in self.gates]

    def keep(self, summary: BenchmarkSummary, unfinished: str | None) -> str | None:
        """Save a judged sweep as a baseline, where that is asked for, and say so; None where it isn't.

        A sweep that is not at its end, or failed a gate, replaces no baseline: the next one would be compared with less than
        what was demanded of this. `UsageError` when the file can't be written.
        """
        if self.save is None:
            return None
        failed = [gate.condition for gate in summary.gates if not gate.passed]
        if unfinished is not None or failed:
            return f"baseline not saved: {unfinished or 'failed ' + ', '.join(failed)}"
        save_baseline(baseline_of(summary), self.save)
        return f"baseline saved: {self.save}"


def parse_baseline(texts: Iterable[str], root: Path) -> dict[str, Path]:
    """Return the files to `compare` with and to `save` to; relative ones are beneath `root`. `UsageError` for anything else."""
    files: dict[str, Path] = {}
    for text in texts:
        way, equals, file = (part.strip() for part in text.partition("="))
        if not equals or not file:
            raise UsageError("bad_value", f"baseline: {text!r} can't be used", _EXAMPLE)
        if way not in _WAYS:
            error = UsageError.unknown("way", way, _WAYS)
            raise UsageError("bad_value", f"baseline: {text!r}: {error.message}", f"{error.hint}; {_EXAMPLE}")
        if way in files:
            raise UsageError("bad_value", f"baseline: {way} is given twice: {files[way]} and {file}", "name one file")
        files[way] = root / file
    return files


def beneath(folder: Path, text: str) -> str:
    """Return a baseline option's value with its relative files made absolute, beneath a folder."""
    parts = (part.partition("=") for part in text.split(","))
    return ",".join(f"{way}={folder / file.strip()}" if file.strip() else f"{way}{equals}" for way, equals, file in parts)


def unfinished(done: int, planned: int, *, broken_off: bool) -> str | None:
    """Say that a sweep is not at its end, and how far it came; None when nothing of it is left to do."""
    if broken_off:
        return f"the sweep was broken off: {done} of {planned} cells were run to their end"
    return f"{done} of {planned} cells were run to their end" if done < planned else None


def _check_writable(file: Path) -> None:
    hint = "name a file that you may write"
    if file.is_dir():
        raise UsageError("unwritable_baseline", f"baseline: can't save to {file}: it is a folder", hint)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        said = f"baseline: can't save to {file}: {error.strerror or error}"
        raise UsageError("unwritable_baseline", said, hint) from error
