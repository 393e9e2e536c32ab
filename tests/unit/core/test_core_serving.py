"""Addresses as Go's servers write them, and the guard that asks for a token."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.serving import TokenGuard, parse_address

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "", 8080),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:80", "::1", 80),
    ],
)
def test_an_address_is_split(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "8080", "host", "host:", "host:http", "host:-1", "host:65536", "host: 80", "host:8_0", "host:\u0668", "h:" + "9" * 5000],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(text)
    assert refused.value.code == "bad_address"
    assert "127.0.0.1:8080" in refused.value.hint


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "inner", "path": scope.get("path")})


async def no_messages() -> Message:
    raise AssertionError("the guard must not read the body")


def ask(guard: TokenGuard, path: str, *authorization: bytes, kind: str = "http") -> list[Message]:
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"x"), *((b"authorization", value) for value in authorization)]
    asyncio.run(guard({"type": kind, "path": path, "headers": headers}, no_messages, send))
    return sent


GUARD = TokenGuard(inner, "s3cret", open_paths=("/health",))


def test_the_right_token_passes_and_so_does_an_open_path() -> None:
    assert ask(GUARD, "/tasks", b"Bearer s3cret")[0]["type"] == "inner"
    assert ask(GUARD, "/health")[0]["type"] == "inner"
    assert ask(GUARD, "/", kind="lifespan")[0]["type"] == "inner"


@pytest.mark.parametrize(
    "value",
    [(), (b"",), (b"s3cret",), (b"Bearer s3cre",), (b"Bearer s3cret ",), (b"bearer s3cret",), (b"Basic s3cret",), (b"\xff",)],
)
@pytest.mark.parametrize("path", ["/tasks", "/", "", "/Health", "/x/health", "/healthy", "/health/../tasks"])
def test_anything_else_is_a_401_that_never_reaches_the_application(path: str, value: tuple[bytes, ...]) -> None:
    start, body = ask(GUARD, path, *value)
    assert (start["type"], start["status"]) == ("http.response.start", 401)
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"]) == {"error": "a bearer token is required"}


def test_without_open_paths_everything_is_guarded() -> None:
    assert ask(TokenGuard(inner, "t"), "/health")[0]["status"] == 401


def test_the_refusal_takes_the_protocols_own_shape() -> None:
    _, body = ask(TokenGuard(inner, "t", error={"code": "denied"}), "/x")
    assert json.loads(body["body"]) == {"error": {"code": "denied"}}
