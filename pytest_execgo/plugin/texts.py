"""What pytest prints for us, from results that are already known."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting import columns
from pytest_execgo.reporting.failure import failure_text
from pytest_execgo.wiring.matrix import selector
from pytest_execgo.wiring.settings import Settings


def short_path(path: Path, start: Path) -> str:
    """Return a path relative to where pytest was called, if it is beneath it."""
    return str(path.relative_to(start)) if path.is_relative_to(start) else str(path)


def explain(result: BenchmarkResult, rerun: str) -> str:
    """Return what a failing cell prints: verdict, attribution, last events, artifacts, the command that runs it again."""
    timeline = Path(result.artifacts.run_dir) / "timeline.jsonl"
    rows = [json.loads(line) for line in timeline.read_text("utf-8").splitlines()] if timeline.is_file() else []
    return failure_text(result, rows, rerun)


def rerun_command(result: BenchmarkResult, settings: Settings) -> str:
    """Return the command that runs one cell again as it was run."""
    words = ["pytest", "--execgo-matrix", f"--execgo-cell={selector(result.cell)}"]
    if settings.backend != "embedded":
        words.append(f"--execgo-backend={settings.backend}")
    for option, value in (
        ("seed", settings.seed),
        ("bin", settings.bin),
        ("url", settings.url),
        ("runtime-url", settings.runtime_url),
        ("fixtures-url", settings.fixtures_url),
        ("out", settings.out if settings.out != settings.root / "var/runs" else None),
    ):
        if value is not None:
            words.append(f"--execgo-{option}={value}")
    return shlex.join(words)


def add_html_headers(cells: list[str]) -> None:
    """Put our columns before pytest-html's last one (the links)."""
    cells[-1:-1] = columns.headers()


def add_html_cells(properties: Sequence[tuple[str, Any]], cells: list[str]) -> None:
    """Put our values where the headers are; a deleted row has no cells."""
    if cells:
        cells[-1:-1] = columns.cells(properties)
