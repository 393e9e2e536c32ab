"""The three services of a stack in containers, made through testcontainers, on a network of their own."""

from __future__ import annotations

import math
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from docker.types import EndpointConfig, LogConfig
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from pytest_execgo.core.engine.cleanup import Guard, remove_labelled, remove_leftovers
from pytest_execgo.core.engine.connection import EngineError, connect, engine_call, engine_is_here, engine_options
from pytest_execgo.core.engine.ownership import owner_labels
from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.container_acts import ContainerActs
from pytest_execgo.harness.container_network import INNER_PORTS, create_network, host_address
from pytest_execgo.harness.container_plan import ContainerPlan, ServiceImage, caller, choose_images, plan_container
from pytest_execgo.harness.container_service import ServiceContainer
from pytest_execgo.harness.container_watch import EngineWatch
from pytest_execgo.harness.image_build import SERVICE_LABEL
from pytest_execgo.harness.ports import HOST, free_port, port_taken
from pytest_execgo.harness.record import StackRecord, take_folder
from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Endpoints, Service

__all__ = ["ContainerStack", "host_address"]

STACK_LABEL = "org.pytest-execgo.stack"
"""On what belongs to one stack; its value is that stack's alone."""
_PORT_ATTEMPTS = 10
_MOST_PROCESSES = 4096
_LOG_BOUNDS = {"max-size": "64m", "max-file": "2"}


