"""What pytest prints for us, from results that are already known."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.observability.artifacts import TIMELINE, read_lines
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.failure import failure_text
from pytest_execgo.reporting.text import one_line

_LOG_WIDTH = 120


def short_path(path: Path, start: Path) -> str:
    """Return a path relative to where pytest was called, if it is beneath it."""
    return str(path.relative_to(start)) if path.is_relative_to(start) else str(path)


def width_of(config: pytest.Config) -> int:
    """Return how wide what we print may be: as wide as the terminal, or what a log can well show where there is none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return int(config.get_terminal_writer().fullwidth) if reporter is not None and reporter.isatty else _LOG_WIDTH


def explain(result: BenchmarkResult, command: str, verbosity: int = 0) -> str:
    """Return what a failing cell prints: verdict, attribution, last events, artifacts, the command that runs it again.

    `verbosity` is pytest's. A timeline that can't be read back is said beneath it: an error in here would end pytest's whole run.
    """
    try:
        return failure_text(result, read_lines(Path(result.artifacts.run_dir) / TIMELINE), command, verbosity)
    except (OSError, UsageError) as error:
        return f"{failure_text(result, [], command, verbosity)}\n{one_line(error)}"
