"""`run`: one cell, without pytest."""

from __future__ import annotations

from pytest_execgo.cli.matrix import list_cells, parse, run_all
from pytest_execgo.core.errors import UsageError
from pytest_execgo.wiring.sweep import Sweep


def main(argv: list[str]) -> int:
    """Run the one cell that the options describe, and say where its artifacts are."""
    settings = parse("run", "Run one cell: name its scenario and framework.", argv)
    sweep = Sweep(settings)
    if len(sweep.cells) != 1:
        raise UsageError(
            "not_one_cell",
            f"the options describe {len(sweep.cells)} cells; `run` takes one",
            "name one --scenario and one --framework, or use `benchmark`",
        )
    if settings.dry_run:
        return list_cells(sweep)
    results, code = run_all(sweep)
    for result in results:
        for reason in result.verdict.reasons if result.verdict else []:
            print(f"reason: {reason}")
        if result.artifacts.run_dir:
            print(f"artifacts: {result.artifacts.run_dir}")
    return code