class ContainerStack(ContainerActs):
    """Kernel, runtime and fixtures service in containers; `images` are given ones, the others are ours, built when needed.

    The stack's folder and the settings' `file_roots` are seen at their own paths inside, and written to as the caller.
    Services find each other by their names on a network of their own; their ports are published on 127.0.0.1 alone.
    A container is one world: what a service has started ends with it.
    """

    def __init__(
        self,
        folder: Path,
        settings: StackSettings | None = None,
        *,
        images: Mapping[Service, str] | None = None,
        base_image: str | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Prepare a stack that keeps its data and logs in `folder`; nothing starts, nor is the engine asked, before `up`.

        `tell` gets a line for each longer step of building images.
        """
        super().__init__(folder, settings)
        self.token = (self.settings.token or secrets.token_urlsafe(24)) if self.settings.guarded else None
        self._given_images = dict(images or {})
        self._base_image = base_image
        self._tell = tell
        self._ports: dict[Service, int] = {}
        self._images: dict[Service, ServiceImage] = {}
        self._name = ""
        self._folder_lock: int | None = None
        self.supervisor_pid: int = 0
        """Process id of the guard, which ends once nothing is left of what this process has made; 0 before the first `up`."""

    def up(self) -> Endpoints:
        """Bring everything up, concurrently, and return once all three are ready; again: where they are.

        In a folder that had a stack before, services take up the data that is there, and logs go on. Errors are those of
        the engine (`EngineMissing`, `EngineError`), of the images (`ImageError`), and `StackError` for a service.
        """
        with self._changing:
            if self._watch is not None:
                return self.endpoints()
            self._going_down = False
            try:
                self._start()
            except BaseException:
                with suppress(StackError):  # what went wrong first is what is told
                    self.down()
                raise
            return self.endpoints()

    def _start(self) -> None:
        client = connect()
        if not engine_is_here():
            where = engine_options()["base_url"]
            raise StackError("engine_elsewhere", f"the engine at {where} can't see this machine's files", "use one that runs here")
        self._folder_lock = take_folder(self.folder)
        self.supervisor_pid = Guard.ensure().pid
        with engine_call("say what it has"):
            remove_leftovers(client)
            rootless = any("rootless" in option for option in client.info().get("SecurityOptions") or ())
        self._images = choose_images(client, self._given_images, self._base_image, self._tell)
        self._name = f"execgo-{secrets.token_hex(6)}"
        self._watch = EngineWatch(f"{STACK_LABEL}={self._name}", SERVICE_LABEL, self._watchers.tell)
        self._services = {service: ServiceContainer(service, client, self._watch, self._log(service)) for service in Service}
        self._network = create_network(self._name, self._labels())
        self._ports = {}
        user = caller(rootless)
        self._concurrently(lambda service: self._make(service, user))
        StackRecord.of(self.backend, self._ports, self.supervisor_pid).save(self.folder)

    def down(self) -> None:
        """End everything: a chance to stop gracefully for all at once, then nothing of it is left in the engine.

        Another thread that waits for a service to get ready is told with a `StackError`.
        """
        self._going_down = True
        if (waited_for := self._watch) is not None:
            waited_for.nudge()
        with self._changing:
            watch, self._watch = self._watch, None
            try:
                if watch is not None:
                    try:
                        _each(self._end)
                    finally:  # also what one service's failure, or an interrupt, has left
                        with engine_call("remove the stack"):
                            remove_labelled(connect(), STACK_LABEL, self._name)
            finally:
                if watch is not None:
                    watch.close()
                if self._folder_lock is not None:
                    os.close(self._folder_lock)
                    self._folder_lock = None

    def endpoints(self) -> Endpoints:
        """Return where the services are; `StackError` before `up` and after `down`."""
        self._live()
        kernel, runtime, fixtures = (self._services[service].url for service in Service)
        return Endpoints(kernel, runtime, fixtures, self.token, self._inner_url(Service.FIXTURES))

    def _labels(self) -> dict[str, str]:
        return {**owner_labels(), STACK_LABEL: self._name}

    def _inner_url(self, service: Service) -> str:
        """Return the base URL by which services find one another."""
        port = self._images[service].port if service in self._images else INNER_PORTS[service]
        return f"http://{service}:{port}"

    def _options(self, port: int) -> ServiceOptions:
        """Return what services are told, the kernel being published on `port`."""
        inner = {service: self._inner_url(service) for service in Service}
        hosts = (f"{HOST}:{port}", f"localhost:{port}", inner[Service.KERNEL].removeprefix("http://"))
        foreign = frozenset(service for service, image in self._images.items() if not image.ours)
        return ServiceOptions(self.settings, self.folder, self.token, inner, hosts, foreign)

    def _make(self, service: Service, user: str) -> None:
        """Make a service's container and wait until it is ready; a port that somebody takes meanwhile is chosen anew."""
        container, given = self._services[service], self.settings.ports.get(service, 0)
        if given and port_taken(given):
            raise StackError("port_taken", f"port {given} for the {service} is taken on {HOST}", "stop what listens there")
        for attempt in range(_PORT_ATTEMPTS):
            port = self._ports[service] = given or free_port(tuple(self._ports.values()))
            container.url = f"http://{HOST}:{port}"
            container.begin()
            plan = plan_container(service, self._images[service], self._options(port), user)
            made = self._container(service, plan, port)
            try:
                with engine_call(f"start the {service}"):
                    made.start()
                container.began(made.get_container_id())
            except EngineError as error:
                with engine_call(f"remove the {service}"):
                    made.stop()
                if given or attempt == _PORT_ATTEMPTS - 1 or not _port_was_taken(error):
                    raise
            else:
                break
            finally:
                made.get_docker_client().client.close()
        container.await_ready(self.settings.ready_timeout, lambda: self._going_down)

    def _container(self, service: Service, plan: ContainerPlan, port: int) -> DockerContainer:
        api = connect().api
        made = DockerContainer(plan.image, docker_client_kw={"version": api._version, "timeout": api.timeout})
        made.image = plan.image  # whatever prefix testcontainers is told to use: the engine has it by this name
        made.with_name(f"{self._name}-{service}").with_envs(**plan.environment).with_bind_ports(plan.port, port)
        if plan.command is not None:
            made.with_command(plan.command)
        for path, write in plan.mounts.items():
            made.with_volume_mapping(str(path), str(path), "rw" if write else "ro")
        return made.with_kwargs(
            user=plan.user,
            working_dir=str(plan.folder),
            network=self._name,
            networking_config={self._name: EndpointConfig(api._version, aliases=[service.value])},
            labels={**self._labels(), SERVICE_LABEL: service.value},
            init=True,
            pids_limit=_MOST_PROCESSES,
            security_opt=["no-new-privileges"],
            dns_opt=["timeout:1"],  # the name of a service that is down is asked for elsewhere, too
            log_config=LogConfig(type=LogConfig.types.JSON, config=_LOG_BOUNDS),
        )

    def _end(self, service: Service) -> None:
        container = self._services[service]
        with suppress(StackError):  # it is removed in any case
            if container.state.live:
                container.stop(max(1, math.ceil(self.settings.down_timeout)))
        container.remove()

    def _concurrently(self, act: Callable[[Service], None]) -> None:
        """Do something to each service at once; the first failure makes the others give up."""

        def give_up() -> None:
            self._going_down = True
            if self._watch is not None:
                self._watch.nudge()

        with _Reaper.off():
            _each(act, give_up)


def _each(act: Callable[[Service], None], give_up: Callable[[], None] = lambda: None) -> None:
    """Do something to each service in a thread of its own, and return when all are done, whoever interrupts.

    What failed first is raised; `give_up` is called at each failure.
    """
    errors: list[BaseException] = []

    def one(service: Service) -> None:
        try:
            act(service)
        except BaseException as error:
            errors.append(error)
            give_up()

    threads = [threading.Thread(target=one, args=(service,), name=f"execgo-{service}") for service in Service]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as error:  # an interrupt; what the threads are making has to be seen by who removes it
                errors.insert(0, error)
                give_up()
    if errors:
        raise errors[0]


class _Reaper:
    """Testcontainers' own cleaner, whose image may be out of reach: `Guard` does its work.

    Whoever else uses testcontainers in this process finds its settings as they were, however many stacks come up at once.
    """

    _lock = threading.Lock()
    _off = 0
    _before = False

    @classmethod
    @contextmanager
    def off(cls) -> Iterator[None]:
        """Keep it from being started meanwhile."""
        with cls._lock:
            if cls._off == 0:
                cls._before, testcontainers_config.ryuk_disabled = testcontainers_config.ryuk_disabled, True
            cls._off += 1
        try:
            yield
        finally:
            with cls._lock:
                cls._off -= 1
                if cls._off == 0:
                    testcontainers_config.ryuk_disabled = cls._before


def _port_was_taken(error: EngineError) -> bool:
    said = error.message.lower()
    return "port is already allocated" in said or "address already in use" in said
