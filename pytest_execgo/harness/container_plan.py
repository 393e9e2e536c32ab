"""What each container of a stack is made from: image, command, variables, folders, user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.engine.connection import engine_call
from pytest_execgo.core.engine.images import pull_image
from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness.container_network import INNER_PORTS
from pytest_execgo.harness.image_build import SERVICE_LABEL, service_images
from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import DEFAULT_BASE
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient

_FOREIGN = (Service.KERNEL, Service.RUNTIME)


@dataclass(frozen=True, slots=True)
class ServiceImage:
    """An image for a service. `ours` says that it is our own; `port` is where a container of it listens.

    `command` is what comes before options where the image has no entry point.
    """

    reference: str
    ours: bool
    port: int
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One service's container before it is made. `mounts` are folders that it sees at their own paths, and whether it may write."""

    image: str
    port: int
    command: list[str] | None
    environment: dict[str, str]
    mounts: dict[Path, bool]
    folder: Path
    user: str


def choose_images(
    client: EngineClient, given: Mapping[Service, str], base: str | None, tell: Callable[[str], None]
) -> dict[Service, ServiceImage]:
    """Return each service's image: the given one, pulled when the engine lacks it, else our own, built when it does."""
    missing = [service for service in Service if service not in given]
    built = service_images(client, base or DEFAULT_BASE, missing, tell) if missing else {}
    images = {service: ServiceImage(reference, ours=True, port=INNER_PORTS[service]) for service, reference in built.items()}
    for service, reference in given.items():
        pull_image(client, reference)
        with engine_call(f"describe the image {reference}"):
            config = client.api.inspect_image(reference)["Config"]
        images[service] = _given_image(service, reference, config)
    return images


def _given_image(service: Service, reference: str, config: Mapping[str, object]) -> ServiceImage:
    labels, exposed = config.get("Labels") or {}, config.get("ExposedPorts") or {}
    entry, command = config.get("Entrypoint") or (), config.get("Cmd") or ()
    assert isinstance(labels, dict)
    assert isinstance(exposed, dict)
    assert isinstance(command, list | tuple)
    ours = labels.get(SERVICE_LABEL) or None
    if ours == service:
        return ServiceImage(reference, ours=True, port=INNER_PORTS[service])
    if ours is not None or service not in _FOREIGN:
        problem = f"is our {ours}" if ours is not None else "is none of ours"
        raise UsageError("bad_image", f"the image {reference} can't be the {service}: it {problem}", "give another one, or none")
    ports = sorted(int(one.partition("/")[0]) for one in exposed if one.endswith("/tcp"))
    port = ports[0] if ports and service is Service.RUNTIME else INNER_PORTS[service]
    return ServiceImage(reference, ours=False, port=port, command=() if entry else tuple(command))


def plan_container(service: Service, image: ServiceImage, told: ServiceOptions, user: str) -> ContainerPlan:
    """Return how a service's container is made. Folders that don't exist yet are made."""
    settings, extra = told.settings, list(told.settings.extra_args.get(service, ()))
    options = told.options(service)
    if image.ours:
        options = ["-addr", f":{image.port}", *options]
    elif service is Service.KERNEL:
        options = ["-addr", f":{image.port}", "-grpc-addr", "127.0.0.1:0", *options]
    words = [*options, *extra]
    folder = settings.cwd or told.folder
    return ContainerPlan(
        image=image.reference,
        port=image.port,
        command=[*image.command, *words] if words else None,
        environment=told.environment(service),
        mounts=_mounts((told.folder, *(settings.file_roots or ()), folder), [Path(word) for word in extra]),
        folder=folder.absolute(),
        user=user,
    )


def _mounts(own: Iterable[Path], read: Iterable[Path]) -> dict[Path, bool]:
    """Return what a container sees: our folders to write to, and whatever absolute path it is told of to read."""
    mounts: dict[Path, bool] = {}
    for path in own:
        path.absolute().mkdir(parents=True, exist_ok=True)
        mounts[path.absolute()] = True
    for path in read:
        if path.is_absolute() and path.exists():
            mounts.setdefault(path, False)
    # what lies in a folder that may be written to comes along with that
    return {path: write for path, write in mounts.items() if not any(mounts.get(above) for above in path.parents)}


def caller(rootless: bool) -> str:
    """Return who containers run as, so that their files are ours; in a rootless engine that is its root."""
    return "0:0" if rootless else f"{os.getuid()}:{os.getgid()}"
