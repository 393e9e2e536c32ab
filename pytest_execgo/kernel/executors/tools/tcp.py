"""tcp: tells whether a connection can be opened."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any

from pytest_execgo.kernel.executors.tools.tool import ToolContext, ToolError, parameters
from pytest_execgo.kernel.executors.web import address_text
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import errno_text, json_object

_DEFAULT_MS = 5_000
_MAX_MS = 60_000
_PARAMS = kinds.Struct("TCPParams", "executor.TCPParams", {"address": kinds.String(), "timeout_ms": kinds.Int("int64")})


async def tcp(params: str | None, context: ToolContext) -> str:
    """Connect to host:port, hang up, return `{"address", "ok"}`."""
    given = parameters("tcp", params, _PARAMS)
    address: str = given.get("address") or ""
    if not address:
        raise ToolError("address is required (host:port)")
    timeout_ms: int = given.get("timeout_ms") or 0
    if timeout_ms > _MAX_MS:
        raise ToolError(f"timeout_ms exceeds max of {_MAX_MS} ms")
    limit = (timeout_ms if timeout_ms > 0 else _DEFAULT_MS) / 1000
    host, port = split_address(address)
    try:
        async with asyncio.timeout(min(limit, context.timeout) if context.timeout else limit):
            await _dial(host, port, context)
    except TimeoutError as error:
        raise ToolError(f"tcp dial: dial tcp {address_text(host, port)}: i/o timeout", late=True) from error
    return json_object(ok=True, address=address)


def split_address(address: str) -> tuple[str, int]:
    """Split host:port as Go's `net.Dial` does; `ToolError` in its words."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (address.startswith("[") and not bracketed):
        raise ToolError(f"tcp dial: dial tcp: address {address}: missing port in address")
    if ":" in host and not bracketed:
        raise ToolError(f"tcp dial: dial tcp: address {address}: too many colons in address")
    if port.isdecimal() and port.isascii():
        if int(port[:9]) > 65535:
            raise ToolError(f"tcp dial: dial tcp: address {port}: invalid port")
        return host.strip("[]"), int(port)
    try:
        return host.strip("[]"), socket.getservbyname(port, "tcp") if port else 0
    except (OSError, ValueError) as error:
        raise ToolError(f"tcp dial: dial tcp: lookup tcp/{port}: unknown port") from error


async def _dial(host: str, port: int, context: ToolContext) -> None:
    """Try the addresses of a host in turn; the first one's failure is the one that is told."""
    lookup = partial(socket.getaddrinfo, host or "localhost", port, type=socket.SOCK_STREAM)
    try:
        found: list[Any] = await context.threads.run(lookup)
    except (OSError, UnicodeError, ValueError) as error:
        raise ToolError(f"tcp dial: dial tcp: lookup {host}: no such host") from error
    failures = []
    for family, kind, protocol, _, place in found:
        with contextlib.closing(socket.socket(family, kind, protocol)) as connection:
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, place)
            except OSError as error:
                shown = address_text(str(place[0]) if host else "", port)
                failures.append(f"tcp dial: dial tcp {shown}: connect: {errno_text(error)}")
            else:
                return
    raise ToolError(failures[0])
