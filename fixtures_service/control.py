"""The control plane: what tests and chaos actions do to this service. Guarded by a token, never disturbed itself."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fixtures_service.faults import FaultInjector, Mode, parse_mode
from fixtures_service.model.service import ScriptedModel
from fixtures_service.sink import EffectSink
from pytest_execgo.core.bodies import exception_handlers, json_answer, parse_json, read_body

MAX_BODY = 64 * 1024


class Control:
    """The control plane's endpoints."""

    def __init__(self, faults: FaultInjector, sink: EffectSink, model: ScriptedModel) -> None:
        self.faults = faults
        self.sink = sink
        self.model = model

    async def show_mode(self, request: Request) -> Response:
        """Answer the present mode, and beside its fields `hits`: how many requests have suffered since it was set."""
        now = self.faults.in_force
        return json_answer({**now.mode.model_dump(), "hits": now.hits})

    async def set_mode(self, request: Request) -> Response:
        """Replace the mode; fields that are left out get their defaults. Answers the new mode."""
        self.faults.set_mode(parse_mode(parse_json(await read_body(request, MAX_BODY))))
        return await self.show_mode(request)

    async def reset(self, request: Request) -> Response:
        """Go back to the state after the first start: no faults, no effects, no deliveries."""
        self.faults.set_mode(Mode())
        self.sink.reset()
        self.model.reset()
        return json_answer({"reset": True})


def build_control(faults: FaultInjector, sink: EffectSink, model: ScriptedModel) -> Starlette:
    """Build the control plane as an application of its own, to be mounted."""
    control = Control(faults, sink, model)
    app = Starlette(
        routes=[
            Route("/mode", control.show_mode, methods=["GET"]),
            Route("/mode", control.set_mode, methods=["PUT"]),
            Route("/reset", control.reset, methods=["POST"]),
            *model.control_routes(),
        ],
        exception_handlers=exception_handlers(),
    )
    app.router.redirect_slashes = False
    return app
