"""The effect sink: an outside world on which tasks leave effects, each under a key, however often it is delivered.

The first delivery of a key applies the effect, a repetition does not, another effect under the same key is refused.
Every delivery is logged, so that what a plan did twice can be told from what was applied twice.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pytest_execgo.core.bodies import HttpError, json_answer, parse_json, read_body
from pytest_execgo.core.jsonio import digest

DATA_ROUTES = ("/effects",)
MAX_BODY = 1024 * 1024
MAX_DELIVERIES = 100_000
MAX_STORED_BYTES = 256 * 1024 * 1024
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?")


class Effect(BaseModel):
    """The body of `POST /effects`: what kind of effect, and anything that belongs to it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    payload: Any = None


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

    def shown(self) -> dict[str, Any]:
        """Return the effect as an answer holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival of an effect. `sequence` counts all deliveries from 1; `digest` is the SHA-256 of the body's values."""

    sequence: int
    monotonic_ns: int
    wall_ns: int
    key: str
    digest: str
    outcome: Literal["applied", "repeated", "conflict"]
    effect_id: str

    def shown(self) -> dict[str, Any]:
        """Return the delivery as an answer holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


class EffectSink:
    """All effects and deliveries since the start, or the last reset."""

    def __init__(self) -> None:
        self.applied: dict[str, Applied] = {}
        self.deliveries: list[Delivery] = []
        self.stored_bytes = 0

    def reset(self) -> None:
        """Forget everything."""
        self.applied.clear()
        self.deliveries.clear()
        self.stored_bytes = 0

    def deliver(self, key: str, effect: Effect, size: int) -> Delivery:
        """Take one delivery of `size` bytes in and say what came of it; 429 when the sink holds all it can."""
        if len(self.deliveries) >= MAX_DELIVERIES or self.stored_bytes + size > MAX_STORED_BYTES:
            raise HttpError(429, "sink_full", "the effect sink is full", {"max_deliveries": MAX_DELIVERIES})
        sequence, monotonic, wall = len(self.deliveries) + 1, time.monotonic_ns(), time.time_ns()
        content = digest({"kind": effect.kind, "payload": effect.payload})
        known = self.applied.get(key)
        outcome: Literal["applied", "repeated", "conflict"] = "applied"
        if known is None:
            effect_id = f"effect-{sequence}"
            self.applied[key] = Applied(effect_id, key, effect.kind, effect.payload, content, sequence, monotonic, wall)
            self.stored_bytes += size
        else:
            effect_id = known.effect_id
            outcome = "repeated" if known.digest == content else "conflict"
        delivery = Delivery(sequence, monotonic, wall, key, content, outcome, effect_id)
        self.deliveries.append(delivery)
        return delivery


class Effects:
    """The sink's endpoints."""

    def __init__(self, sink: EffectSink) -> None:
        self.sink = sink

    async def deliver(self, request: Request) -> Response:
        """Apply an effect: 201, once per key; a repetition 200; another effect under a used key 409."""
        key = _key_of(request)
        raw = await read_body(request, MAX_BODY)
        try:
            effect = Effect.model_validate(parse_json(raw))
        except ValidationError as error:
            raise HttpError.from_validation(error) from None
        delivery = self.sink.deliver(key, effect, len(raw))
        if delivery.outcome == "conflict":
            details = {"effect_id": delivery.effect_id, "sequence": delivery.sequence}
            raise HttpError(409, "conflict", f"key {key!r} was used for another effect", details)
        applied = delivery.outcome == "applied"
        return json_answer({"applied": applied, "effect_id": delivery.effect_id}, 201 if applied else 200)

    async def show(self, request: Request) -> Response:
        """Answer the effects that were applied, in order; `?run=` keeps those whose key begins with it."""
        run = request.query_params.get("run", "")
        return json_answer({"effects": [one.shown() for one in self.sink.applied.values() if one.key.startswith(run)]})

    async def show_deliveries(self, request: Request) -> Response:
        """Answer every delivery, in order; `?run=` keeps those whose key begins with it."""
        run = request.query_params.get("run", "")
        return json_answer({"deliveries": [one.shown() for one in self.sink.deliveries if one.key.startswith(run)]})


def _key_of(request: Request) -> str:
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1:
        problem = "is missing; an effect needs a key" if not keys else "is given more than once"
        raise HttpError.invalid([("header Idempotency-Key", problem)])
    if not _KEY.fullmatch(keys[0]):
        raise HttpError.invalid([("header Idempotency-Key", "must be 1 to 512 printable ASCII characters")])
    return keys[0]


def routes(sink: EffectSink) -> list[BaseRoute]:
    """Return the sink's routes."""
    effects = Effects(sink)
    return [
        Route("/effects", effects.deliver, methods=["POST"]),
        Route("/effects", effects.show, methods=["GET"]),
        Route("/effects/deliveries", effects.show_deliveries, methods=["GET"]),
    ]
