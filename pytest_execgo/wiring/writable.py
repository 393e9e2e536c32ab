"""Whether a folder can take what is to be written."""

from __future__ import annotations

import secrets
from pathlib import Path

from pytest_execgo.core.errors import UsageError


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
