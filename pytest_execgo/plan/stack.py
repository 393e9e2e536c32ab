"""The stack: kernel, runtime and fixtures service, whoever runs them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Service(StrEnum):
    """The three services of a stack."""

    KERNEL = "kernel"
    RUNTIME = "runtime"
    FIXTURES = "fixtures"


class Capability(StrEnum):
    """What a backend may be able to do to a service, beyond bringing it up and down."""

    RESTART = "restart"
    KILL = "kill"
    PAUSE = "pause"
    LIMIT = "limit"
    LOGS = "logs"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs of the three services, without a trailing slash, and the bearer token that guards them (or None).

    `inner_fixtures` is where the services themselves, and what runs in them, find the fixtures service; None: where we do.
    """

    kernel: str
    runtime: str
    fixtures: str
    token: str | None = None
    inner_fixtures: str | None = None

    @property
    def fixtures_for_tasks(self) -> str:
        """Base URL of the fixtures service for whatever a plan does."""
        return self.inner_fixtures or self.fixtures


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as its backend sees it. `pid` is None where there is none to tell (external, containers)."""

    service: Service
    running: bool
    url: str
    pid: int | None = None
    exit_code: int | None = None
    log: Path | None = None


class Stack(Protocol):
    """One backend's stack. What it can't do is missing from `capabilities` and raises `Unsupported`.

    Any thread may call anything: what changes the stack is done one after the other, what only looks never waits for that.
    """

    @property
    def backend(self) -> str:
        """Name of the backend: embedded, native, external, containers."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do."""

    def up(self) -> Endpoints:
        """Bring everything up, concurrently, and return once all three are ready; `StackError` names what failed and its log."""

    def down(self) -> None:
        """End everything that `up` started. Safe to call twice."""

    def endpoints(self) -> Endpoints:
        """Return where the services are; `StackError` before `up`."""

    def status(self) -> list[ServiceStatus]:
        """Tell how each service is, in the order of `Service`."""

    def restart(self, service: Service) -> None:
        """Stop one service gracefully and bring it back on the same port with the same data folder, ready again on return."""

    def kill(self, service: Service) -> None:
        """End one service at once (SIGKILL), without bringing it back."""

    def revive(self, service: Service) -> bool:
        """Bring back one service that has ended, by itself or by `kill`, ready again on return; it needs `Capability.RESTART`.

        False, and nothing is done, when it runs or is only paused. Waits for a restart in progress instead of racing it.
        """

    def pause(self, service: Service) -> None:
        """Stop one service from running (SIGSTOP) without ending it."""

    def resume(self, service: Service) -> None:
        """Let a paused service go on."""

    def limit(self, service: Service, *, cpu: float | None = None, memory: int | None = None) -> None:
        """Bound one service: `cpu` in cores, `memory` in bytes; None lifts that bound."""

    def disconnect(self, service: Service) -> None:
        """Take one service off the network: nobody reaches it, and it reaches nobody, until `connect`. It goes on running."""

    def connect(self, service: Service) -> None:
        """Put one service back on the network, at the address that it had. Safe to call for one that is on it."""

    def logs(self, service: Service, *, tail: int = 50) -> str:
        """Return the last `tail` lines that the service wrote."""
