"""A stack whose kernel is somebody's ExecGo binary; runtime and fixtures service are ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.harness.control import Launch
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.health import health_problem
from pytest_execgo.harness.logtail import last_lines
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Endpoints, Service

_ATTEMPTS = 3
_FIRST_DELAY = 0.005
_LONGEST_DELAY = 0.1
_PROBE_TIMEOUT = 1.0


class NativeStack(EmbeddedStack):
    """A given ExecGo binary in the kernel's place.

    ExecGo knows no token, so neither it nor the runtime that it calls are guarded; the token of the endpoints guards the
    fixtures service's control plane. Nor does it announce its readiness: GET /health is asked until it answers. It binds
    beside our reservation if it sets SO_REUSEADDR, as Go does; for one that doesn't, the reservation is given up
    just before it starts, on a port that is chosen anew if somebody takes it in between.
    """

    foreign = frozenset({Service.KERNEL})

    def __init__(self, binary: Path, folder: Path, settings: StackSettings | None = None) -> None:
        """Prepare a stack around the executable `binary`; `UsageError` if it is not there or not executable."""
        super().__init__(folder, settings)
        self.binary = checked_binary(binary, "--execgo-bin")
        self._keep_reservation = True

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return "native"

    def up(self) -> Endpoints:
        """Bring everything up; a kernel that finds its port taken is tried again on another one."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return super().up()
            except StackError:
                if not self._port_was_taken() or (Service.KERNEL in self.settings.ports and not self._keep_reservation):
                    raise
                self._keep_reservation = False
        return super().up()

    def reserve(self, service: Service) -> PortReservation:
        """Reserve a service's port; the kernel's in a way that leaves room for a service that shares nothing."""
        port = self.settings.ports.get(service, 0)
        return PortReservation(port, what=service, exclusive_service=service is Service.KERNEL)

    def launch(self, service: Service) -> Launch:
        """Return how a service is started; for the kernel with ExecGo's own flags and environment."""
        if service is not Service.KERNEL:
            return super().launch(service)
        reservation = self._ports[service]
        if not self._keep_reservation:
            reservation.close()
        address = reservation.url.removeprefix("http://")
        flags = ["-addr", address, "-grpc-addr", "127.0.0.1:0", *self.options.options(service)]
        return Launch(
            argv=[str(self.binary), *flags, *self.settings.extra_args.get(service, ())],
            env=self.environment(service),
            cwd=self.settings.cwd or self.folder,
            log=self._log(service),
        )

    def await_ready(self, services: Iterable[Service], timeout: float) -> None:
        """Wait for our services' announcements, and ask the kernel until it answers."""
        pending = list(services)
        deadline = time.monotonic() + timeout
        if Service.KERNEL in pending:
            self._await_kernel(deadline, timeout)
        super().await_ready([service for service in pending if service is not Service.KERNEL], deadline - time.monotonic())

    def _await_kernel(self, deadline: float, timeout: float) -> None:
        url = self._ports[Service.KERNEL].url
        process = self._live().process(Service.KERNEL)
        delay = _FIRST_DELAY
        while True:
            problem = health_problem(Service.KERNEL, url, timeout=_PROBE_TIMEOUT)
            # an answer counts only from a process that is still there
            if self._live().wait(lambda: process.over, 0 if problem is None else delay):
                raise StackError("service_ended", f"the kernel ended before it was ready: {self.describe_failure(Service.KERNEL)}")
            if problem is None:
                return
            if time.monotonic() > deadline:
                raise StackError(
                    "service_not_ready",
                    f"the kernel was not ready within {timeout:g} s ({problem}): {self.describe_failure(Service.KERNEL)}",
                )
            delay = min(delay * 1.5, _LONGEST_DELAY)

    def _port_was_taken(self) -> bool:
        written = last_lines(self._log(Service.KERNEL), 50, since=self._log_start.get(Service.KERNEL, 0))
        return "address already in use" in written.lower()


def checked_binary(binary: Path, option: str) -> Path:
    """Return the absolute path of an executable file; `UsageError` naming `option` for anything else."""
    if not binary.is_file():
        problem = "is a folder" if binary.is_dir() else "does not exist"
    elif not os.access(binary, os.X_OK):
        problem = "is not executable"
    else:
        return binary.absolute()
    raise UsageError("bad_binary", f"the ExecGo binary {binary} {problem}", f"give the path of an executable ExecGo with {option}")
