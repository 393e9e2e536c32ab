"""The default stack: our kernel, runtime and fixtures service as child processes on loopback."""

from __future__ import annotations

from functools import cached_property

from pytest_execgo.harness.control import Launch
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import child_environment, serve_command
from pytest_execgo.harness.supervisor import READY_FD
from pytest_execgo.plan.stack import Service


class EmbeddedStack(ProcessStack):
    """Three services of ours. Their ports are known, and theirs, before the first of them starts."""

    foreign: frozenset[Service] = frozenset()

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return "embedded"

    def launch(self, service: Service) -> Launch:
        """Return how one of our services is started: sharing its reserved port, announcing its readiness."""
        address = self._ports[service].url.removeprefix("http://")
        options = ["--shared-port", "--ready-fd", READY_FD, *self.options.options(service)]
        return Launch(
            argv=[*serve_command(service, address, *options), *self.settings.extra_args.get(service, ())],
            env=self.environment(service),
            cwd=self.settings.cwd or self.folder,
            log=self._log(service),
        )

    def environment(self, service: Service) -> dict[str, str]:
        """Return a service's whole environment."""
        return {**self._inherited, **self.options.environment(service)}

    @cached_property
    def _inherited(self) -> dict[str, str]:
        """What services take over: read once, so that one which is started again in a test gets the same paths."""
        return child_environment(self.settings.environ)

    @property
    def options(self) -> ServiceOptions:
        """What the services are told."""
        port = self._ports[Service.KERNEL].port
        return ServiceOptions(
            self.settings,
            self.folder,
            self.token,
            urls={service: reservation.url for service, reservation in self._ports.items()},
            hosts=(f"127.0.0.1:{port}", f"localhost:{port}"),
            foreign=self.foreign,
        )
