"""The stack of one process of a sweep: brought up when it is needed, replaced when it can't serve, taken down at the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.core.errors import ExecGoError, StackError, UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps, read_json
from pytest_execgo.wiring.live import LiveStack
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.stacks import link_host, make_stack
from pytest_execgo.wiring.writable import writable

_LINKS = "links.json"


class StackUpkeep:
    """Keeps at most one stack up. `name` begins the names of its folders; `linked` tells whether traffic passes through links."""

    def __init__(self, settings: Settings, name: str, linked: Callable[[], bool]) -> None:
        self._settings = settings
        self._name = name
        self._linked = linked
        self._up: LiveStack | None = None
        self._start_error: ExecGoError | None = None
        self._starts = 0

    def live(self) -> LiveStack:
        """Bring the stack up if it isn't, and a service that died back, if the backend can.

        A stack that can't be revived, or may still be running what a run left behind, is replaced by a new one. One that
        does not even start is not tried again for the next cell.
        """
        if self._start_error is not None:
            raise self._start_error
        if self._up is not None and not self._usable(self._up):
            with suppress(StackError):
                self._up.down()
            self._up = None
        if self._up is None:
            try:
                self._up = self._start_in(self._new_folder())
            except ExecGoError as error:
                self._start_error = error
                raise
        return self._up

    def over(self, folder: Path | None) -> LiveStack:
        """Bring a stack up where an earlier one was, on its ports and with its data; `ExecGoError` when that can't be.

        A stack that others run, or that had no folder, is the one that there is.
        """
        if folder is None or self._settings.backend == "external":
            return self.live()
        if not folder.is_dir():
            raise StackError("stack_gone", f"its stack's folder {folder} is not there any more")
        if self._up is None or self._up.folder != folder or not self._usable(self._up):
            self.close()
            self._up = self._start_in(folder)
        return self._up

    def close(self) -> None:
        """Take the stack down."""
        if self._up is not None:
            up, self._up = self._up, None
            up.down()

    def _usable(self, live: LiveStack) -> bool:
        """Bring back what died; tell whether the stack can serve the next cell."""
        if live.busy and self._settings.backend != "external":
            return False
        try:
            live.revive()
        except StackError:
            return False
        return True

    def _new_folder(self) -> Path:
        """Return a folder that no stack has had: an earlier life of the sweep may have left some."""
        while True:
            self._starts += 1
            folder = self._settings.out / "stacks" / (self._name + (f"-{self._starts}" if self._starts > 1 else ""))
            if not folder.exists():
                return folder

    def _start_in(self, folder: Path) -> LiveStack:
        writable(folder)
        links = None
        if self._linked():
            legs = LEGS if self._settings.backend != "external" else ("client-kernel",)
            from pytest_execgo.chaos.network.links import Links  # deferred: most sweeps disturb no network

            links = Links.start(legs, _ports(folder / _LINKS), link_host(self._settings))
            write_atomic(folder / _LINKS, dumps(links.ports) + "\n")
        return LiveStack(lambda legs: make_stack(self._settings, folder, legs), folder, links)


def _ports(file: Path) -> dict[str, int] | None:
    """Return the ports that an earlier stack's links had; None if it had none."""
    if not file.exists():
        return None
    ports = read_json(file)
    if not isinstance(ports, dict) or not all(type(port) is int for port in ports.values()):
        raise UsageError("bad_record", f"{file} does not hold ports by the names of links", "remove it if no stack runs")
    return ports
