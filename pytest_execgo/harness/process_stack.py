"""What every stack of child processes shares: start, stop, restart, kill, pause, logs, and the truth about each."""

from __future__ import annotations

import secrets
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pytest_execgo.core.errors import StackError, Unsupported
from pytest_execgo.harness.control import Launch, Process, Supervised
from pytest_execgo.harness.logtail import last_lines
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Capability, Endpoints, Service, ServiceStatus

_SIGNAL_TIMEOUT = 10.0  # seconds within which SIGKILL, SIGSTOP and SIGCONT must have worked
_FAILURE_LINES = 20


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
        """Bring everything up, concurrently, and return once all three are ready; again: where they are."""
        if self._supervised is not None:
            return self.endpoints()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ended.clear()
        try:
            for service in Service:
                self._ports[service] = self.reserve(service)
            self._supervised = Supervised(self.folder / "supervisor.log")
            for service in Service:
                self._spawn(service)
            self.await_ready(Service, self.settings.ready_timeout)
        except BaseException:
            self.down()
            raise
        return self.endpoints()

    def down(self) -> None:
        """End everything: a chance to stop gracefully for all at once, then SIGKILL for whatever is left."""
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
        return [self._status(service) for service in Service if service in self._ports]

    def restart(self, service: Service) -> None:
        """Stop a service gracefully (SIGKILL if that takes too long) and bring it back; one that ended only comes back."""
        supervised = self._live()
        grace = self.settings.shutdown_timeout + 1
        if not self._ask_to_end(supervised, [service], grace):
            self.kill(service)
        self._spawn(service)
        self.await_ready([service], self.settings.ready_timeout)

    def kill(self, service: Service) -> None:
        """SIGKILL a service and return once it is gone; one that already ended is fine."""
        process = self._live().process(service)
        self._signal(service, signal.SIGKILL)
        self._expect(service, "end", lambda: process.over)

    def pause(self, service: Service) -> None:
        """SIGSTOP a service and return once it has stopped; `StackError` if it is not there."""
        process = self._signal(service, signal.SIGSTOP, must_live=True)
        self._expect(service, "stop", lambda: process.stopped or process.over)

    def resume(self, service: Service) -> None:
        """SIGCONT a service and return once it goes on; `StackError` if it is not there."""
        process = self._signal(service, signal.SIGCONT, must_live=True)
        self._expect(service, "go on", lambda: not process.stopped)

    def limit(self, service: Service, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Not something that a plain process allows honestly: raises `Unsupported`."""
        raise Unsupported(
            "no_limits",
            f"the {self.backend} backend can't limit the {service}: a process's memory and cores can't be bounded and freed again",
            "use the containers backend",
        )

    def logs(self, service: Service, *, tail: int = 50) -> str:
        """Return the last `tail` lines that the service wrote, over all of its restarts."""
        return last_lines(self._log(service), tail)

    def describe_failure(self, service: Service) -> str:
        """Say how a service is or how it ended, where its log is, and the last lines it wrote since it was started."""
        process, log = self._process(service), self._log(service)
        lines = last_lines(log, _FAILURE_LINES, since=self._log_start.get(service, 0)).rstrip("\n")
        written = "\n".join(f"  | {line}" for line in lines.splitlines()) or "  (nothing was written)"
        return f"{_describe(process)}; log: {log}\n{written}"

    def fileno(self) -> int:
        """Return a descriptor that is readable when `status` may have changed."""
        return self._live().fileno()

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor, whose end is the end of every process of the stack."""
        return self._live().pid

    @property
    def lost(self) -> bool:
        """Tell whether the supervisor itself has ended, and with it all services."""
        return self._live().gone

    def _live(self) -> Supervised:
        if self._supervised is None:
            raise StackError("stack_down", f"the {self.backend} stack is not up", "call up() first")
        return self._supervised

    def _process(self, service: Service) -> Process:
        if self._supervised is None:
            return self._ended.get(service) or Process()
        return self._supervised.process(service)

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
        self._log_start[service] = log.stat().st_size if log.exists() else 0
        self._live().spawn(service, self.launch(service))

    def _signal(self, service: Service, signum: signal.Signals, *, must_live: bool = False) -> Process:
        process = self._live().process(service)
        if must_live and process.over:
            raise StackError("service_not_running", f"the {service} can't get {signum.name}: {_describe(process)}")
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


def _describe(process: Process) -> str:
    if process.failed is not None:
        return f"it could not be started: {process.failed}"
    if process.code is None:
        state = "paused" if process.stopped else "running"
        return "it was never started" if process.pid is None else f"it is {state} (pid {process.pid})"
    asked = f", after the harness sent {signal.Signals(process.ended_by).name}" if process.ended_by else ""
    if process.code >= 0:
        return f"it ended with exit code {process.code}{asked}"
    name = signal.Signals(-process.code).name if -process.code in set(signal.Signals) else f"signal {-process.code}"
    return f"it was ended by {name}{asked}"
