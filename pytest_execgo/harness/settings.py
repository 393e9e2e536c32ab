"""What a stack of child processes is told: environment, ports, token, limits, deadlines."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.stack import Service

_INTERPRETERS = "EXECGO_RUNTIME_WASM_INTERPRETERS"
INHERITED = (
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "TZ",
    "USER",
    "LOGNAME",
    _INTERPRETERS,
)
"""The only variables that services take over from whoever starts them, beside PATH."""
DEFAULT_BASE = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
"""What images of our services are built on unless something else is asked for."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """Settings of an embedded or native stack; times in seconds.

    `environ` is the caller's environment, of which only PATH and `INHERITED` are used. `cwd` is where services run, so
    what a task's relative paths are relative to (default: the stack's folder). A port that is not in `ports` is a
    free one. `guarded` stacks have a token: the given one, or a random one of their own.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    ports: Mapping[Service, int] = field(default_factory=dict)
    guarded: bool = True
    file_roots: tuple[Path, ...] | None = None
    """With folders here the kernel is strict: the file tool stays beneath them, the http tool reaches the fixtures service only."""
    via: Mapping[Service, str] = field(default_factory=dict)
    """Base URLs (http://host:port) through which the kernel reaches the runtime and the fixtures service, if not directly."""
    kernel_hosts: tuple[str, ...] = ()
    """Further host:port pairs by which clients may call our kernel: those of proxies in front of it."""
    history: bool = True
    """Whether our kernel writes what it does to `kernel-history.jsonl` in the stack's folder; a given binary never does."""
    token: str | None = None
    max_concurrency: int = 10
    extra_args: Mapping[Service, Sequence[str]] = field(default_factory=dict)
    extra_env: Mapping[Service, Mapping[str, str]] = field(default_factory=dict)
    ready_timeout: float = 20
    shutdown_timeout: int = 5
    """How long a service that is restarted may take to finish what runs; whole seconds, our kernel wants at least 1."""
    down_timeout: float = 2
    """How long services may take to end when the whole stack goes down."""

    def __post_init__(self) -> None:
        """Check `via`; `UsageError` names what can't be used."""
        for service, url in self.via.items():
            if service is Service.KERNEL:
                raise UsageError("bad_via", f"via: {url} would be the kernel's way to itself", "name the runtime or the fixtures")
            try:
                parts = urlsplit(url)
                usable = parts.scheme == "http" and bool(parts.hostname and parts.port) and parts.path in ("", "/")
            except ValueError:  # a port that is no number
                usable = False
            if not usable:
                raise UsageError("bad_via", f"via: {url!r} is no way to the {service}", "write it as http://host:port")


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that services begin with.

    PATH starts with this interpreter's folder, so that `python3` in a plan is this Python with its packages. PYTHON*
    variables stay out: the services run on this interpreter, which finds the package wherever it is installed. Files that
    the variables name are relative to the folder that is current here; services, which work elsewhere, get them absolute.
    """
    path = environ.get("PATH") or os.defpath
    kept = {name: environ[name] for name in INHERITED if name in environ}
    if _INTERPRETERS in kept:
        kept[_INTERPRETERS] = ",".join(_from_here(word) for word in kept[_INTERPRETERS].split(","))
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}


def _from_here(word: str) -> str:
    """Return `LANGUAGE=FILE` with the file's absolute path; what is none is for the runtime to refuse."""
    language, _, file = word.partition("=")
    return f"{language}={Path(file).absolute()}" if file else word


def serve_command(service: Service, address: str, *options: str) -> list[str]:
    """Return the command that serves one of our services; `-P` keeps its working folder off the import path."""
    python = [sys.executable, "-P", "-u", "-m", "pytest_execgo"]
    return [*python, "serve", service, "-addr", address, *options]
