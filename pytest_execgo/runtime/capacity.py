"""What a runtime service can take on at once: slots, memory, cores, and each tenant's share of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.models import Limits
from pytest_execgo.runtime.tasks import TaskRecord


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many tasks run at once and may wait, what they may reserve together, and how many a tenant may run; None: no bound."""

    max_concurrency: int
    queue_limit: int
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    tenant_limit: int | None = None


@dataclass(slots=True)
class Reserved:
    """What tasks hold together, by the limits that they were submitted with; a task without a limit reserves nothing."""

    tasks: int = 0
    memory_bytes: int = 0
    cpu_cores: float = 0.0

    def add(self, limits: Limits, sign: int = 1) -> None:
        """Count a task in, or with `sign` -1 out."""
        self.tasks += sign
        self.memory_bytes += sign * (limits.memory_bytes or 0)
        self.cpu_cores = round(self.cpu_cores + sign * (limits.cpu_cores or 0), 6)

    def shown(self) -> dict[str, Any]:
        """Return the sums as an answer holds them."""
        return {"tasks": self.tasks, "memory_bytes": self.memory_bytes, "cpu_cores": self.cpu_cores}


class Ledger:
    """Counts what runs and what waits, against a capacity."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.running = Reserved()
        self.queued = Reserved()
        self._running_of: Counter[str] = Counter()
        self._queued_of: Counter[str] = Counter()

    def refuse_impossible(self, limits: Limits) -> None:
        """Raise a 400 `insufficient_resources` for a task that could never be started here."""
        for name, asked, most in (
            ("memory_bytes", limits.memory_bytes, self.capacity.memory_bytes),
            ("cpu_cores", limits.cpu_cores, self.capacity.cpu_cores),
        ):
            if asked is not None and most is not None and asked > most:
                message = f"$.limits.{name}: {asked} is more than this service has at all ({most})"
                raise HttpError(400, "insufficient_resources", message, {"limit": name, "requested": asked, "capacity": most})

    def next_of(self, waiting: Iterable[TaskRecord]) -> TaskRecord | None:
        """Return the task that is to start next, if any may start now.

        In the order of acceptance: a task that waits for room holds back those behind it, or it might wait for ever; one whose
        tenant has its share holds back nobody.
        """
        if self.running.tasks >= self.capacity.max_concurrency:
            return None
        for record in waiting:
            if self.has_room(record.request.limits):
                if self.tenant_may(record.tenant):
                    return record
            else:
                return None
        return None

    def has_room(self, limits: Limits) -> bool:
        """Tell whether a task with these limits can be started beside what runs."""
        capacity, held = self.capacity, self.running
        return (
            held.tasks < capacity.max_concurrency
            and (capacity.memory_bytes is None or held.memory_bytes + (limits.memory_bytes or 0) <= capacity.memory_bytes)
            and (capacity.cpu_cores is None or held.cpu_cores + (limits.cpu_cores or 0) <= capacity.cpu_cores)
        )

    def tenant_may(self, tenant: str) -> bool:
        """Tell whether a tenant may have one more task running."""
        return self.capacity.tenant_limit is None or self._running_of[tenant] < self.capacity.tenant_limit

    def count(self, record: TaskRecord, *, running: int = 0, queued: int = 0) -> None:
        """Count a task in (1) or out (-1) of what runs or what waits."""
        for change, held, of in ((running, self.running, self._running_of), (queued, self.queued, self._queued_of)):
            if change:
                held.add(record.request.limits, change)
                of[record.tenant] += change
                if not of[record.tenant]:
                    del of[record.tenant]

    def shown(self) -> dict[str, Any]:
        """Return capacity, reservations and tenants as an answer holds them."""
        tenants = {
            name: {"running": self._running_of[name], "queued": self._queued_of[name], "limit": self.capacity.tenant_limit}
            for name in sorted({*self._running_of, *self._queued_of})
        }
        capacity = {"memory_bytes": self.capacity.memory_bytes, "cpu_cores": self.capacity.cpu_cores}
        return {
            "capacity": {"tasks": self.capacity.max_concurrency, **capacity},
            "reserved": {"running": self.running.shown(), "queued": self.queued.shown()},
            "tenant_limit": self.capacity.tenant_limit,
            "tenants": tenants,
        }
