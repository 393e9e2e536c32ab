"""What a cell's test report carries: strings that fit into JUnit's XML, and from which other reports are made."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_execgo.plan.result import BenchmarkResult

PREFIX = "execgo."

# Everything but XML 1.0's characters; and line breaks and tabs, which an attribute's value does not keep
_NOT_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f]")


def properties(result: BenchmarkResult) -> list[tuple[str, str]]:
    """Return a run's properties, `execgo.<name>` each: which cell, how it ended, every metric that applies, its result file.

    Rates are 0..1, times in ms; figures have at most six decimals and no exponent. Control characters are left out.
    """
    from pytest_execgo.observability.artifacts import RESULT  # deferred: `columns` is asked in runs that have no cell

    found: dict[str, object] = {
        "run_id": result.run_id,
        "cell_id": result.cell_id,
        "scenario": result.scenario_id,
        "framework": result.framework,
        "mode": result.mode,
        "chaos": result.chaos_profile,
        "repetition": result.repetition,
        "outcome": result.outcome,
        **result.metrics.model_dump(exclude_none=True),
        "result": PurePath(result.artifacts.run_dir) / RESULT,
    }
    return [(f"{PREFIX}{name}", _xml(_figure(value))) for name, value in found.items()]


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
