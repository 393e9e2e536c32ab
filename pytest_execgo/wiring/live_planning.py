"""What live cells need to plan: the provider's model behind a gateway, and processes in which frameworks plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.plan.adapter import Planning
from pytest_execgo.plan.cell import Cell
from pytest_execgo.providers.gateway import Gateway
from pytest_execgo.runner.parts import ModelWay
from pytest_execgo.wiring.providers import make_provider
from pytest_execgo.wiring.settings import Settings

_REQUESTS = 3  # that one planning may take, each as long as one may: the plan and two repairs


class LivePlanner:
    """Opens the way to the model, planning by planning. Gateway and processes are there from the first one until `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = ExitStack()
        self._gateway = self._open.enter_context(Gateway())
        self._pool = self._open.enter_context(WorkerPool(os.environ))

    def warm_up(self, framework: str) -> None:
        """Let a framework's process import it while the stack comes up."""
        self._pool.start(framework)

    @contextmanager
    def way(self, cell: Cell, seed: int, fixtures_url: str) -> Iterator[ModelWay]:
        """Give one planning its way to the model; what it cost is known when this is left."""
        provider = make_provider(self._settings, os.environ, fixtures_url)
        access = provider.access(cell.scenario, cell.framework, seed)
        deadline_ms = _REQUESTS * self._settings.model.timeout_ms
        heard: list[dict[str, Any]] = []
        with self._gateway.open(access, deadline_ms=deadline_ms) as session:
            planning = Planning(session.url, deadline_ms, self._pool, lambda event: heard.append(dict(event)))
            way = ModelWay(planning, access.profile, provider.name, provider.label)
            try:
                yield way
            finally:
                session.close()
                way.exchanges, way.usage, way.heard = session.exchanges, session.usage, heard

    def close(self) -> None:
        """End the processes and the gateway."""
        self._open.close()
