"""A stack that is up, the clients that speak to it, and the network legs on which their traffic can be disturbed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.client.runtime import sandbox_problem
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.sandbox import SandboxMode, SandboxPolicy, SandboxUse
from pytest_execgo.plan.stack import Capability, Endpoints, Stack

if TYPE_CHECKING:
    from pytest_execgo.chaos.network.links import Links


class KernelJournal:
    """What the kernel has written down of its own doings since it was last asked."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client
        self._after = 0

    def news(self) -> list[dict[str, Any]]:
        """Return the entries since the last call."""
        found: list[dict[str, Any]] = []
        while True:
            entries, after = self._client.history(self._after)
            found += entries
            if after == self._after:
                return found
            self._after = after


class LiveStack:
    """A stack that is up. `make` builds it, given the URLs of the network legs that its traffic shall pass.

    `busy` tells that what a run left behind may still be running in it, or be half done.
    """

    def __init__(self, make: Callable[[Mapping[str, str]], Stack], folder: Path, links: Links | None = None) -> None:
        self.folder = folder
        self.busy = False
        self._sandboxes: dict[SandboxMode, str | None] = {}
        self.links = links
        with ExitStack() as undo:  # whatever fails from here on, nothing stays up that nobody holds
            if links is not None:
                undo.callback(links.close)
            started = time.monotonic()
            self.stack = make({name: leg.url for name, leg in links.items()} if links is not None else {})
            self.endpoints: Endpoints = self.stack.up()
            undo.callback(self.stack.down)
            self.start_ms = (time.monotonic() - started) * 1000
            start = {"backend": self.stack.backend, "start_ms": round(self.start_ms, 3)}
            write_atomic(folder / "start.json", dumps(start) + "\n")
            self._connect(links)
            undo.pop_all()

    def _connect(self, links: Links | None) -> None:
        here, token = self.endpoints, self.endpoints.token
        self.linked_endpoints = here
        if links is not None:
            behind = {"client-kernel": here.kernel, "kernel-runtime": here.runtime, "kernel-fixtures": here.fixtures}
            for name in links:
                links.set_upstream(name, behind[name])
            ways = {name: links[name].url if name in links else url for name, url in behind.items()}
            self.linked_endpoints = Endpoints(ways["client-kernel"], here.runtime, ways["kernel-fixtures"], token)
        self.client = KernelClient(here.kernel, token)
        self.direct = KernelClient(here.kernel, token)
        self.linked = KernelClient(self.linked_endpoints.kernel, token)
        self.fixtures = FixturesClient(here.fixtures, token=token)
        self.journal = KernelJournal(self.direct) if "history" in self.direct.capabilities() else None

    def sandbox(self, policy: SandboxPolicy) -> SandboxUse:
        """Tell what the stack's runtime has of a sandbox; it is asked once. `StackError` when it does not answer."""
        mode = policy.mode
        if mode not in self._sandboxes:
            problem = sandbox_problem(self.endpoints.runtime, mode, self.endpoints.token)
            if problem is not None and self.stack.backend == "containers":
                problem = f"use --execgo-backend embedded; in containers: {problem}"
            self._sandboxes[mode] = problem
        reason = self._sandboxes[mode]
        return SandboxUse(requested=mode, effective=mode if reason is None else None, reason=reason)

    def abandon(self, wire_ids: Sequence[str]) -> None:
        """Take note that tasks of a run that gave up may still be running."""
        self.busy = bool(wire_ids)

    def revive(self) -> None:
        """Restart what is not running, so that one cell's loss is not the next one's."""
        if Capability.RESTART in self.stack.capabilities:
            for row in self.stack.status():
                if not row.running:
                    self.stack.restart(row.service)

    def down(self) -> None:
        """Close the clients, take the stack down, and then the links; each of them whatever became of the others."""
        with ExitStack() as ending:
            if self.links is not None:
                ending.callback(self.links.close)
            ending.callback(self.stack.down)
            for client in (self.client, self.direct, self.linked, self.fixtures):
                ending.callback(client.close)
