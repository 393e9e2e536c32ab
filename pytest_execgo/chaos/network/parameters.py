"""The kinds of network disturbance and their parameters, as people write them, checked without any network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.base import Document, Millis
from pytest_execgo.plan.problems import Suggester
from pytest_execgo.plan.shape import check_shape

Direction = Literal["request", "response"]
"""Which way bytes go: `request` from the near side to the upstream, `response` back."""


class Reset(Document):
    """Every connection of the leg is reset at once, and new ones for as long as it lasts."""

    limit: Annotated[int, Field(ge=0)] | None = Field(default=None, description="How many new connections at most; absent: all.")


class Refuse(Document):
    """New connections are closed at once; those that are there go on."""


class Latency(Document):
    """The bytes of each direction are held back, in their order."""

    ms: Annotated[Millis, Field(ge=1)] = Field(description="Milliseconds that each read of bytes is held back.")
    jitter_ms: Millis = Field(default=0, description="Drawn for each read, up to so much less or more.")
    seed: int = Field(default=0, description="Seed of the jitter.")


class Slice(Document):
    """Bytes are passed on in small pieces."""

    bytes: Annotated[int, Field(ge=1)] = Field(description="Largest piece, in bytes.")
    pause_ms: Millis = Field(default=0, description="Milliseconds between two pieces.")


class HalfOpen(Document):
    """Bytes are swallowed while connections stay open; those that lost some are reset when it is lifted."""

    direction: Literal["request", "response", "both"] = Field(default="both", description="Which bytes are swallowed.")

    def swallows(self, direction: Direction) -> bool:
        """Tell whether bytes that go this way are swallowed."""
        return self.direction in (direction, "both")


class Matching(Document):
    """Which HTTP requests are meant."""

    method: Annotated[str, Field(pattern=r"^[A-Z]+$")] | None = Field(default=None, description="Only this method; absent: any.")
    path: Annotated[str, Field(pattern=r"^/[^?#]*$")] = Field(default="/", description="Only paths that begin so.")
    exact: bool = Field(default=False, description="Only this very path.")

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is meant; `path` without its query."""
        if self.method is not None and method != self.method:
            return False
        return path == self.path if self.exact else path.startswith(self.path)


class LoseResponse(Matching):
    """The upstream answers the request; its answer is lost, and the near side gets a reset instead."""

    count: Annotated[int, Field(ge=1)] = Field(default=1, description="How many requests.")


class Duplicate(Matching):
    """The upstream gets the request twice, on two connections, one after the other."""

    count: Annotated[int, Field(ge=1)] = Field(default=1, description="How many requests.")
    answer: Literal["first", "second"] = Field(default="first", description="Which answer the near side gets.")


class OnResponse(Matching):
    """When the answer to the next such request begins to arrive, something is called, and the connection is reset."""


KINDS: dict[str, type[Document]] = {
    "reset": Reset,
    "refuse": Refuse,
    "latency": Latency,
    "slice": Slice,
    "half_open": HalfOpen,
    "lose_response": LoseResponse,
    "duplicate": Duplicate,
    "on_response": OnResponse,
}
"""Every kind of disturbance, and the model of its parameters. `on_response` needs `call` too, a callable without arguments."""


@dataclass(frozen=True, slots=True)
class Order:
    """A disturbance that was asked for, and makes sense. `call` is there for `on_response` alone."""

    kind: str
    terms: Document
    call: Callable[[], object] | None = None


def problems(kind: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a disturbance, a sentence each with what would be right; empty when nothing is."""
    return _check(kind, parameters)[1]


def checked(kind: str, parameters: Mapping[str, Any]) -> Order:
    """Return a disturbance whose parameters were checked; `UsageError` says what is wrong and what is allowed."""
    order, wrong = _check(kind, parameters)
    if order is None:
        allowed = _parameters(kind)
        hint = f"parameters of {kind}: {', '.join(allowed) or 'none'}" if kind in KINDS else f"kinds: {', '.join(KINDS)}"
        raise UsageError("invalid_disturbance", f"network disturbance {kind!r} can't be used: {'; '.join(wrong)}", hint)
    return order


def _check(kind: str, parameters: Mapping[str, Any]) -> tuple[Order | None, list[str]]:
    model = KINDS.get(kind)
    if model is None:
        return None, [Suggester().unknown("kind", kind, KINDS)]
    document = dict(parameters)
    wrong: list[str] = []
    call = document.pop("call", None) if model is OnResponse else None
    if model is OnResponse and not callable(call):
        wrong.append("call: a callable without arguments is required")
    terms, _, found = check_shape(model, document)
    wrong += [f"{problem.path.removeprefix('$.')}: {problem.message}" for problem in found]
    return (None, wrong) if wrong or terms is None else (Order(kind, terms, call), [])


def _parameters(kind: str) -> list[str]:
    fields = list(KINDS[kind].model_fields) if kind in KINDS else []
    return [*fields, "call"] if kind == "on_response" else fields
