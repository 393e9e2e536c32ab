"""The default stack: our kernel, runtime and fixtures service as child processes on loopback."""

from __future__ import annotations

from pytest_execgo.harness.control import Launch
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.settings import child_environment, serve_command
from pytest_execgo.harness.supervisor import READY_FD
from pytest_execgo.plan.stack import Service


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
            env["EXECGO_RUNTIME_URL"] = self._ports[Service.RUNTIME].url
            port = self._ports[Service.KERNEL].port
            env["EXECGO_ALLOWED_HOSTS"] = f"127.0.0.1:{port},localhost:{port}"
        for variable in _TOKENS[service] if self.token else ():
            env[variable] = str(self.token)
        return {**env, **self.settings.extra_env.get(service, {})}

    def _options(self, service: Service) -> list[str]:
        settings = self.settings
        stop = ["-shutdown-timeout", str(settings.shutdown_timeout)]
        if service is Service.KERNEL:
            data = str(self.folder / "kernel-data")
            return ["-data-dir", data, "-max-concurrency", str(settings.max_concurrency), *self._bounds(), *stop]
        return ["-data-dir", str(self.folder / "runtime-data"), *stop] if service is Service.RUNTIME else []

    def _bounds(self) -> list[str]:
        """Return what keeps a strict kernel's tasks to their own files and to the fixtures service; scripts stay allowed."""
        roots = self.settings.file_roots
        if roots is None:
            return []
        fixtures = self._ports[Service.FIXTURES].url.removeprefix("http://")
        folders = ",".join(str(root.absolute()) for root in (*roots, self.folder))
        return ["-file-root", folders, "-http-allow", fixtures, "-script-policy", "allow"]


_TOKENS = {
    Service.KERNEL: ("EXECGO_TOKEN", "EXECGO_RUNTIME_TOKEN"),
    Service.RUNTIME: ("EXECGO_RUNTIME_TOKEN",),
    Service.FIXTURES: ("EXECGO_FIXTURES_TOKEN",),
}
