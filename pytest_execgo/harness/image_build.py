"""Builds the images of our services, once: a tag says what is in an image, and what there is isn't built again."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.engine.images import (
    BuildContext,
    ImageError,
    build_image,
    image_id,
    pull_image,
    remove_unused_images,
    run_once,
)
from pytest_execgo.core.engine.ownership import owner_labels
from pytest_execgo.harness.image_parts import code_files, pinned_packages
from pytest_execgo.harness.settings import DEFAULT_BASE
from pytest_execgo.plan.stack import Service

if TYPE_CHECKING:
    from pytest_execgo.core.engine.connection import EngineClient

SERVICE_LABEL = "org.pytest-execgo.service"
"""On our images: which of the services they are."""
REPOSITORY = "pytest-execgo"
_DOCKERFILE = Path(__file__).with_name("Dockerfile")
_OLDEST_PYTHON = (3, 11)
_LAST_LINES = 20
_LOOK = """import json, platform, sys
library, version = platform.libc_ver()
print(json.dumps([list(sys.version_info[:2]), platform.machine(), version if library == "glibc" else ""]))"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of a base image; `glibc` is empty where the C library is another, so musl."""

    python: tuple[int, int]
    machine: str
    glibc: str

    @property
    def platforms(self) -> list[str]:
        """The platform tags of wheels that it can use, the newest first."""
        if not self.glibc:
            return [f"musllinux_1_{minor}_{self.machine}" for minor in (2, 1)]
        newest = int(self.glibc.split(".")[1])
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 16, -1)]
        return [*tags, f"manylinux2014_{self.machine}"]


def service_images(
    client: EngineClient,
    base: str = DEFAULT_BASE,
    services: Iterable[Service] = tuple(Service),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[Service, str]:
    """Return the names of our services' images over `base`, building those that the engine lacks.

    `tell` gets a line for each longer step. `ImageError` says what can't be had, be it the base, a package or the build.
    """
    _pull_base(client, base)
    context, pins = _context(base), pinned_packages()
    named = _names(context, pins, image_id(client, base) or "")
    images = {service: named[service] for service in services}
    if _lacking(client, images):
        with _one_builder():
            lacking = _lacking(client, images)
            if lacking:
                _build(client, context, pins, base, lacking, tell)
    return images


def _pull_base(client: EngineClient, base: str) -> None:
    try:
        pull_image(client, base)
    except ImageError as error:
        other = "or name one that is here, with Python 3.11 or later, by --execgo-base-image"
        raise ImageError(error.code, error.message, f"{error.hint}; {other}") from error


def remove_old_images(client: EngineClient, base: str = DEFAULT_BASE) -> list[str]:
    """Remove our services' images but those of this version over `base`, and what building them left; return what they were called.

    What a container uses stays, and what has a name of somebody else's; `remove_unused_images` has the rest.
    """
    known = image_id(client, base)
    current = {} if known is None else _names(_context(base), pinned_packages(), known)
    with _one_builder():
        return remove_unused_images(client, SERVICE_LABEL, [_repository(service) for service in Service], list(current.values()))


def _context(base: str) -> BuildContext:
    """Return what the images are built from, but the packages."""
    files = {"Dockerfile": _DOCKERFILE.read_bytes(), **_prefixed("code", code_files())}
    return BuildContext(files, arguments={"BASE_IMAGE": base})


def _names(context: BuildContext, pins: tuple[str, ...], base_id: str) -> dict[Service, str]:
    digest = context.digest(base_id, *pins)
    return {service: f"{_repository(service)}:{digest}" for service in Service}


def _repository(service: Service) -> str:
    return f"{REPOSITORY}/{service}"


def _lacking(client: EngineClient, images: dict[Service, str]) -> dict[Service, str]:
    return {service: image for service, image in images.items() if image_id(client, image) is None}


def _build(
    client: EngineClient,
    context: BuildContext,
    pins: tuple[str, ...],
    base: str,
    images: dict[Service, str],
    tell: Callable[[str], None],
) -> None:
    tell(f"fetching {len(pins)} packages for {base}")
    wheels = fetch_wheels(pins, _interpreter(client, base))
    whole = BuildContext({**context.files, **_prefixed("wheels", wheels)}, arguments=context.arguments)
    for service, image in images.items():
        tell(f"building {image}")
        build_image(client, image, whole, target=service)


def _interpreter(client: EngineClient, base: str) -> Interpreter:
    python, machine, glibc = json.loads(run_once(client, base, ["python3", "-c", _LOOK], owner_labels()))
    found = Interpreter((python[0], python[1]), machine, glibc)
    if found.python < _OLDEST_PYTHON:
        raise ImageError("old_base", f"the base image {base} has Python {python[0]}.{python[1]}", "use one with 3.11 or later")
    return found


def fetch_wheels(pins: Iterable[str], target: Interpreter) -> dict[str, bytes]:
    """Return the wheels of `pins` for `target` by their file names, as this interpreter's pip gets them.

    `ImageError` in pip's own words when it can't, with what to do about it.
    """
    version = f"{target.python[0]}.{target.python[1]}"
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        command += [
            "--only-binary=:all:",
            "--implementation",
            "cp",
            "--python-version",
            version,
            *platforms,
            "--dest",
            folder,
            *pins,
        ]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        if ended.returncode != 0:
            raise _no_wheels(ended.stderr)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _no_wheels(said: str) -> ImageError:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("WARNING: Location")]
    if "No module named pip" in said:
        return ImageError(
            "no_pip", f"{sys.executable} has no pip, which fetches the images' packages", "python -m ensurepip, or install pip"
        )
    end = "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:])
    return ImageError(
        "no_wheels",
        f"pip can't get the packages that go into the images:\n{end}",
        "let pip reach an index (PIP_INDEX_URL, PIP_CERT), or give it a folder of wheels (PIP_FIND_LINKS, PIP_NO_INDEX=1)",
    )


def _prefixed(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


@contextmanager
def _one_builder() -> Iterator[None]:
    """Let one process of this user build at a time: the others find what it has built."""
    path = Path(tempfile.gettempdir(), f"pytest-execgo-images-{os.getuid()}.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
