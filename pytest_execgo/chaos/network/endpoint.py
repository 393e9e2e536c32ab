"""One side of a connection through the proxy: a socket, with back pressure and a hard end."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol, cast

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, no time to send what is left


class Owner(Protocol):
    """Who is told what happens at an endpoint."""

    def made(self, endpoint: Endpoint) -> None:
        """The socket is connected."""

    def received(self, endpoint: Endpoint, data: bytes) -> None:
        """Bytes arrived."""

    def ended(self, endpoint: Endpoint) -> None:
        """The peer will send nothing more."""

    def lost(self, endpoint: Endpoint, error: Exception | None) -> None:
        """The socket is closed; `error` when it was not our doing."""

    def congested(self, endpoint: Endpoint, full: bool) -> None:
        """Bytes written to it wait for the peer to read (`full`), or all of them are gone."""


class Endpoint(asyncio.Protocol):
    """An asyncio protocol that hands everything to its owner."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._reasons: set[str] = set()
        self._at_end = False
        self._room = asyncio.Event()
        self._room.set()
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; with no room for unsent bytes, so that the sender is told of the first one that has to wait."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")  # asyncio leaves those that were accepted as they are
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the owner."""
        self._owner.received(self, data)

    def eof_received(self) -> bool:
        """Keep the socket open: the other direction may still be in use."""
        self._at_end = True
        self._owner.ended(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, and whoever waits for room."""
        self.gone = True
        self._room.set()
        self._owner.lost(self, exc)

    def pause_writing(self) -> None:
        """Bytes wait."""
        self._room.clear()
        self._owner.congested(self, True)

    def resume_writing(self) -> None:
        """Every byte is gone."""
        self._room.set()
        self._owner.congested(self, False)

    @property
    def connected(self) -> bool:
        """Whether the socket was ever connected."""
        return self._transport is not None

    @property
    def full(self) -> bool:
        """Whether bytes wait for the peer to read."""
        return not self._room.is_set()

    async def flushed(self) -> None:
        """Return once no byte waits any more, or the socket is gone."""
        await self._room.wait()

    async def delivered(self) -> None:
        """Return once the system too has sent everything, which a RST would throw away, or the socket is gone."""
        await self.flushed()
        if self._transport is None or self.gone:
            return
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 1)  # writable means: nothing is unsent
        with sock.dup() as same:  # asyncio keeps the descriptor itself to the transport
            loop.add_writer(same, told.set)
            try:
                await told.wait()
            finally:
                loop.remove_writer(same)

    def hold(self, reason: str) -> None:
        """Read nothing more, until every reason is released."""
        self._reasons.add(reason)
        if self._transport is not None and not self._at_end:
            self._transport.pause_reading()

    def release(self, reason: str) -> None:
        """Drop a reason; asyncio would report an end twice, hence the check."""
        self._reasons.discard(reason)
        if self._transport is not None and not self._reasons and not self._at_end:
            self._transport.resume_reading()

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes; dropped when the socket is gone."""
        if self._transport is not None and not self.gone and not self._transport.is_closing():
            self._transport.write(data)

    def write_end(self) -> None:
        """Tell the peer that nothing more is sent, once everything written is; `OSError` when the connection is broken."""
        if self._transport is not None and not self.gone and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close once everything written is sent."""
        if self._transport is not None and not self.gone:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None and not self.gone:
            self._transport.abort()

    def reset(self) -> None:
        """Close at once, so that the peer gets a RST."""
        if self._transport is not None and not self.gone:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
