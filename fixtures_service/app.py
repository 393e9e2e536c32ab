"""Puts the service together: one module per concern, each giving its routes, under one wrapper for faults."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from fixtures_service import advisories, effects
from fixtures_service.control import build_control
from fixtures_service.faults import FaultInjector
from fixtures_service.model.service import ScriptedModel
from fixtures_service.sink import EffectSink
from pytest_execgo.core.bodies import exception_handlers, json_answer
from pytest_execgo.core.serving import TokenGuard

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_UNAUTHORIZED = {"code": "unauthorized", "message": "the control plane needs a bearer token", "details": {}}


def build_app(
    feed: advisories.Feed, token: str = "", sink: EffectSink | None = None, model: ScriptedModel | None = None
) -> ASGIApp:
    """Build the service over a feed, an effect sink (None: empty, in memory) and a scripted model (None: of the bundled scenarios).

    `token` guards the control plane, and only that; empty leaves it open.
    """
    kept = sink or EffectSink()
    started = time.monotonic()

    async def health(request: Request) -> Response:
        uptime = round((time.monotonic() - started) * 1000)
        return json_answer({"status": "ok", "uptime_ms": uptime, "boot_id": kept.boot_id, "sink": kept.describe()})

    app = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            *advisories.routes(feed),
            *effects.routes(kept),
        ],
        exception_handlers=exception_handlers(),
    )
    app.router.redirect_slashes = False
    faults = FaultInjector(app)
    scripted = model or ScriptedModel()
    control: ASGIApp = build_control(faults, kept, scripted)
    app.router.routes.append(Mount("/control", TokenGuard(control, token, error=_UNAUTHORIZED) if token else control))
    return scripted.in_front_of(faults)
