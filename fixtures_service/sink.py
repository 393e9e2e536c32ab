"""The effect sink's state: what was applied, every delivery, and the tokens that keep the late ones out.

The first delivery of a key applies the effect, a repetition does not, another effect under the same key is refused, and so is
a delivery whose fencing token is lower than one that was seen for its key. Every delivery is logged, so that what a plan did
twice can be told from what was applied twice.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fixtures_service.journal import Journal
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.jsonio import digest

MAX_DELIVERIES = 100_000
MAX_STORED_BYTES = 256 * 1024 * 1024
Outcome = Literal["applied", "repeated", "conflict", "fenced"]


class Effect(BaseModel):
    """The body of `POST /effects`: what kind of effect, and anything that belongs to it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an effect arrived: when (`monotonic_ns()`), the task that its sender names, and its fencing token."""

    received_ns: int
    task: str | None = None
    token: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of an effect, in the sink's life `boot_id`. `sequence` counts all deliveries from 1, over all lives.

    `received_ns` is when its request arrived, `monotonic_ns` and `wall_ns` when it was decided on: `monotonic_ns()`, `time_ns()`.
    `digest` is the SHA-256 of the body's values; `effect_id` names the effect that the key stands for.
    """

    sequence: int
    boot_id: str
    received_ns: int
    monotonic_ns: int
    wall_ns: int
    key: str
    kind: str
    digest: str
    outcome: Outcome
    effect_id: str
    task: str | None
    token: int | None


@dataclass(frozen=True, slots=True)
class Applied:
    """An effect that was applied, by the delivery with that sequence number. Times: `monotonic_ns()`, `time_ns()`."""

    effect_id: str
    key: str
    kind: str
    payload: Any
    digest: str
    sequence: int
    monotonic_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class _Row:
    """A delivery as the journal holds it: with its effect's payload and the size of its body, if it was applied."""

    delivery: Delivery
    payload: Any = None
    size: int = 0
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")


_ROW = TypeAdapter(_Row)


class EffectSink:
    """All effects and deliveries since the last reset; with a journal, over the lives of the service."""

    def __init__(self, journal: Journal | None = None) -> None:
        """Take up what the journal holds; `ExecGoError` names a line of it that can't be believed."""
        self.boot_id = secrets.token_hex(8)
        self.journal = journal
        self.applied: dict[str, Applied] = {}
        self.deliveries: list[Delivery] = []
        self.tokens: dict[str, int] = {}
        self.stored_bytes = 0
        if journal is not None:
            for number, line in journal.rows():
                if problem := self._restore(line):
                    raise journal.corrupt(number, problem)

    def describe(self) -> dict[str, Any]:
        """Return what GET /health says of the sink; `torn` counts deliveries that a killed life did not write to the end."""
        kept = self.journal is not None
        return {"kept": kept, "deliveries": len(self.deliveries), "torn": self.journal.torn if self.journal is not None else 0}

    def reset(self) -> None:
        """Forget everything."""
        if self.journal is not None:
            self.journal.clear()
        self.applied.clear()
        self.deliveries.clear()
        self.tokens.clear()
        self.stored_bytes = 0

    def deliver(self, key: str, effect: Effect, size: int, arrival: Arrival) -> Delivery:
        """Take one delivery of `size` bytes in and say what came of it; it is in the journal then.

        429 when the sink holds all that it can, 503 when the journal can't be written: nothing was applied.
        """
        if len(self.deliveries) >= MAX_DELIVERIES or self.stored_bytes + size > MAX_STORED_BYTES:
            raise HttpError(429, "sink_full", "the effect sink is full", {"max_deliveries": MAX_DELIVERIES})
        delivery = self._logged(key, effect, arrival)
        row = _Row(delivery, effect.payload, size) if delivery.outcome == "applied" else _Row(delivery)
        if self.journal is not None:
            try:
                self.journal.append({"delivery": shown(delivery), "payload": row.payload, "size": row.size})
            except OSError as error:
                raise HttpError(503, "sink_unwritable", f"the delivery can't be kept: {error.strerror or error}") from error
        self._take(row)
        return delivery

    def _logged(self, key: str, effect: Effect, arrival: Arrival) -> Delivery:
        sequence = len(self.deliveries) + 1
        content = digest({"kind": effect.kind, "payload": effect.payload})
        known = self.applied.get(key)
        return Delivery(
            sequence=sequence,
            boot_id=self.boot_id,
            received_ns=arrival.received_ns,
            monotonic_ns=time.monotonic_ns(),
            wall_ns=time.time_ns(),
            key=key,
            kind=effect.kind,
            digest=content,
            outcome=self._decide(key, content, arrival.token),
            effect_id=known.effect_id if known is not None else f"effect-{sequence}",
            task=arrival.task,
            token=arrival.token,
        )

    def _decide(self, key: str, content: str, token: int | None) -> Outcome:
        if token is not None and token < self.tokens.get(key, token):
            return "fenced"
        known = self.applied.get(key)
        if known is None:
            return "applied"
        return "repeated" if known.digest == content else "conflict"

    def _take(self, row: _Row) -> None:
        one = row.delivery
        self.deliveries.append(one)
        if one.token is not None:
            self.tokens[one.key] = max(one.token, self.tokens.get(one.key, one.token))
        if one.outcome == "applied":
            self.stored_bytes += row.size
            self.applied[one.key] = Applied(
                one.effect_id, one.key, one.kind, row.payload, one.digest, one.sequence, one.monotonic_ns, one.wall_ns
            )

    def _restore(self, line: bytes) -> str:
        """Take in one line of the journal; return what is wrong with it."""
        try:
            row = _ROW.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return ": ".join(filter(None, ("no delivery", ".".join(map(str, first["loc"])), first["msg"])))
        one = row.delivery
        if one.sequence != len(self.deliveries) + 1:
            return f"it holds delivery {one.sequence}, where {len(self.deliveries) + 1} should be"
        if one.outcome != self._decide(one.key, one.digest, one.token):
            return f"delivery {one.sequence} is {one.outcome!r}, which what stands before it contradicts"
        if one.outcome == "applied" and digest({"kind": one.kind, "payload": row.payload}) != one.digest:
            return f"the payload of delivery {one.sequence} does not have its digest"
        self._take(row)
        return ""


def shown(one: Applied | Delivery) -> dict[str, Any]:
    """Return an effect or a delivery as answers and the journal hold it."""
    return {name: getattr(one, name) for name in one.__slots__}
