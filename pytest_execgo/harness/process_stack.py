"""What every stack of child processes shares: start, stop, restart, kill, pause, logs, and the truth about each."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pytest_execgo.core.errors import StackError, Unsupported, UsageError
from pytest_execgo.harness.control import Launch, Process, Supervised
from pytest_execgo.harness.logtail import last_lines, quoted_end
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.record import StackRecord, take_folder
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.harness.watchers import Watchers
from pytest_execgo.plan.stack import Capability, Endpoints, Service, ServiceStatus

_SIGNAL_TIMEOUT = 10.0  # seconds within which SIGKILL, SIGSTOP and SIGCONT must have worked
_BY_START = (Service.RUNTIME, Service.KERNEL, Service.FIXTURES)  # who takes longest to start begins


class ProcessStack(ABC):
    """A stack whose services are child processes of a supervisor that ends them when this process ends, however.

    A backend says how each service is launched and, where it can't announce its readiness, how that is found out.
    Signals go to the service's own process: commands that a killed kernel or runtime had started are orphaned, as they
    are when such a service crashes, and end with the stack.
    """

    def __init__(self, folder: Path, settings: StackSettings | None = None) -> None:
        """Prepare a stack that keeps its data and logs in `folder`; nothing starts before `up`."""
        self.folder = folder.absolute()
        self.settings = settings or StackSettings()
        self.token = (self.settings.token or secrets.token_urlsafe(24)) if self.settings.guarded else None
        self._supervised: Supervised | None = None
        self._changing = threading.RLock()  # held by whatever changes the stack, from its first signal to its last
        self._going_down = False
        self._watchers = Watchers()
        self._ports: dict[Service, PortReservation] = {}
        self._log_start: dict[Service, int] = {}
        self._ended: dict[Service, Process] = {}

    @property
    @abstractmethod
    def backend(self) -> str:
        """Name of the backend."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do."""
        return frozenset({Capability.RESTART, Capability.KILL, Capability.PAUSE, Capability.LOGS})

    @abstractmethod
    def launch(self, service: Service) -> Launch:
        """Return how a service is started, on its reserved port."""

    def reserve(self, service: Service) -> PortReservation:
        """Reserve a service's port."""
        return PortReservation(self.settings.ports.get(service, 0), what=service)

    def await_ready(self, services: Iterable[Service], timeout: float) -> None:
        """Wait until services have announced themselves; `StackError` for one that ends or takes too long."""
        pending = list(services)
        processes = {service: self._live().process(service) for service in pending}

        def settled() -> bool:
            if self._going_down:
                raise StackError("stack_down", f"the {self.backend} stack is being taken down")
            waiting = any(process.ready is None for process in processes.values())
            return not waiting or any(process.over for process in processes.values())

        self._live().wait(settled, timeout)
        for service, process in processes.items():
            if process.over:
                raise StackError("service_ended", f"the {service} ended before it was ready: {self.describe_failure(service)}")
        for service, process in processes.items():
            if process.ready is None:
                raise StackError(
                    "service_not_ready", f"the {service} was not ready within {timeout:g} s: {self.describe_failure(service)}"
                )
            port = self._ports[service].port
            if not isinstance(process.ready, dict) or process.ready.get("port") != port:
                raise StackError(
                    "service_misannounced", f"the {service} announced {process.ready!r} instead of being ready on port {port}"
                )

    def up(self) -> Endpoints:
        """Bring everything up, concurrently, and return once all three are ready; again: where they are.

        In a folder that had a stack before, services take up the data that is there, and logs go on.
        """
        with self._changing:
            if self._supervised is not None:
                return self.endpoints()
            self._going_down = False
            self._ended.clear()
            try:
                self._start()
                self.await_ready(Service, self.settings.ready_timeout)
            except BaseException:
                self.down()
                raise
            return self.endpoints()

    def _start(self) -> None:
        lock = take_folder(self.folder)
        try:
            self._log_start = {service: _size(self._log(service)) for service in Service}
            for service in Service:
                self._ports[service] = self._reserved(service)
            self._supervised = Supervised(self.folder / "supervisor.log", pass_fds=[lock], tell=self._watchers.tell)
        finally:
            os.close(lock)
        for service in _BY_START:
            self._spawn(service)
        ports = {service: self._ports[service].port for service in Service}
        StackRecord.of(self.backend, ports, self._supervised.pid).save(self.folder)

    def _reserved(self, service: Service) -> PortReservation:
        try:
            return self.reserve(service)
        except UsageError as error:
            raise StackError(error.code, error.message, error.hint) from error

    def down(self) -> None:
        """End everything: a chance to stop gracefully for all at once, then SIGKILL for whatever is left.

        Another thread that waits for a service to get ready is told with a `StackError`.
        """
        self._going_down = True
        if (waited_for := self._supervised) is not None:
            waited_for.nudge()
        with self._changing:
            supervised, self._supervised = self._supervised, None
            try:
                if supervised is not None:
                    with suppress(StackError):  # without a supervisor there is nothing left to ask
                        self._ask_to_end(supervised, list(Service), self.settings.down_timeout)
                    supervised.close()
            finally:
                if supervised is not None:
                    self._ended = {service: supervised.process(service) for service in Service}
                for reservation in self._ports.values():
                    reservation.close()

    def endpoints(self) -> Endpoints:
        """Return where the services are; `StackError` before `up` and after `down`."""
        self._live()
        kernel, runtime, fixtures = (self._ports[service].url for service in Service)
        return Endpoints(kernel, runtime, fixtures, self.token)

    def status(self) -> list[ServiceStatus]:
        """Tell how each service is; a paused one has a pid and is not running. Empty before the first `up`."""
        self._watchers.seen()
        if self._supervised is not None:
            self._supervised.notice()
        return [self._status(service) for service in Service if service in self._ports]

    def restart(self, service: Service) -> None:
        """Stop a service gracefully (SIGKILL if that takes too long) and bring it back; one that ended only comes back."""
        with self._changing:
            grace = self.settings.shutdown_timeout + 1
            if not self._ask_to_end(self._live(), [service], grace):
                self.kill(service)
            self._spawn(service)
            self.await_ready([service], self.settings.ready_timeout)

    def revive(self, service: Service) -> bool:
        """Bring back a service that has ended and return True; False when there is nothing to do: it runs, or is paused."""
        with self._changing:
            if not self._live().process(service).over:
                return False
            self._spawn(service)
            self.await_ready([service], self.settings.ready_timeout)
            return True

    def kill(self, service: Service) -> None:
        """SIGKILL a service and return once it is gone; one that already ended is fine."""
        with self._changing:
            process = self._signal(service, signal.SIGKILL)
            self._expect(service, "end", lambda: process.over)

    def pause(self, service: Service) -> None:
        """SIGSTOP a service and return once it has stopped; `StackError` if it is not there."""
        with self._changing:
            process = self._signal(service, signal.SIGSTOP, must_live=True)
            self._expect(service, "stop", lambda: process.stopped or process.over)

    def resume(self, service: Service) -> None:
        """SIGCONT a service and return once it goes on; `StackError` if it is not there."""
        with self._changing:
            process = self._signal(service, signal.SIGCONT, must_live=True)
            self._expect(service, "go on", lambda: not process.stopped)

    def limit(self, service: Service, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Not something that a plain process allows honestly: raises `Unsupported`."""
        raise Unsupported(
            "no_limits",
            f"the {self.backend} backend can't limit the {service}: a process's memory and cores can't be bounded and freed again",
            "use the containers backend",
        )

    def disconnect(self, service: Service) -> None:
        """Not something that a process on loopback allows: raises `Unsupported`."""
        raise Unsupported(
            "no_disconnect",
            f"the {self.backend} backend can't take the {service} off the network: all of them share the machine's loopback",
            "use the containers backend",
        )

    def connect(self, service: Service) -> None:
        """Return at once: whatever runs on loopback is on the network."""
        return

    def logs(self, service: Service, *, tail: int = 50) -> str:
        """Return the last `tail` lines that the service wrote, over all of its restarts."""
        return last_lines(self._log(service), tail)

    def describe_failure(self, service: Service) -> str:
        """Say how a service is or how it ended, where its log is, and the last lines it wrote since it was started."""
        process, log = self._process(service), self._log(service)
        return f"{process.describe()}; log: {log}\n{quoted_end(log, since=self._log_start.get(service, 0))}"

    def fileno(self) -> int:
        """Return the calling thread's own descriptor, readable when something has happened since it last asked for `status`.

        It is the same until the stack is thrown away, however often that goes up and down.
        """
        return self._watchers.fileno()

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor, whose end is the end of every process of the stack."""
        return self._live().pid

    @property
    def lost(self) -> bool:
        """Tell whether the supervisor itself has ended, and with it all services."""
        return self._live().gone

    def _live(self) -> Supervised:
        supervised = self._supervised
        if supervised is None:
            raise StackError("stack_down", f"the {self.backend} stack is not up", "call up() first")
        return supervised

    def _process(self, service: Service) -> Process:
        supervised = self._supervised
        return self._ended.get(service) or Process() if supervised is None else supervised.process(service)

    def _log(self, service: Service) -> Path:
        return self.folder / f"{service}.log"

    def _status(self, service: Service) -> ServiceStatus:
        process = self._process(service)
        alive = process.pid is not None and not process.over
        return ServiceStatus(
            service=service,
            running=alive and not process.stopped,
            url=self._ports[service].url,
            pid=process.pid if alive else None,
            exit_code=process.code,
            log=self._log(service),
        )

    def _spawn(self, service: Service) -> None:
        log = self._log(service)
        self._log_start[service] = _size(log)
        self._live().spawn(service, self.launch(service))

    def _signal(self, service: Service, signum: signal.Signals, *, must_live: bool = False) -> Process:
        process = self._live().process(service)
        if must_live and process.over:
            raise StackError("service_not_running", f"the {service} can't get {signum.name}: {process.describe()}")
        self._live().signal(service, signum)
        return process

    def _expect(self, service: Service, what: str, done: Callable[[], bool]) -> None:
        if not self._live().wait(done, _SIGNAL_TIMEOUT):
            raise StackError("signal_ignored", f"the {service} did not {what} within {_SIGNAL_TIMEOUT:g} s")

    @staticmethod
    def _ask_to_end(supervised: Supervised, services: list[Service], timeout: float) -> bool:
        """SIGTERM, and SIGCONT so that a paused service can act on it; return whether all ended in time."""
        processes = [supervised.process(service) for service in services]
        for service in services:
            supervised.signal(service, signal.SIGTERM)
            supervised.signal(service, signal.SIGCONT)
        return supervised.wait(lambda: all(process.over for process in processes), timeout)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
