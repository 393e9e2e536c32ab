"""The effect sink: an outside world on which tasks leave effects, each under a key, however often it is delivered."""

from __future__ import annotations

import re
import time

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fixtures_service.sink import Arrival, Effect, EffectSink, shown
from pytest_execgo.core.bodies import HttpError, json_answer, parse_json, read_body

RECEIVED_NS = "execgo.received_ns"
"""Where a request's scope says when it arrived, `monotonic_ns()`."""
MAX_BODY = 1024 * 1024
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?")
_TOKEN = re.compile(r"[0-9]{1,18}")


class Effects:
    """The sink's endpoints."""

    def __init__(self, sink: EffectSink) -> None:
        self.sink = sink

    async def deliver(self, request: Request) -> Response:
        """Apply an effect: 201, once per key; a repetition 200; another effect under a used key, or a stale token, 409."""
        key = _key_of(request)
        arrival = _arrival_of(request)
        raw = await read_body(request, MAX_BODY)
        try:
            effect = Effect.model_validate(parse_json(raw))
        except ValidationError as error:
            raise HttpError.from_validation(error) from None
        delivery = self.sink.deliver(key, effect, len(raw), arrival)
        details = {"effect_id": delivery.effect_id, "sequence": delivery.sequence}
        if delivery.outcome == "conflict":
            raise HttpError(409, "conflict", f"key {key!r} was used for another effect", details)
        if delivery.outcome == "fenced":
            highest = self.sink.tokens[key]
            message = f"token {delivery.token} is stale: token {highest} was seen for key {key!r}"
            raise HttpError(409, "fenced", message, {**details, "highest_token": highest})
        applied = delivery.outcome == "applied"
        return json_answer({"applied": applied, "effect_id": delivery.effect_id}, 201 if applied else 200)

    async def show(self, request: Request) -> Response:
        """Answer the effects that were applied, in order; `?run=` keeps those whose key begins with it."""
        run = request.query_params.get("run", "")
        return json_answer({"effects": [shown(one) for one in self.sink.applied.values() if one.key.startswith(run)]})

    async def show_deliveries(self, request: Request) -> Response:
        """Answer every delivery, in order; `?run=` keeps those whose key begins with it."""
        run = request.query_params.get("run", "")
        return json_answer({"deliveries": [shown(one) for one in self.sink.deliveries if one.key.startswith(run)]})


def _key_of(request: Request) -> str:
    key = _header(request, "Idempotency-Key")
    if key is None:
        raise HttpError.invalid([("header Idempotency-Key", "is missing; an effect needs a key")])
    if not _KEY.fullmatch(key):
        raise HttpError.invalid([("header Idempotency-Key", "must be 1 to 512 printable ASCII characters")])
    return key


def _arrival_of(request: Request) -> Arrival:
    token = _header(request, "X-Fencing-Token")
    if token is not None and not _TOKEN.fullmatch(token):
        raise HttpError.invalid([("header X-Fencing-Token", "must be a whole number of at most 18 digits")])
    task = _header(request, "X-Execgo-Task")
    received: int = request.scope.get(RECEIVED_NS) or time.monotonic_ns()
    return Arrival(received, task or None, None if token is None else int(token))


def _header(request: Request, name: str) -> str | None:
    """Return a header's text, None when it is absent. Bytes beyond ASCII are UTF-8, as task ids may need them."""
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise HttpError.invalid([(f"header {name}", "is given more than once")])
    return values[0].encode("latin-1").decode("utf-8", "replace") if values else None


def routes(sink: EffectSink) -> list[BaseRoute]:
    """Return the sink's routes."""
    effects = Effects(sink)
    return [
        Route("/effects", effects.deliver, methods=["POST"]),
        Route("/effects", effects.show, methods=["GET"]),
        Route("/effects/deliveries", effects.show_deliveries, methods=["GET"]),
    ]
