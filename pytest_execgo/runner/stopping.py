"""Stopping a run that is under way: nothing more is submitted, and what it has going is cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from pytest_execgo.client.completion import Kernel, cancel_all
from pytest_execgo.plan.events import Event, StopOrdered


class RunStopped(Exception):
    """The run was told to stop, and goes no further."""

    def __init__(self, how: str) -> None:
        super().__init__(f"the run was stopped: {how}")
        self.how = how


class StopOrder:
    """The order to stop, which any thread may give, once. `kernel` is a connection that nobody else uses."""

    def __init__(self, kernel: Kernel, emit: Callable[[Event], int], note: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._emit = emit
        self._note = note
        self._lock = threading.Lock()
        self._going: tuple[str, ...] = ()
        self._unheard = False
        self.how: str | None = None
        self.ordered_ns = 0
        self.obeyed_ns = 0
        self.seq = 0

    def order(self, how: str) -> None:
        """Stop the run: cancel what it has going. A second order changes nothing."""
        with self._lock:
            if self.how is not None:
                return
            self.ordered_ns, self.how = time.monotonic_ns(), how
            going = self._going
        self._note(how)
        self.seq = self._emit(StopOrdered(status="failed", error_code="stopped", how=how))
        self._unheard = not cancel_all(self._kernel, going)

    def check(self) -> None:
        """Raise `RunStopped` when the order has been given."""
        if self.how is not None:
            raise RunStopped(self.how)

    def heed(self) -> None:
        """Raise `RunStopped` when the order did not get through to the kernel: whoever waits for the tasks is to see to it."""
        if self._unheard:
            self.check()

    def going(self, wire_ids: Iterable[str]) -> None:
        """Tell what is to be cancelled if the order comes from now on; raises `RunStopped` if it has come.

        To be told before tasks are submitted, and again once they are: an order in between finds nothing to cancel.
        """
        with self._lock:
            if self.how is None:
                self._going = tuple(wire_ids)
                return
        self.check()

    def obeyed(self) -> float:
        """Take note that nothing of the run is going on any more; return the time that took in milliseconds."""
        self.obeyed_ns = time.monotonic_ns()
        return (self.obeyed_ns - self.ordered_ns) / 1e6
