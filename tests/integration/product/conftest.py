"""What the tests of the whole product share."""

from __future__ import annotations

import pytest

from pytest_execgo.harness.ports import free_port


@pytest.fixture
def free_ports() -> list[int]:
    """Return three free ports."""
    found: list[int] = []
    for _ in range(3):
        found.append(free_port(found))
    return found
