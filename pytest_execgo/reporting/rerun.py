"""The command that runs a cell again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from pytest_execgo.plan.cell import Cell

DEFAULT_BACKEND = "embedded"


def rerun_command(cell: Cell, backend: str = DEFAULT_BACKEND, options: Mapping[str, object] | None = None) -> str:
    """Return the command that runs one cell again on a backend, quoted for a shell.

    `options` maps names of further options, without `--execgo-`, to their values; those that are None are left out.
    """
    words = ["pytest", "--execgo-matrix", f"--execgo-cell={cell.selector}"]
    if backend != DEFAULT_BACKEND:
        words.append(f"--execgo-backend={backend}")
    words += [f"--execgo-{name}={value}" for name, value in (options or {}).items() if value is not None]
    return shlex.join(words)
