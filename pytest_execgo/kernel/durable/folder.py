"""A data folder that a kernel uses: its store brought back to life, and what is wrong with it, said where it can't be missed."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path

from pytest_execgo.kernel.api.logs import log
from pytest_execgo.kernel.durable.check import SUSPECT, full_problem
from pytest_execgo.kernel.durable.open import STORE, open_folder
from pytest_execgo.kernel.durable.recovery import Found, Resumed, resume
from pytest_execgo.kernel.durable.rows import Mark
from pytest_execgo.kernel.durable.store import DurableStore
from pytest_execgo.kernel.envelope import record_of
from pytest_execgo.kernel.golang.text import json_string


class DataFolder:
    """A data folder in use. `retain`: how many ended tasks are kept. What `open_folder` raises, this raises."""

    def __init__(self, path: Path, retain: int) -> None:
        self._retain = retain
        self._store = path / STORE
        self._opened = open_folder(path)
        self._suspected = ""
        self._damage = self._opened.damage
        if self._damage is not None:
            _say(self._damage.describe())
        if self._opened.imported:
            log("INFO", "state.json imported", tasks=self._opened.imported)

    def start(self) -> tuple[DurableStore, list[Resumed]]:
        """Return the store, and what to do with the tasks that have not ended; called once, on the event loop."""
        rows = self._opened.file.unfinished()
        store = DurableStore(self._opened.file, rows, self._retain, lambda reason: _say(f"the store can't be written: {reason}"))
        found = [Found(record_of(row), Mark(row.status), row.attempts, row.interruptions) for row in rows]
        resumed = resume(found, time.time_ns())
        for task in resumed:
            kind = "cancel" if task.cancelled else "unknown" if task.ending is not None else "recover"
            store.note(kind, task.record.spec.id, f"attempts {task.attempts}, {'begun' if task.began else 'waiting'}")
        if resumed:
            log("INFO", "tasks recovered", tasks=len(resumed), interrupted=sum(task.began for task in resumed))
        if not self._opened.looked_through:
            threading.Thread(target=self._look_through, name="kernel-check", daemon=True).start()
        return store, resumed

    def suspect(self, problem: str) -> None:
        """Note that the store in use is damaged: the next start looks through all of it, and keeps what can be kept."""
        if not self._suspected:
            self._suspected = problem
            _say(f"the store is damaged: {problem}; what is damaged is not shown, and the next start sets it aside")
            try:
                (self._store / SUSPECT).touch()
            except OSError as error:
                _say(f"{self._store / SUSPECT} can't be written: {error}")

    def describe(self) -> str:
        """Return what GET /health says under `store`, JSON; empty when there is nothing to say."""
        if self._suspected:
            return f'{{"status":"damaged","reason":{json_string(self._suspected)}}}'
        if self._damage is not None:
            damage = self._damage
            return (
                f'{{"status":"replaced","reason":{json_string(damage.reason)},"moved_to":{json_string(damage.moved_to)},'
                f'"kept":{damage.kept},"lost":{damage.lost}}}'
            )
        return ""

    def _look_through(self) -> None:
        problem = full_problem(self._store)
        if problem:
            self.suspect(problem)


def _say(message: str) -> None:
    """Say something on standard error and in the log."""
    with contextlib.suppress(OSError):  # it may be a file on the very disk that is full: the kernel has to answer all the same
        sys.stderr.write(f"kernel: {message}\n")
        sys.stderr.flush()
    log("ERROR", message)
