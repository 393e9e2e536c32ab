"""What services are told on their command lines and in their environments, wherever they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

KERNEL_HISTORY = "kernel-history.jsonl"
"""The kernel's own account of what it did, in a stack's folder."""
_TOKENS = {
    Service.KERNEL: ("EXECGO_TOKEN", "EXECGO_RUNTIME_TOKEN"),
    Service.RUNTIME: ("EXECGO_RUNTIME_TOKEN",),
    Service.FIXTURES: ("EXECGO_FIXTURES_TOKEN",),
}


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """One stack's services. `urls` is where they find each other; `hosts` the host:port pairs by which clients call the kernel.

    `foreign` are those that are not ours. Somebody's ExecGo kernel knows ExecGo's own options only and no token, so that
    the runtime that it calls can't be guarded either. Somebody's runtime is told nothing at all.
    """

    settings: StackSettings
    folder: Path
    token: str | None
    urls: Mapping[Service, str]
    hosts: tuple[str, ...] = ()
    foreign: frozenset[Service] = frozenset()

    def options(self, service: Service) -> list[str]:
        """Return a service's options: where its data is, how it stops, its bounds; not where it listens."""
        data = ["-data-dir", str(self.folder / f"{service}-data")]
        if service is Service.FIXTURES:
            return data
        stop = ["-shutdown-timeout", str(self.settings.shutdown_timeout)]
        if service is Service.RUNTIME:
            return [] if service in self.foreign else [*data, *stop]
        kernel = [*data, "-max-concurrency", str(self.settings.max_concurrency), *self._bounds(), *stop]
        if self.settings.history and service not in self.foreign:
            kernel += ["-history", str(self.folder / KERNEL_HISTORY)]
        return kernel

    def environment(self, service: Service) -> dict[str, str]:
        """Return the variables that are a service's own; tokens travel here, never on a command line."""
        env: dict[str, str] = {}
        if service is Service.KERNEL:
            env["EXECGO_RUNTIME_URL"] = self.way_to(Service.RUNTIME)
            if service not in self.foreign:
                env["EXECGO_ALLOWED_HOSTS"] = ",".join([*self.hosts, *self.settings.kernel_hosts])
        for variable in _TOKENS[service] if self.guarded(service) else ():
            env[variable] = str(self.token)
        return {**env, **self.settings.extra_env.get(service, {})}

    def guarded(self, service: Service) -> bool:
        """Tell whether a service wants the token."""
        callers = {Service.KERNEL, Service.RUNTIME} if service is Service.RUNTIME else {service}
        return self.token is not None and not callers & self.foreign

    def way_to(self, service: Service) -> str:
        """Return the base URL at which the kernel finds another service."""
        return self.settings.via.get(service, self.urls[service]).rstrip("/")

    def _bounds(self) -> list[str]:
        """Return what keeps a strict kernel's tasks to their own files and to the fixtures service; scripts stay allowed."""
        roots = self.settings.file_roots
        if roots is None:
            return []
        ways = dict.fromkeys((self.urls[Service.FIXTURES], self.way_to(Service.FIXTURES)))
        fixtures = ",".join(way.removeprefix("http://") for way in ways)
        folders = ",".join(str(root.absolute()) for root in (*roots, self.folder))
        return ["-file-root", folders, "-http-allow", fixtures, "-script-policy", "allow"]
