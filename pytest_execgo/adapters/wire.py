"""The HTTP client that a framework's own client is given: it notes what every answer of the model meant.

Frameworks tell of failures in three different ways, and of refusals hardly at all; what went over the wire is the same for all.
Imported where a framework is: httpx comes with their clients.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_execgo.adapters.failures import explained, failed, from_status
from pytest_execgo.core.jsonvalue import shortened
from pytest_execgo.plan.planning import PlanningFailed, PlanningRequest

if TYPE_CHECKING:
    import httpx

DUMMY_KEY = "no-key-needed"


class Wire:
    """What went on between one planning and its model. `failure` is what the last answer meant, None for a good one."""

    def __init__(self, request: PlanningRequest) -> None:
        self.url = request.model_url
        self._longest_s = request.context.model_profile.timeout_ms / 1000
        self._end = time.monotonic() + request.deadline_ms / 1000
        self.requests = 0
        self.failure: PlanningFailed | None = None

    @property
    def timeout_s(self) -> float:
        """How long the next request may wait: as long as the model's profile allows, not beyond the planning's deadline."""
        return max(0.001, min(self._longest_s, self._end - time.monotonic()))

    @property
    def timeouts(self) -> dict[str, float]:
        """The same, as httpx has it in a request."""
        return dict.fromkeys(("connect", "read", "write", "pool"), self.timeout_s)

    @property
    def hidden(self) -> dict[str, str]:
        """What must not be written down, and what is written instead."""
        return {self.url: "<model>", self.url.removesuffix("/v1"): "<model>", DUMMY_KEY: "<key>"}

    def refused(self) -> None:
        """Raise the model's refusal, if the last answer was one."""
        if self.failure is not None and self.failure.code == "planner_refused":
            raise self.failure

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Take what is wrong with an answer for what is wrong with the planning."""
        try:
            yield
        except PlanningFailed as failure:
            self.failure = failure
            raise

    def blame(self, error: BaseException) -> PlanningFailed:
        """Return why planning ended with an error: what was wrong on the wire, if anything was."""
        return self.failure if self.failure is not None else explained(error)

    def answered(self, response: httpx.Response) -> None:
        """Take note of an answer that was read."""
        self.requests += 1
        body = _object(response.content)
        if response.status_code >= 400:
            error = body.get("error")
            said = error if isinstance(error, Mapping) else {"message": response.text}
            message = shortened(str(said.get("message", "")).strip(), 300)
            self.failure = from_status(response.status_code, message, str(said.get("code", "")))
        else:
            self.failure = _meant(body, response.text)

    def broke(self, error: Exception) -> None:
        """Take note of a request without an answer."""
        self.requests += 1
        timed_out = "Timeout" in type(error).__name__
        said = str(error) or type(error).__name__
        self.failure = (
            failed("planner_timed_out", f"the model did not answer in time: {said}")
            if timed_out
            else failed("planner_unavailable", f"the model's service did not answer: {said}")
        )


def sync_client(wire: Wire, *, final: Collection[int] = ()) -> httpx.Client:
    """Return a client for one planning, to be closed.

    An answer with a status in `final` is raised as a lost connection, for a framework that would not stop asking.
    """
    import httpx

    class Client(httpx.Client):
        def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            request.extensions = {**request.extensions, "timeout": wire.timeouts}
            try:
                response = super().send(request, **options)
                response.read()
            except httpx.HTTPError as error:
                wire.broke(error)
                raise
            wire.answered(response)
            if response.status_code in final:
                raise httpx.ReadError("the model's service asks not to be asked again", request=request)
            return response

    # a context for TLS costs 80 ms, and the gateway on loopback needs none
    return Client(timeout=wire.timeout_s, trust_env=False, verify=wire.url.startswith("https:"))


def async_client(wire: Wire) -> httpx.AsyncClient:
    """Return a client for one planning, to be closed."""
    import httpx

    class Client(httpx.AsyncClient):
        async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            request.extensions = {**request.extensions, "timeout": wire.timeouts}
            try:
                response = await super().send(request, **options)
                await response.aread()
            except httpx.HTTPError as error:
                wire.broke(error)
                raise
            wire.answered(response)
            return response

    return Client(timeout=wire.timeout_s, trust_env=False, verify=wire.url.startswith("https:"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _meant(body: Mapping[str, Any], text: str) -> PlanningFailed | None:
    """Return what is wrong with an answer that claims to be good."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        said = shortened(" ".join(text.split()), 200)
        return failed("planner_unavailable", f"the model's service answered no chat completion, but: {said}")
    if not choices:
        return failed("planner_no_plan", "the model's answer holds no message")
    message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
    refusal = message.get("refusal") if isinstance(message, Mapping) else None
    if isinstance(refusal, str) and refusal:
        return failed("planner_refused", f"the model refused to plan: {refusal}")
    return None
