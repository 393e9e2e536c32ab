"""The stream of one run's events: stamped in order, handed to every consumer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_execgo.observability.events import Event


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its place in the run: `seq` from 1, wall clock in ns since the epoch, monotonic clock in ns."""

    seq: int
    wall_ns: int
    monotonic_ns: int
    event: Event


class Consumer(Protocol):
    """Anything that makes something of events."""

    def consume(self, stamped: Stamped) -> None:
        """Take one event; called in order, synchronously."""


class EventStream:
    """One run's stream. `emit` returns the event's `seq`, by which evidence refers to it."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = tuple(consumers)
        self._last = 0

    def emit(self, event: Event) -> int:
        """Stamp an event and hand it on."""
        self._last += 1
        stamped = Stamped(self._last, time.time_ns(), time.monotonic_ns(), event)
        for consumer in self._consumers:
            consumer.consume(stamped)
        return self._last
