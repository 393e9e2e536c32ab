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

        return ExternalStack(settings.url, settings.runtime_url, settings.fixtures_url, token=settings.token, folder=folder)

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
        return NativeStack(settings.bin, folder, replace(surroundings, extra_env=_way_to_engine()))
    ours = replace(surroundings, file_roots=(settings.out,))
    if settings.backend == "containers":
        from pytest_execgo.harness.containers import ContainerStack

        named = {Service.KERNEL: settings.image, Service.RUNTIME: settings.runtime_image}
        images = {service: image for service, image in named.items() if image is not None}
        return ContainerStack(folder, ours, images=images, base_image=settings.base_image)
    from pytest_execgo.harness.embedded import EmbeddedStack

    return EmbeddedStack(folder, replace(ours, extra_env=_way_to_engine()))


def _way_to_engine() -> dict[Service, dict[str, str]]:
    """Return the variables that lead the runtime's sandboxes of mode docker to the container engine."""
    return {Service.RUNTIME: {name: value for name, value in os.environ.items() if name.startswith("DOCKER_")}}


def link_host(settings: Settings) -> str:
    """Return the address of this machine on which network legs begin, so that the backend's services can reach them."""
    if settings.backend == "containers":
        from pytest_execgo.harness.containers import host_address

        return host_address()
    return "127.0.0.1"


def backend_problem(settings: Settings) -> str | None:
    """Say why the configured backend can't run anything here, and what to do about it; None when it can, or that shows later."""
    if settings.backend != "containers":
        return None
    from pytest_execgo.core.engine.connection import EngineMissing, connect

    try:
        connect()
    except EngineMissing as error:
        return str(error)
    return None


_LEGS = {Service.RUNTIME: "kernel-runtime", Service.FIXTURES: "kernel-fixtures"}
