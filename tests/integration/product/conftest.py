"""What the tests of the whole product share."""

from __future__ import annotations

import random
import socket

import pytest


@pytest.fixture
def free_ports() -> list[int]:
    """Return three free ports from below those that outgoing connections get."""
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as sock:
            if len(found) < 3 and sock.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found
