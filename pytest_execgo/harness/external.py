"""A stack that somebody else runs: only looked at, never touched."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from pytest_execgo.core.errors import StackError, Unsupported, UsageError
from pytest_execgo.harness.health import HEALTH_PATHS, health_problem
from pytest_execgo.harness.seen_folder import sees_folder
from pytest_execgo.plan.stack import Capability, Endpoints, Service, ServiceStatus

_TIMEOUT = 3.0
_OPTIONS = {
    Service.KERNEL: "--execgo-url",
    Service.RUNTIME: "--execgo-runtime-url",
    Service.FIXTURES: "--execgo-fixtures-url",
}


class ExternalStack:
    """Three services at given URLs. Owns nothing, so it can do nothing to them."""

    def __init__(
        self,
        url: str | None,
        runtime_url: str | None,
        fixtures_url: str | None,
        token: str | None = None,
        folder: Path | None = None,
    ) -> None:
        """Take where everything is; `UsageError` names the option whose URL is missing or malformed.

        `folder` is one of the artifacts, which `up` expects the runtime to see: it has to exist by then.
        """
        given = dict(zip(Service, (url, runtime_url, fixtures_url), strict=True))
        self._urls = {service: _checked(service, value) for service, value in given.items()}
        self.token = token
        self._folder = folder
        self._up = False

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return "external"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Nothing: what somebody else runs is theirs."""
        return frozenset()

    def up(self) -> Endpoints:
        """Check that all three are ready, within 3 s each; `StackError` lists those that are not, each with its option.

        `StackError` (`workspace_unseen`), too, when the runtime says that there is no such folder as the one of the artifacts.
        """
        problems = [
            f"the {service} ({_OPTIONS[service]}) is not ready: {problem}"
            for service in Service
            if (problem := self._problem(service)) is not None
        ]
        if problems:
            paths = ", ".join(f"{service} {path}" for service, path in HEALTH_PATHS.items())
            raise StackError("stack_unreachable", "\n".join(problems), f"each must answer 200 within {_TIMEOUT:g} s: {paths}")
        if self._folder is not None:
            self._check_folder(self._folder.absolute())
        self._up = True
        return self.endpoints()

    def down(self) -> None:
        """Forget the stack; it goes on."""
        self._up = False

    def endpoints(self) -> Endpoints:
        """Return where the services are; `StackError` before `up`."""
        if not self._up:
            raise StackError("stack_down", "the external stack was not checked yet", "call up() first")
        kernel, runtime, fixtures = (self._urls[service] for service in Service)
        return Endpoints(kernel, runtime, fixtures, self.token)

    def status(self) -> list[ServiceStatus]:
        """Ask each service now whether it is ready."""
        return [ServiceStatus(service, self._problem(service) is None, self._urls[service]) for service in Service]

    def describe_failure(self, service: Service) -> str:
        """Say what a request for a service's health gets now."""
        return self._problem(service) or f"it is ready at {self._urls[service]}"

    def restart(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "restart")

    def kill(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "kill")

    def revive(self, service: Service) -> bool:
        """Raise `Unsupported`."""
        self._refuse(service, "revive")

    def pause(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "pause")

    def resume(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "resume")

    def limit(self, service: Service, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "limit")

    def disconnect(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "disconnect")

    def connect(self, service: Service) -> None:
        """Raise `Unsupported`."""
        self._refuse(service, "connect")

    def logs(self, service: Service, *, tail: int = 50) -> str:
        """Raise `Unsupported`."""
        self._refuse(service, "read the log of")

    def _check_folder(self, folder: Path) -> None:
        url = self._urls[Service.RUNTIME]
        if not sees_folder(url, folder, timeout=_TIMEOUT, token=self.token):
            raise StackError(
                "workspace_unseen",
                f"the runtime at {url} does not see the folder {folder}, in which its commands would have to work",
                "point --execgo-out at a folder that it sees at the same path; "
                "for a stack of `harness up --backend containers` that is one beneath the stack's own",
            )

    def _problem(self, service: Service) -> str | None:
        return health_problem(service, self._urls[service], timeout=_TIMEOUT, token=self.token)

    def _refuse(self, service: Service, what: str) -> NoReturn:
        raise Unsupported(
            "not_ours", f"the external backend can't {what} the {service}: it belongs to whoever started it", "use another backend"
        )


def _checked(service: Service, url: str | None) -> str:
    option = _OPTIONS[service]
    if not url:
        raise UsageError("url_missing", f"the external backend needs the {service}'s URL", f"give it with {option}")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise UsageError("bad_url", f"{option}: {url!r} is not a URL of a service", "write it as http://host:port")
    return url.rstrip("/")
