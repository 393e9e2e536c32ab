"""Copies what a container writes into a file of the stack's folder, where artifacts are made of it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient


class LogCopy:
    """Appends both streams of one life of a container to `log`, in a thread of its own, until that life ends."""

    def __init__(self, client: EngineClient, container: str, log: Path, *, since: float | None = None) -> None:
        """Copy what is written after `since` (seconds of the epoch; None: all). `client` must be one without a timeout."""
        self._log = log
        self._stream = client.api.logs(container, stream=True, follow=True, since=since)
        self._thread = threading.Thread(target=self._copy, name="execgo-container-log", daemon=True)
        self._thread.start()

    def settle(self, timeout: float) -> None:
        """Wait, after the container's end, until its last word is in the file."""
        self._thread.join(timeout)

    def close(self) -> None:
        """Stop copying."""
        with contextlib.suppress(OSError):  # the engine was quicker
            self._stream.close()
        self._thread.join()

    def _copy(self) -> None:
        with self._log.open("ab", buffering=0) as file:
            for chunk in self._stream:
                file.write(chunk)
