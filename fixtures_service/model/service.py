"""The scripted model as a part of the service: its paths, its faults on the wire, and its own place in front of the application."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fixtures_service.model.answer import Form, answer_for
from fixtures_service.model.chat import asks_for_repair, parse_chat, role_of
from fixtures_service.model.faults import FaultInForce, ModelFault, parse_fault
from fixtures_service.model.plans import Plans
from fixtures_service.model.silence import Silences, cut
from fixtures_service.model.wire import Completion, error_document, models
from pytest_execgo.core.bodies import HttpError, json_answer, parse_json, read_body
from pytest_execgo.core.bundle import bundled

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/model/"
MAX_BODY = 8 * 1024 * 1024
MAX_ORDER = 64 * 1024
_COMPLETIONS, _MODELS = ("v1", "chat", "completions"), ("v1", "models")
_METHODS = {_COMPLETIONS: "POST", _MODELS: "GET"}
_FORMS: tuple[Form, ...] = get_args(Form)
_SEED = re.compile(r"-?[0-9]{1,20}")
_REFUSALS = {
    "status_400": (400, "bad_request"),
    "status_401": (401, "invalid_api_key"),
    "status_429": (429, "rate_limit_exceeded"),
    "status_500": (500, "server_error"),
}
_SLOW_MS, _STALL_MS = 1_000, 60_000


class ScriptedModel:
    """The model over the scenarios in some folders, those of the installation after them."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.plans = Plans([*folders, bundled("scenarios")])
        self.now = FaultInForce(ModelFault())
        self._silences = Silences()

    def stop(self) -> None:
        """End what is being kept waiting, in the event loop."""
        self._silences.end()

    def reset(self) -> None:
        """Answer without faults from now on."""
        self.now = FaultInForce(ModelFault())

    def in_front_of(self, app: ASGIApp) -> ASGIApp:
        """Return the application with the model's paths before it; what cuts a connection must meet the server itself."""

        async def model_or_app(scope: Scope, receive: Receive, send: Send) -> None:
            mine = scope["type"] == "http" and scope["path"].startswith(PREFIX)
            await (self if mine else app)(scope, receive, send)

        return model_or_app

    def control_routes(self) -> list[BaseRoute]:
        """Return what the control plane has for the model."""
        return [Route("/model", self._show, methods=["GET"]), Route("/model", self._order, methods=["PUT"])]

    async def _show(self, request: Request) -> Response:
        return json_answer(self.now.shown())

    async def _order(self, request: Request) -> Response:
        self.now = FaultInForce(parse_fault(parse_json(await read_body(request, MAX_ORDER))))
        return await self._show(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except HttpError as error:
            await _refusal(error)(scope, receive, send)
        except ClientDisconnect:
            return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scenario, form, seed, asked = _parts_of(scope)
        if scope["method"] != _METHODS[asked]:
            message = f"{scope['method']} {scope['path'][:200]}: allowed: {_METHODS[asked]}"
            raise HttpError(405, "method_not_allowed", message, {"allow": _METHODS[asked]})
        name, plan = self.plans.choose(scenario, form, seed)
        if asked == _MODELS:
            await json_answer(models())(scope, receive, send)
            return
        raw = await read_body(Request(scope, receive), MAX_BODY)
        request = parse_chat(parse_json(raw))
        role, now = role_of(request.messages), self.now
        due = now.due(role)
        refused = _REFUSALS.get(due.fault or "") if due is not None else None
        answer, hit = answer_for(role, form, request, plan, None if refused else due)
        wired = due is not None and (refused is not None or due.fault in _ON_THE_WIRE)
        now.requests["repair" if role == "planner" and asks_for_repair(request.messages) else role] += 1
        now.hits[role] += hit or wired
        if due is not None and refused is not None:
            raise _ordered(due, *refused)
        completion = Completion.of(request, answer, scope["path"], raw, f"{scenario}.{name}" if role == "planner" else role)
        await self._send(completion, due if wired else None, scope, receive, send)

    async def _send(self, completion: Completion, due: ModelFault | None, scope: Scope, receive: Receive, send: Send) -> None:
        fault = due.fault if due is not None else None
        if due is not None and fault == "slow_first_byte":
            slow = _SLOW_MS if due.parameters.ms is None else due.parameters.ms
            if not await self._silences.keep(receive, slow / 1000):
                fault = "dropped"
        if fault == "dropped":
            await cut(receive, send)
        elif due is not None and fault == "stalled_stream":
            await _begin(completion, due.parameters.chunks, send)
            bound = _STALL_MS if due.parameters.ms is None else due.parameters.ms
            await self._silences.keep(receive, bound / 1000)
            await cut(receive, send)
        elif completion.request.stream:
            await _begin(completion, None, send)
            await send({"type": "http.response.body", "body": b""})
        else:
            await json_answer(completion.document())(scope, receive, send)


_ON_THE_WIRE = ("dropped", "slow_first_byte", "stalled_stream")


def _parts_of(scope: Scope) -> tuple[str, Form, str, tuple[str, ...]]:
    """Return a path's scenario, form, seed and rest; 404 for any other path."""
    parts: list[str] = scope["path"].removeprefix(PREFIX).split("/")
    scenario, form, seed = (*parts, "", "")[:3]
    asked = tuple(parts[3:])
    found: Form | None = next((one for one in _FORMS if one == form), None)
    if asked not in _METHODS or not _SEED.fullmatch(seed):
        shape = "/model/<scenario>/<form>/<seed>/v1/{chat/completions,models}, the seed a whole number"
        raise HttpError(404, "not_found", f"{scope['path'][:200]} is no path of the scripted model; allowed: {shape}")
    if found is None:
        raise HttpError(404, "form_not_found", f"the scripted model has no form {form[:80]!r}; allowed: {', '.join(_FORMS)}")
    return scenario, found, seed, asked


def _ordered(due: ModelFault, status: int, code: str) -> HttpError:
    after = {"retry-after": str(due.parameters.seconds)} if status == 429 else {}
    return HttpError(status, code, "this error was asked for through the control plane", after)


def _refusal(error: HttpError) -> Response:
    headers: dict[str, str] = {name: error.details[name] for name in ("allow", "retry-after") if name in error.details}
    return json_answer(error_document(error), error.status, headers)


async def _begin(completion: Completion, chunks: int | None, send: Send) -> None:
    """Send an answer's head and, of a stream, its first events (None: all)."""
    if not completion.request.stream:
        length = len(json_answer(completion.document()).body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number, event in enumerate(completion.events()):
        if chunks is not None and number >= chunks:
            return
        await send({"type": "http.response.body", "body": event, "more_body": True})
