"""`sweeps/<sweep_id>/sweep.json`: what a sweep is, who is at it, whether anything of it is left to do."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import digest, dumps, read_json
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.base import Document, Name
from pytest_execgo.plan.cell import Cell
from pytest_execgo.wiring.alone import alone_in
from pytest_execgo.wiring.settings import Settings

SWEEP = "sweep.json"


class SweepFile(Document):
    """What `sweeps/<sweep_id>/sweep.json` says from a sweep's start on. `finished_at` is there when nothing of it is left to do.

    `digest` identifies its cells; `selected` is how many of them the widest command that was at it had to run, 0 where nobody
    counted; `owner` is the process that reports it: pytest's controller, or the command line's.
    """

    schema_version: Literal[1] = 1
    sweep_id: Name
    started_at: str
    backend: str
    cells: int
    selected: int = 0
    digest: str
    owner: ProcessIdentity
    finished_at: str | None = None


def new_sweep_id() -> str:
    """Return a fresh sweep id."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"


def begin_sweep(out: Path, sweep_id: str, backend: str, cells: Sequence[Cell], owner: int | None = None, selected: int = 0) -> None:
    """Write down that a sweep began, or that it goes on, in the process `owner` (default: this one).

    Every process of a sweep may call this; only the first call of each owner changes anything. `UsageError` when another one
    is at it.
    """
    folder = out / "sweeps" / sweep_id
    folder.mkdir(parents=True, exist_ok=True)
    identity = ProcessIdentity.of(os.getpid() if owner is None else owner)
    with alone_in(folder):
        earlier = read_sweep_file(folder)
        if earlier is not None and earlier.owner == identity:
            return
        if earlier is not None and _somebody_else(earlier.owner):
            raise _in_use(earlier.owner.pid, sweep_id)
        started_at = earlier.started_at if earlier is not None else rfc3339()
        _write_sweep(
            folder,
            SweepFile(
                sweep_id=sweep_id,
                started_at=started_at,
                backend=backend,
                cells=len(cells),
                selected=max(selected, earlier.selected if earlier is not None else 0),
                digest=cells_digest(cells),
                owner=identity,
            ),
        )


def finish_sweep(out: Path, sweep_id: str, done: int) -> bool:
    """Write down that nothing of a sweep is left to do, if that is so: `done` is how many of its cells are. Tell whether it is."""
    folder = out / "sweeps" / sweep_id
    if not (folder / SWEEP).exists():  # nothing of it was run
        return True
    with alone_in(folder):
        sweep = read_sweep_file(folder)
        if sweep is not None and done < sweep.selected:  # a command that took up only some of what was left
            return False
        if sweep is not None:
            _write_sweep(folder, sweep.model_copy(update={"finished_at": rfc3339()}))
    return True


def unfinished_sweep(out: Path) -> SweepFile | None:
    """Return the latest sweep that was cut short: begun, not finished, and nobody is at it; None if there is none.

    `UsageError` when there is just one that another process is at.
    """
    found = [sweep for folder in (out / "sweeps").glob("*/") if (sweep := read_sweep_file(folder)) is not None]
    busy: SweepFile | None = None
    for sweep in sorted(found, key=lambda sweep: sweep.started_at, reverse=True):
        if sweep.finished_at is None:
            if not _somebody_else(sweep.owner):
                return sweep
            busy = busy or sweep
    if busy is not None:
        raise _in_use(busy.owner.pid, busy.sweep_id)
    return None


def sweep_to_resume(settings: Settings) -> str | None:
    """Return the id of the sweep that the settings ask to go on with; None when they don't, or when there is none."""
    earlier = unfinished_sweep(settings.out) if settings.resume else None
    return earlier.sweep_id if earlier is not None else None


def read_sweep_file(folder: Path) -> SweepFile | None:
    """Read `sweep.json` from a sweep's folder; None if there is none, `UsageError` names one that can't be understood."""
    file = folder / SWEEP
    if not file.exists():
        return None
    try:
        return SweepFile.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        said = f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError("bad_sweep_file", said, "another version of pytest-execgo may have written it") from error


def cells_digest(cells: Sequence[Cell]) -> str:
    """Identify a set of cells."""
    return digest(sorted({cell.cell_id for cell in cells}))


def _somebody_else(owner: ProcessIdentity) -> bool:
    """Tell whether another process is at it; this one has at most one sweep going, so one of its own is over."""
    return owner.pid != os.getpid() and owner.alive()


def _in_use(pid: int, sweep_id: str) -> UsageError:
    said = f"process {pid} is at sweep {sweep_id}"
    return UsageError("sweep_in_use", said, "let it end, or leave --execgo-resume out for a new sweep")


def _write_sweep(folder: Path, sweep: SweepFile) -> None:
    write_atomic(folder / SWEEP, dumps(sweep.model_dump(mode="json"), indent=2) + "\n")
