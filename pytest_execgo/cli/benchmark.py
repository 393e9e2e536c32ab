"""`benchmark`: a matrix of cells, without pytest."""

from __future__ import annotations

from pytest_execgo.cli.matrix import list_cells, parse, run_all
from pytest_execgo.wiring.sweep import Sweep


def main(argv: list[str]) -> int:
    """Run the matrix that the options describe."""
    settings = parse("benchmark", "Run every cell of scenario x framework x mode x chaos profile.", argv)
    sweep = Sweep(settings)
    return list_cells(sweep) if settings.dry_run else run_all(sweep)[1]
