"""What a run starts from: an identity, and a workspace with a copy of the scenario's fixtures."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

from pytest_execgo.plan.cell import Cell


def new_run_id(cell: Cell) -> str:
    """Return a fresh run id: when, which scenario and framework, and 32 random bits."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return f"{stamp}-{cell.scenario[:40]}-{cell.framework[:20]}-{secrets.token_hex(4)}"


def lay_out(fixtures: Path | None, workspace: Path) -> None:
    """Copy the scenario's fixtures into the run's workspace."""
    if fixtures is not None:
        shutil.copytree(fixtures, workspace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
