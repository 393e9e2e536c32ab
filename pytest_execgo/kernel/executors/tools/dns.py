"""dns: addresses, TXT records and canonical names, by the system's resolver."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from pytest_execgo.kernel.executors.tools.dns_query import LookupFailed, query_txt
from pytest_execgo.kernel.executors.tools.tool import ToolContext, ToolError, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import json_object, quote, trim_space

_PARAMS = kinds.Struct("DNSParams", "executor.DNSParams", {"name": kinds.String(), "record": kinds.String()})
_VERBS = {"ip": "lookup host", "txt": "lookup txt", "cname": "lookup cname"}


async def dns(params: str | None, context: ToolContext) -> str:
    """Look a name up; return `{"name", "record"}` and `addrs`, `txt` or `cname`."""
    given = parameters("dns", params, _PARAMS)
    name: str = given.get("name") or ""
    if not trim_space(name):
        raise ToolError("name is required")
    record: str = given.get("record") or ""
    wanted = trim_space(record).lower() or "ip"
    if wanted not in _VERBS:
        raise ToolError(f"record must be one of: ip, txt, cname (got {quote(record)})")
    try:
        async with asyncio.timeout(context.timeout):
            if wanted == "ip":
                return json_object(name=name, record=wanted, addrs=await _addresses(name, context))
            if wanted == "txt":
                return json_object(name=name, record=wanted, txt=await query_txt(name))
            return json_object(name=name, record=wanted, cname=await _canonical_name(name, context))
    except TimeoutError as error:
        raise ToolError(f"{_VERBS[wanted]}: lookup {name}: i/o timeout", late=True) from error
    except LookupFailed as error:
        raise ToolError(f"{_VERBS[wanted]}: lookup {name}: {error}") from error


async def _resolve(name: str, flags: int, context: ToolContext) -> list[tuple[str, str]]:
    """Return (address, canonical name) pairs."""
    lookup = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM, flags=flags)
    try:
        found = await context.threads.run(lookup)
    except (OSError, UnicodeError, ValueError) as error:
        temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        raise LookupFailed("server misbehaving" if temporary else "no such host") from error
    return [(str(place[0]), canonical) for _, _, _, canonical, place in found]


async def _addresses(name: str, context: ToolContext) -> list[str]:
    return list(dict.fromkeys(address for address, _ in await _resolve(name, 0, context)))


async def _canonical_name(name: str, context: ToolContext) -> str:
    found = await _resolve(name, socket.AI_CANONNAME, context)
    return (found[0][1] or name).rstrip(".") + "."
