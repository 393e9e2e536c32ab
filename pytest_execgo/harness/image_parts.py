"""What the images of our services are made of: our code, the packages that it needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import MissingDependency

PACKAGES = ("dnspython", "h11", "httptools", "packaging", "pydantic", "starlette", "urllib3", "uvicorn", "uvloop")
"""What the services import, and the built-in scenarios' commands; what these need comes along."""
CODE = ("__init__.py", "__main__.py", "cli/__init__.py", "cli/serve.py", "core", "plan", "kernel", "runtime", "sandbox")
"""What of this package the services import."""
_PACKAGE = Path(__file__).resolve().parent.parent


def pinned_packages() -> tuple[str, ...]:
    """Return `name==version` of everything that the services need, as it is installed here; sorted."""
    pins: dict[str, str] = {}
    pending = list(PACKAGES)
    while pending:
        name = canonicalize_name(pending.pop())
        if name in pins:
            continue
        try:
            pins[name] = version(name)
        except PackageNotFoundError as error:
            raise MissingDependency(
                "package_missing", f"the images of the services need {name}, which is not installed here", f"pip install {name}"
            ) from error
        wanted = map(Requirement, requires(name) or ())
        pending += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": "", **_TARGET})]
    return tuple(f"{name}=={pins[name]}" for name in sorted(pins))


_TARGET = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_python_implementation": "CPython"}


def code_files() -> dict[str, bytes]:
    """Return our files by their places in an installation of the image's own, laid out as a wheel lays them out.

    They come from wherever this package is installed, be that a wheel or a checkout.
    """
    files = {f"pytest_execgo/{name}": path for part in CODE for name, path in _beneath(_PACKAGE, part)}
    for name, path in _beneath(bundled("fixtures_service"), "."):
        files[f"pytest_execgo/bundle/fixtures_service/{name}"] = path
    for name, path in _beneath(bundled("scenarios"), "."):
        if "/plans/" in name or name.endswith("/reference_plan.json"):  # what the scripted model reads
            files[f"pytest_execgo/bundle/scenarios/{name}"] = path
    known = version("pytest-execgo")  # which services tell who asks them
    metadata = {f"pytest_execgo-{known}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: pytest-execgo\nVersion: {known}\n"}
    return {
        **{name: path.read_bytes() for name, path in files.items()},
        **{name: text.encode() for name, text in metadata.items()},
    }


def _beneath(root: Path, part: str) -> Iterator[tuple[str, Path]]:
    """Yield the files that are or lie beneath `root/part`, with their names from `root`; no compiled ones."""
    start = root / part
    for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path.relative_to(root).as_posix(), path
