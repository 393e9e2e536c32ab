"""What is done to a stack of containers that is up, and what can be seen of it."""

from __future__ import annotations

import threading
from pathlib import Path

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.container_service import ServiceContainer
from pytest_execgo.harness.container_watch import EngineWatch
from pytest_execgo.harness.logtail import last_lines
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.harness.watchers import Watchers
from pytest_execgo.plan.stack import Capability, Service, ServiceStatus


class ContainerActs:
    """The services' containers and the one lock under which they are changed; how they come and go is a subclass's business."""

    def __init__(self, folder: Path, settings: StackSettings | None) -> None:
        """Begin with nothing."""
        self.folder = folder.absolute()
        self.settings = settings or StackSettings()
        self._changing = threading.RLock()  # held by whatever changes the stack
        self._going_down = False
        self._watchers = Watchers()
        self._watch: EngineWatch | None = None
        self._services: dict[Service, ServiceContainer] = {}
        self._network = ""

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return "containers"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything."""
        return frozenset(Capability)

    def status(self) -> list[ServiceStatus]:
        """Tell how each service is; a paused one is not running and has not ended. Empty before the first `up`."""
        self._watchers.seen()
        return [self._status(service) for service in self._services.values()]

    def restart(self, service: Service) -> None:
        """Stop a service gracefully (SIGKILL if that takes too long) and bring it back; one that ended only comes back."""
        with self._changing:
            container = self._live(service)
            container.stop(self.settings.shutdown_timeout + 1)
            self._bring_back(container)

    def revive(self, service: Service) -> bool:
        """Bring back a service that has ended and return True; False when there is nothing to do: it runs, or is paused."""
        with self._changing:
            container = self._live(service)
            if not container.state.over:
                return False
            self._bring_back(container)
            return True

    def kill(self, service: Service) -> None:
        """SIGKILL a service, with everything in its container, and return once it is gone; one that already ended is fine."""
        with self._changing:
            self._live(service).kill()

    def pause(self, service: Service) -> None:
        """Freeze a service's container and return once it is; `StackError` if it is not there."""
        with self._changing:
            self._live(service).pause()

    def resume(self, service: Service) -> None:
        """Let a paused service go on; `StackError` if it is not there."""
        with self._changing:
            self._live(service).resume()

    def limit(self, service: Service, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Bound one service with everything in its container: `cpu` in cores, `memory` with swap in bytes; None lifts a bound."""
        with self._changing:
            self._live(service).limit(cpu, memory)

    def disconnect(self, service: Service) -> None:
        """Take one service off the network; its port on 127.0.0.1 refuses connections until `connect`."""
        with self._changing:
            self._live(service).disconnect(self._network)

    def connect(self, service: Service) -> None:
        """Put one service back on the network, on the same port."""
        with self._changing:
            self._live(service).connect(self._network)

    def logs(self, service: Service, *, tail: int = 50) -> str:
        """Return the last `tail` lines that the service wrote, over all of its restarts."""
        return last_lines(self._log(service), tail)

    def describe_failure(self, service: Service) -> str:
        """Say how a service is or how it ended, where its log is, and the last lines it wrote since it was started."""
        found = self._services.get(service)
        return "it was never started" if found is None else found.describe_failure()

    def fileno(self) -> int:
        """Return the calling thread's own descriptor, readable when something has happened since it last asked for `status`.

        It is the same until the stack is thrown away, however often that goes up and down.
        """
        return self._watchers.fileno()

    @property
    def lost(self) -> bool:
        """Tell whether the engine has ended, or can't be reached any more."""
        return self._watch is not None and self._watch.gone

    def _live(self, service: Service = Service.KERNEL) -> ServiceContainer:
        if self._watch is None:
            raise StackError("stack_down", "the containers stack is not up", "call up() first")
        return self._services[service]

    def _log(self, service: Service) -> Path:
        return self.folder / f"{service}.log"

    def _status(self, container: ServiceContainer) -> ServiceStatus:
        state = container.state
        return ServiceStatus(
            service=container.service,
            running=state.live and not state.stopped,
            url=container.url,
            pid=state.pid if state.live else None,
            exit_code=state.code,
            log=container.log,
        )

    def _bring_back(self, container: ServiceContainer) -> None:
        container.start()
        container.await_ready(self.settings.ready_timeout, lambda: self._going_down)
