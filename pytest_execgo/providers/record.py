"""What is written down of the exchanges with a model: bounded, without secrets, and what they cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pytest_execgo.core.jsonio import loads
from pytest_execgo.plan.planning import ModelExchange, ModelUsage
from pytest_execgo.providers.events import Events
from pytest_execgo.providers.redaction import Redactor

KEPT_OF_A_BODY = 1 << 20  # bytes
KEPT_OF_A_STREAM = 8 << 20  # of which an answer is put together; its events say little in many bytes
KEPT_OF_ALL = 16 << 20
KEPT_EXCHANGES = 1000


class Body:
    """The beginning of a body without secrets, as much of it as is kept."""

    def __init__(self, data: bytes = b"") -> None:
        self._kept = bytearray()
        self.size = 0
        self.feed(data)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._kept += data[: max(0, KEPT_OF_A_BODY - len(self._kept))]

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return len(self._kept)

    def value(self) -> Any:
        """Return the JSON value, or the text when it is none; None when there is nothing. It says how much of it is cut."""
        if not self.size:
            return None
        if self.size == self.kept:
            try:
                return loads(bytes(self._kept))
            except ValueError:  # not JSON, or none that can be kept: the text, then
                return self._kept.decode("utf-8", "replace")
        return f"{self._kept.decode('utf-8', 'replace')}… {self.size - self.kept} bytes dropped …"


@dataclass(slots=True)
class Trial:
    """One try of one request, while it is under way. `waited_s` is the time spent waiting for the model."""

    path: str
    request: Body
    response: Body = field(default_factory=Body)
    events: Events | None = None
    status: int | None = None
    error: str | None = None
    waited_s: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of what is inside as waiting for the model."""
        since = time.monotonic()
        try:
            yield
        finally:
            self.waited_s += time.monotonic() - since

    def begin(self, status: int, *, events: bool) -> None:
        """Take note of an answer's status, and whether its body will be server-sent events."""
        self.status = status
        self.events = Events(KEPT_OF_A_STREAM) if events else None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer's body."""
        self.response.feed(data)
        if self.events is not None:
            self.events.feed(data)


class ExchangeLog:
    """Every try of one planning, in the order in which they ended. Any thread may use it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._lock = threading.Lock()
        self._exchanges: list[ModelExchange] = []
        self._kept = 0
        self._usage = ModelUsage()
        self.dropped = 0

    @property
    def exchanges(self) -> list[ModelExchange]:
        """What was written down."""
        with self._lock:
            return list(self._exchanges)

    @property
    def usage(self) -> ModelUsage:
        """What it cost, all tries together."""
        with self._lock:
            return self._usage

    def add(self, trial: Trial) -> None:
        """Write down a try that is over."""
        took_ms = (time.monotonic() - trial.began) * 1000
        document = trial.events.document() if trial.events is not None else None
        response = document if document is not None else trial.response.value()
        usage = trial.events.usage if trial.events is not None else response.get("usage") if isinstance(response, dict) else None
        error = trial.error and self._redactor.text(trial.error)
        with self._lock:
            self._usage = _sum(self._usage, usage if isinstance(usage, dict) else {}, trial.waited_s * 1000)
            if len(self._exchanges) >= KEPT_EXCHANGES:
                self.dropped += 1
                return
            request = self._within(trial.request.kept, trial.request.value())
            response = self._within(trial.response.size if document is not None else trial.response.kept, response)
            self._exchanges.append(
                ModelExchange(
                    path=trial.path,
                    request=self._redactor.value(request),
                    status=trial.status,
                    response=self._redactor.value(response),
                    took_ms=round(took_ms, 3),
                    error=error,
                )
            )

    def _within(self, size: int, value: Any) -> Any:
        """Return the value as long as there is room for it, else a note."""
        if self._kept + size > KEPT_OF_ALL:
            return f"… dropped: this planning's exchanges hold {KEPT_OF_ALL} bytes already …"
        self._kept += size
        return value


def _sum(so_far: ModelUsage, usage: dict[str, Any], model_ms: float) -> ModelUsage:
    return ModelUsage(
        requests=so_far.requests + 1,
        prompt_tokens=_plus(so_far.prompt_tokens, _count(usage, "prompt_tokens", "input_tokens")),
        completion_tokens=_plus(so_far.completion_tokens, _count(usage, "completion_tokens", "output_tokens")),
        cost=_plus(so_far.cost, _cost(usage.get("cost"))),
        model_ms=round(so_far.model_ms + model_ms, 3),
    )


def _count(usage: dict[str, Any], *names: str) -> int | None:
    found = (usage.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool) and value >= 0), None)


def _cost(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < float("inf") else None


Number = TypeVar("Number", int, float)


def _plus(one: Number | None, other: Number | None) -> Number | None:
    return other if one is None else one if other is None else one + other
