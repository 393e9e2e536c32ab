"""Chooses the backend that runs the stack."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.stack import Stack
from pytest_execgo.wiring.settings import Settings


def make_stack(settings: Settings, folder: Path) -> Stack:
    """Return the stack of the configured backend, not yet up; `folder` takes its logs and data."""
    if settings.backend == "external":
        from pytest_execgo.harness.external import ExternalStack

        return ExternalStack(settings.url, settings.runtime_url, settings.fixtures_url, token=settings.token)

    from pytest_execgo.harness.settings import StackSettings

    surroundings = StackSettings(environ=os.environ)
    if settings.backend == "native":
        from pytest_execgo.harness.native import NativeStack

        if settings.bin is None:
            raise UsageError("option_missing", "backend 'native' needs the kernel's binary", "add --execgo-bin PATH")
        return NativeStack(settings.bin, folder, surroundings)
    from pytest_execgo.harness.embedded import EmbeddedStack

    return EmbeddedStack(folder, replace(surroundings, file_roots=(settings.out,)))
