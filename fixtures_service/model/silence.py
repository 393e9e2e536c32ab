"""Waiting that was asked for, and connections that are cut: both end at once when the client is gone or the service stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Send


class Silences:
    """All requests that are being kept waiting."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    def end(self) -> None:
        """End every wait, and all that come; to be called in the event loop."""
        self._stopped.set()

    async def keep(self, receive: Receive, seconds: float) -> bool:
        """Keep a client waiting; True when the time is over, False when the client is gone or the service stops."""
        ends: list[asyncio.Task[object]] = [asyncio.create_task(one) for one in (_until_gone(receive), self._stopped.wait())]
        try:
            done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        return not done


async def cut(receive: Receive, send: Send) -> None:
    """Close the connection, whatever was sent; ASGI has no word for that, so that the server's transport is asked."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("dropped on purpose")
    transport.abort()
    await _until_gone(receive)  # the server must have seen it: an answer that never came is no error then


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
