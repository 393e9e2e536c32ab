"""Whether a folder can take what is to be written."""

from __future__ import annotations

import secrets
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.wiring.settings import Settings


def artifacts_folder(settings: Settings) -> None:
    """Make sure that the folder for artifacts exists and can be written to; `UsageError` if not.

    Where it is the one that is taken when nobody names any, git is told to leave alone what we had to make: the topmost new
    folder gets a `.gitignore` for all of it. In a folder that the user named, or made, that is the user's decision.
    """
    out = settings.out
    new = next((place for place in (*reversed(out.parents), out) if not place.exists()), None)
    writable(out)
    if new is not None and out == settings.usual_out:
        write_atomic(new / ".gitignore", "# made by pytest-execgo\n*\n")


def writable(folder: Path) -> None:
    """Make sure that a folder exists and can be written to; `UsageError` if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            "artifacts_folder_unusable",
            f"can't write to {folder}: {error.strerror or error}",
            "point --execgo-out at a folder that you may write to",
        ) from error
