"""Chooses the backend that runs the stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.stack import Service, Stack
from pytest_execgo.wiring.settings import Settings


def make_stack(settings: Settings, folder: Path, links: Mapping[str, str] | None = None) -> Stack:
    """Return the stack of the configured backend, not yet up; `folder` takes its logs and data.

    Over a folder that an earlier stack left, it has the same ports as that one.

    `links` gives the URLs of network legs that the kernel shall use instead of the services' own, by their names.
    """
    if settings.backend == "external":
        from pytest_execgo.harness.external import ExternalStack

        return ExternalStack(settings.url, settings.runtime_url, settings.fixtures_url, token=settings.token)

    from pytest_execgo.harness.record import read_stack_ports
    from pytest_execgo.harness.settings import StackSettings

    legs = links or {}
    via = {service: legs[name] for service, name in _LEGS.items() if name in legs}
    fronts = tuple(url.removeprefix("http://") for name, url in legs.items() if name == "client-kernel")
    own = settings.root / "scenarios"
    plans = {Service.FIXTURES: ["-scenarios", str(own)]} if own.is_dir() else {}
    surroundings = StackSettings(extra_args=plans, environ=os.environ, via=via, kernel_hosts=fronts, ports=read_stack_ports(folder))
    if settings.backend == "native":
        from pytest_execgo.harness.native import NativeStack

        if settings.bin is None:
            raise UsageError("option_missing", "backend 'native' needs the kernel's binary", "add --execgo-bin PATH")
        return NativeStack(settings.bin, folder, surroundings)
    from pytest_execgo.harness.embedded import EmbeddedStack

    return EmbeddedStack(folder, replace(surroundings, file_roots=(settings.out,)))


_LEGS = {Service.RUNTIME: "kernel-runtime", Service.FIXTURES: "kernel-fixtures"}
