"""A full disk, as one service sees it: what it writes to files is refused."""

from __future__ import annotations

import random
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.chaos.actions.checks import NoParameters, never_used, parameter_problems
from pytest_execgo.chaos.actions.services import status_of
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.chaos import Fault
from pytest_execgo.plan.fault import Action, Applied, Surroundings, World
from pytest_execgo.plan.stack import Endpoints, Service, Stack

_PROBE_TIMEOUT = 10.0


def file_size_limit(pid: int, soft: int) -> int:
    """Bound how far into files a process may write from now on; return the bound it had. `OSError` if that is not ours to do.

    Only the soft bound is changed, so that it can be taken back.
    """
    old, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    return old


@dataclass(slots=True)
class DiskFull:
    """A service whose writes are refused, as the process `pid`."""

    stack: Stack
    service: Service
    pid: int
    before: int
    limit: Callable[[int, int], int]
    seen: dict[str, Any] = field(default_factory=dict)

    def undo(self) -> None:
        """Let it write again, unless that very process has ended since."""
        if status_of(self.stack, self.service).pid != self.pid:
            return
        try:
            self.limit(self.pid, self.before)
        except ProcessLookupError:
            return  # it ended this very moment

    def observed(self) -> Mapping[str, Any]:
        """Tell how the service answered something that it would have had to write down."""
        return self.seen


@dataclass(frozen=True, slots=True)
class FillDisk:
    """Refuses what a service writes to files (`RLIMIT_FSIZE`), and makes sure of that: a submission must be refused.

    What the service had already begun to write, and what its commands write, is refused, too. `limit` is told a process and a
    bound, `post` a URL, a token and a body; both are there for tests.
    """

    targets: frozenset[str] = frozenset({str(Service.KERNEL), str(Service.RUNTIME)})
    limit: Callable[[int, int], int] = file_size_limit
    post: Callable[[str, str | None, Mapping[str, Any]], int] | None = None

    def problems(self, fault: Fault) -> list[str]:
        """Complain about any parameter."""
        return parameter_problems(NoParameters, fault)

    def unusable(self, fault: Fault, surroundings: Surroundings) -> str | None:
        """Need a service that is a process of this machine, Linux, and a plan that uses the service."""
        if not surroundings.local:
            return "the services don't run on this machine"
        if sys.platform != "linux":
            return "only Linux can bound the files of another process"
        return never_used(fault.target, surroundings.plan)

    def apply(self, fault: Fault, world: World, draw: random.Random) -> Applied:
        """Refuse writes from now on; take back at once when that can't be seen."""
        service = Service(fault.target)
        pid = status_of(world.stack, service).pid
        if pid is None:
            raise ExecGoError("no_process", f"the {service} is no running process of this machine")
        try:
            full = DiskFull(world.stack, service, pid, self.limit(pid, 0), self.limit)
        except OSError as error:
            raise ExecGoError("disk_not_full", f"the files of the {service} can't be bounded: {error}") from error
        try:
            probe = f"nemesis:{world.run_id}:disk:{draw.getrandbits(32):08x}"
            full.seen = self._kernel(world, probe) if service is Service.KERNEL else self._runtime(world.stack.endpoints(), probe)
        except BaseException:
            full.undo()
            raise
        return full

    def _kernel(self, world: World, probe: str) -> dict[str, Any]:
        try:
            world.kernel.submit([{"id": probe, "type": "noop"}])
        except ExecGoError as error:
            status = getattr(error, "status_code", 0)
            return {"hit": status >= 500, "status_code": status, "said": error.message}
        return {"hit": False, "said": "the kernel accepted a submission all the same"}

    def _runtime(self, endpoints: Endpoints, probe: str) -> dict[str, Any]:
        body = {"task_id": probe, "execution": {"kind": "emit", "payload": "the disk is not full"}}
        status = (self.post or _post)(f"{endpoints.runtime}/api/v1/tasks", endpoints.token, body)
        return {"hit": status >= 500, "status_code": status}


def _post(url: str, token: str | None, body: Mapping[str, Any]) -> int:
    import requests  # here, since a run without faults has no use for it

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.post(url, json=body, headers=headers, timeout=_PROBE_TIMEOUT).status_code
        except requests.RequestException as error:
            raise ExecGoError("runtime_unreachable", f"the runtime did not answer: {error}") from error


DISK_ACTIONS: dict[str, Action] = {"disk_full": FillDisk()}
"""Faults of the disk by name."""
