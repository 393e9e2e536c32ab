"""What is in force on one leg. Used by the thread of the proxy alone, but for counts, which anybody may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar, get_args

from pytest_execgo.chaos.network.parameters import (
    Direction,
    Duplicate,
    HalfOpen,
    Latency,
    LoseResponse,
    Matching,
    OnResponse,
    Order,
    Refuse,
    Reset,
    Slice,
)
from pytest_execgo.plan.base import Document

Terms = TypeVar("Terms", bound=Document)


@dataclass(slots=True, eq=False)
class Active(Generic[Terms]):
    """A disturbance in force, and whom it struck. `left` is how often it may still strike; None: without end."""

    order: Order
    terms: Terms
    left: int | None = None
    lifted: bool = False
    hits: int = 0
    connections: set[int] = field(default_factory=set)
    error: BaseException | None = None

    def suffered(self, connection: int) -> None:
        """Count a connection, once."""
        if connection not in self.connections:
            self.connections.add(connection)
            self.hits += 1

    def struck(self) -> None:
        """Count a request."""
        self.hits += 1

    def take(self) -> bool:
        """Use up one of the times that are left; False when there is none."""
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


@dataclass(slots=True)
class Fate:
    """What one HTTP request is to suffer, at most one of each kind."""

    on_response: Active[OnResponse] | None = None
    duplicate: Active[Duplicate] | None = None
    lose_response: Active[LoseResponse] | None = None

    def __bool__(self) -> bool:
        return self.on_response is not None or self.duplicate is not None or self.lose_response is not None

    def spare_lifted(self) -> None:
        """Forget what was lifted since."""
        for name in ("on_response", "duplicate", "lose_response"):
            active = getattr(self, name)
            if active is not None and active.lifted:
                setattr(self, name, None)


def activate(order: Order) -> Active[Document]:
    """Return a disturbance that is about to be in force."""
    left: int | None = None
    if isinstance(order.terms, Reset):
        left = order.terms.limit
    elif isinstance(order.terms, Duplicate | LoseResponse):
        left = order.terms.count
    elif isinstance(order.terms, OnResponse):
        left = 1
    return Active(order, order.terms, left)


class Rules:
    """The disturbances in force on one leg, and what they mean for connections, bytes and requests."""

    def __init__(self) -> None:
        self._active: list[Active[Document]] = []
        self._shaped: dict[str, bool] = {}

    def add(self, active: Active[Document]) -> None:
        """Put a disturbance in force."""
        self._active.append(active)
        self._know()

    def remove(self, active: Active[Document]) -> bool:
        """Lift a disturbance; False when it is not in force any more."""
        active.lifted = True
        if active not in self._active:
            return False
        self._active.remove(active)
        self._know()
        return True

    def everything(self) -> list[Active[Document]]:
        """Return what is in force, oldest first."""
        return list(self._active)

    def shapes(self, direction: Direction) -> bool:
        """Tell whether bytes that go this way can't simply be passed on."""
        return self._shaped.get(direction, False)

    def turns_away(self, connection: int) -> bool:
        """Decide over a new connection: whether it is reset at once."""
        for active in self._of(Reset, Refuse):
            if active.take():
                active.suffered(connection)
                return True
        return False

    def latencies(self) -> list[Active[Latency]]:
        """Return what holds bytes back."""
        return list(self._of(Latency))

    def slices(self) -> list[Active[Slice]]:
        """Return what cuts bytes into pieces."""
        return list(self._of(Slice))

    def swallow(self, direction: Direction, connection: int) -> bool:
        """Decide over bytes, or an end, that go this way: whether they are lost."""
        swallowing = [active for active in self._of(HalfOpen) if active.terms.swallows(direction)]
        for active in swallowing:
            active.suffered(connection)
        return bool(swallowing)

    def fate(self, method: str, path: str) -> Fate:
        """Decide over a request that has begun; `path` without its query."""
        fate = Fate()
        for active in self._of(Matching):
            name = active.order.kind
            if getattr(fate, name) is None and active.terms.matches(method, path) and active.take():
                setattr(fate, name, active)
        return fate

    def _of(self, *models: type[Terms]) -> Iterator[Active[Terms]]:
        return (active for active in self._active if isinstance(active.terms, models))  # type: ignore[misc]

    def _know(self) -> None:
        slow = any(self._of(Latency, Slice))
        for direction in get_args(Direction):
            self._shaped[direction] = slow or any(active.terms.swallows(direction) for active in self._of(HalfOpen))
