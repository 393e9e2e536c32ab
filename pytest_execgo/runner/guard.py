"""Brings services back that end during a run, so that whoever waits for them can wait on."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.events import Event, ServiceLost, ServiceRestarted
from pytest_execgo.plan.stack import Capability, Service, Stack

_LOOK_AGAIN = 1.0  # seconds; for news that another thread took from the stack's channel without telling us


class ServiceGuard:
    """A thread that is told when a service has ended, and restarts it, at most `restarts` times in a run.

    A backend that can't restart is left alone. `emit` is called from the thread. Use it as a context manager.
    """

    def __init__(self, stack: Stack, emit: Callable[[Event], int], *, restarts: int) -> None:
        self._stack = stack
        self._emit = emit
        self._left = restarts
        self._held = Counter[Service]()
        self._changed = threading.Condition()
        self._asked = self._answered = 0
        self._over = False
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = -1, -1
        self.restarts = 0
        self.failure: ExecGoError | None = None
        """Why a service could not be brought back; such a run is lost."""

    def __enter__(self) -> Self:
        if Capability.RESTART in self._stack.capabilities:
            self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._thread = threading.Thread(target=self._watch, name="service-guard", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            with self._changed:
                self._over = True
            os.write(self._wake_write, b"x")
            self._thread.join()
            self._thread = None
            os.close(self._wake_read)
            os.close(self._wake_write)

    def alive(self, service: Service) -> bool:
        """Tell whether a service runs, where nobody would bring it back anyway; where somebody would, always."""
        return self._thread is not None or any(row.running for row in self._stack.status() if row.service is service)

    def hold_down(self, service: Service) -> None:
        """Leave a lost service lost, until as many `let_up` or `let_go`."""
        with self._changed:
            self._held[service] += 1

    def let_up(self, service: Service) -> None:
        """Bring a lost service back from now on; returns once it is, if it is lost now."""
        self.let_go(service)
        self.settle()

    def let_go(self, service: Service) -> None:
        """Bring a lost service back from now on; returns at once."""
        with self._changed:
            self._held -= Counter((service,))  # those held by nobody are dropped

    def settle(self) -> bool:
        """Return once every service that is lost by now is back, or given up; tell whether nothing was given up.

        Where nobody brings services back, returns at once.
        """
        if self._thread is None:
            return True
        with self._changed:
            self._asked += 1
            mine = self._asked
            os.write(self._wake_write, b"x")
            while self._answered < mine and self._thread.is_alive():
                self._changed.wait(_LOOK_AGAIN)
            return self.failure is None

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        channel = getattr(self._stack, "fileno", None)
        news = -1 if channel is None else channel()
        if news >= 0:
            poll.register(news, select.POLLIN)
        while True:
            poll.poll(_LOOK_AGAIN * 1000)
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                pass  # it was the stack that woke us, or nobody
            with self._changed:
                asked, over = self._asked, self._over
            if over:
                return
            self._bring_back()
            if self.failure is not None and news >= 0:  # a stack that is gone would wake us for ever
                poll.unregister(news)
                news = -1
            with self._changed:
                self._answered = asked
                self._changed.notify_all()

    def _bring_back(self) -> None:
        held = set(self._held)  # who is let go between the look and the judgement is back
        for row in self._stack.status():
            lost = not row.running and row.pid is None  # what is only paused has a pid
            if not lost or row.service in held or row.service in self._held or self.failure is not None:
                continue
            try:
                if self._left <= 0:
                    raise ExecGoError("restarts_spent", f"the {row.service} ended once more than the scenario's policy allows")
                started = time.monotonic()
                if not self._stack.revive(row.service):
                    continue  # somebody else restarts it
                took = (time.monotonic() - started) * 1000
            except ExecGoError as error:
                self.failure = error
                self._emit(ServiceLost(status="failed", error_code=error.code, service=row.service, exit_code=row.exit_code))
                continue
            self._left -= 1
            self.restarts += 1
            self._emit(ServiceLost(status="failed", error_code="service_ended", service=row.service, exit_code=row.exit_code))
            self._emit(ServiceRestarted(service=row.service, took_ms=round(took, 3)))
