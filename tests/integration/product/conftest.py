"""What the tests of the whole product share."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def free_ports() -> list[int]:
    """Return three ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(3)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
