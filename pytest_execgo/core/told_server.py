"""uvicorn's server, told when to stop instead of looking, and telling when it answers. Imported by server processes alone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from types import FrameType

_CLOSING_TURNS = 3
"""Turns of the event loop by which an idle connection that is told to close has closed."""


class ToldServer(uvicorn.Server):
    """Calls `on_ready` once requests are answered, and `on_stop`, in the event loop, as soon as a signal asks for the end."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None], on_stop: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening; then say so."""
        self._loop, self._stop_asked = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        gc.freeze()  # what the start has made stays as long as the process
        gc.enable()
        if self.started:
            self._on_ready()

    async def main_loop(self) -> None:
        """Wait for the stop. uvicorn's own looks ten times a second whether there is one; `on_tick` counts those tenths."""
        for tenths in itertools.count(0, 10):
            if await self.on_tick(tenths):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stop_asked.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and close what is idle; be done where nothing else is open. uvicorn's own sleeps before it looks."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)  # which does the same again, and waits
            return
        for sock in sockets or ():
            sock.close()
        if not self.force_exit:
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, and wake the loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop_asked.set)
            if self._on_stop is not None:
                self._loop.call_soon_threadsafe(self._on_stop)
