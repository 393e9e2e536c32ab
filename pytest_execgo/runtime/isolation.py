"""Which isolation a task gets: the stronger of what the service was told and what the task asks for."""

from __future__ import annotations

import asyncio
from functools import partial

from pytest_execgo.core.containment.ladder import PLAIN, Isolation, Ladder
from pytest_execgo.runtime.models import Sandbox

ORDINARY_PROFILES = ("process", "none", "")
"""Sandbox profiles that ask for nothing beyond what the service does anyway."""
_STRENGTH = ("plain", "landlock", "namespace", "bubblewrap", "auto", "strict")
PROFILES = (*ORDINARY_PROFILES, *_STRENGTH)


class Isolator:
    """Chooses for each command; what can be had is tried when it is first needed, in a thread."""

    def __init__(self, request: str = "plain") -> None:
        self.ladder = Ladder(request)

    async def choose(self, sandbox: Sandbox, cwd: str) -> Isolation:
        """Return a command's isolation; `SandboxUnavailable` when it must not run with less than can be had."""
        asked = sandbox.profile if sandbox.profile in _STRENGTH else "plain"
        request = max(asked, self.ladder.request, key=_STRENGTH.index)
        if request == "plain":
            return PLAIN
        return await asyncio.to_thread(partial(self.ladder.choose, request, cwd, strict=sandbox.strict))
