"""The stream of one run's events: stamped in order, handed to every consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from pytest_execgo.plan.events import Consumer, Event, Stamped


class EventStream:
    """One run's stream. `emit` returns the event's `seq`, by which evidence refers to it.

    Any thread may emit, a consumer too, while it takes an event: the later ones on the list then see the new event first, so
    consumers that keep events in order stand before those that answer with events. `after` is the `seq` that the last
    event had in an earlier life of the run.
    """

    def __init__(self, consumers: Sequence[Consumer], *, after: int = 0) -> None:
        self._consumers = list(consumers)
        self._last = after
        self._lock = threading.RLock()

    @property
    def last(self) -> int:
        """The `seq` of the last event."""
        return self._last

    def add(self, consumer: Consumer) -> None:
        """Let one more consumer take events from now on, after all others."""
        with self._lock:
            self._consumers.append(consumer)

    def emit(self, event: Event) -> int:
        """Stamp an event and hand it on; return its `seq`."""
        with self._lock:
            self._last += 1
            stamped = Stamped(self._last, time.time_ns(), time.monotonic_ns(), event)
            for consumer in tuple(self._consumers):
                consumer.consume(stamped)
        return stamped.seq
