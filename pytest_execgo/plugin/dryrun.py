"""`--execgo-dry-run`: which cells there are, and why any is excluded."""

from __future__ import annotations

import sys

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plugin.session import build_sweep, settings_of
from pytest_execgo.wiring.matrix import describe


def list_cells(config: pytest.Config) -> int | None:
    """Print one line a cell: its id, its selector, and whether it would run; nothing is started or written.

    None when the settings ask for no dry run after all (`PYTEST_EXECGO_DRY_RUN=false`).
    """
    settings = settings_of(config)
    if not settings.dry_run:
        return None
    try:
        sweep = build_sweep(config, settings)
        matrix = [sweep.planned(cell) for cell in sweep.cells]
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    sys.stdout.write("".join(f"{line}\n" for line in describe(matrix)))
    return 0
