"""The default stack: our kernel, runtime and fixtures service as child processes on loopback."""

from __future__ import annotations

from pytest_execgo.harness.control import Launch
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.settings import child_environment, serve_command
from pytest_execgo.harness.supervisor import READY_FD
from pytest_execgo.plan.stack import Service

KERNEL_HISTORY = "kernel-history.jsonl"
"""The kernel's own account of what it did, in a stack's folder."""


class EmbeddedStack(ProcessStack):
    """Three services of ours. Their ports are known, and theirs, before the first of them starts."""

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return "embedded"

    def launch(self, service: Service) -> Launch:
        """Return how one of our services is started: sharing its reserved port, announcing its readiness."""
        reservation = self._ports[service]
        address = reservation.url.removeprefix("http://")
        options = ["--shared-port", "--ready-fd", READY_FD, *self._options(service)]
        if service is Service.KERNEL and self.settings.history:
            options += ["-history", str(self.folder / KERNEL_HISTORY)]
        return Launch(
            argv=[*serve_command(service, address, *options), *self.settings.extra_args.get(service, ())],
            env=self.environment(service),
            cwd=self.settings.cwd or self.folder,
            log=self._log(service),
        )

    def environment(self, service: Service) -> dict[str, str]:
        """Return a service's whole environment; tokens travel here, never on a command line."""
        env = child_environment(self.settings.environ)
        if service is Service.KERNEL:
            env["EXECGO_RUNTIME_URL"] = self._way_to(Service.RUNTIME)
            port = self._ports[Service.KERNEL].port
            env["EXECGO_ALLOWED_HOSTS"] = ",".join([f"127.0.0.1:{port}", f"localhost:{port}", *self.settings.kernel_hosts])
        for variable in _TOKENS[service] if self.token else ():
            env[variable] = str(self.token)
        return {**env, **self.settings.extra_env.get(service, {})}

    def _options(self, service: Service) -> list[str]:
        """Return the options that a service and its like of others understand: where its data is, how it stops, its bounds."""
        data = ["-data-dir", str(self.folder / f"{service}-data")]
        if service is Service.FIXTURES:
            return data
        stop = ["-shutdown-timeout", str(self.settings.shutdown_timeout)]
        if service is Service.RUNTIME:
            return [*data, *stop]
        return [*data, "-max-concurrency", str(self.settings.max_concurrency), *self._bounds(), *stop]

    def _way_to(self, service: Service) -> str:
        """Return the base URL at which the kernel finds another service."""
        return self.settings.via.get(service, self._ports[service].url).rstrip("/")

    def _bounds(self) -> list[str]:
        """Return what keeps a strict kernel's tasks to their own files and to the fixtures service; scripts stay allowed."""
        roots = self.settings.file_roots
        if roots is None:
            return []
        ways = dict.fromkeys((self._ports[Service.FIXTURES].url, self._way_to(Service.FIXTURES)))
        fixtures = ",".join(way.removeprefix("http://") for way in ways)
        folders = ",".join(str(root.absolute()) for root in (*roots, self.folder))
        return ["-file-root", folders, "-http-allow", fixtures, "-script-policy", "allow"]


_TOKENS = {
    Service.KERNEL: ("EXECGO_TOKEN", "EXECGO_RUNTIME_TOKEN"),
    Service.RUNTIME: ("EXECGO_RUNTIME_TOKEN",),
    Service.FIXTURES: ("EXECGO_FIXTURES_TOKEN",),
}
