"""The Host check."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.kernel.api.hosts import HostGuard, read_hosts
from pytest_execgo.kernel.server import read_settings


def ask(allowed: tuple[str, ...], *hosts: bytes) -> tuple[int, str]:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "headers": [(b"accept", b"*/*"), *((b"host", host) for host in hosts)]}
    asyncio.run(HostGuard(app, allowed)(scope, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], json.loads(sent[1]["body"]).get("error", "")


@pytest.mark.parametrize("host", [b"127.0.0.1:8080", b"LocalHost:1", b"localhost", b"[::1]:9"])
def test_allowed_hosts_pass(host: bytes) -> None:
    assert ask(("127.0.0.1:8080", "localhost", "[::1]:9"), host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example:8080",
        b"127.0.0.1",
        b"127.0.0.1:80",
        b"127.1:8080",
        b"localhost.evil.example",
        b"x@localhost",
        b"localhost:x",
        b"",
        b"[::1]",
    ],
)
def test_others_get_421(host: bytes) -> None:
    status, error = ask(("127.0.0.1:8080", "localhost", "[::1]:9"), host)
    assert (status, error) == (421, f"host {host.decode()} is not served here")


def test_one_host_is_wanted() -> None:
    assert ask(("localhost",)) == (421, "a Host header is required")
    assert ask(("localhost",), b"localhost", b"localhost")[0] == 421


def test_the_list_is_read_from_flag_or_variable() -> None:
    assert read_settings([], {}).allowed_hosts == ()
    assert read_settings([], {"EXECGO_ALLOWED_HOSTS": " A:1, [::1] ,"}).allowed_hosts == ("a:1", "[::1]")
    assert read_settings(["-allowed-hosts=b"], {"EXECGO_ALLOWED_HOSTS": "a"}).allowed_hosts == ("b",)


@pytest.mark.parametrize("text", ["http://a", "a:b", "a b", "::1"])
def test_what_is_no_host_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="can't be used"):
        read_hosts(text)


@pytest.mark.parametrize(("text", "compat"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_compat_by_variable(text: str, compat: bool) -> None:
    assert read_settings([], {"EXECGO_COMPAT": text}).compat is compat


def test_compat_by_flag_and_a_bad_variable() -> None:
    assert read_settings(["--compat"], {}).compat
    with pytest.raises(UsageError, match="EXECGO_COMPAT: 'yes' can't be used"):
        read_settings([], {"EXECGO_COMPAT": "yes"})
