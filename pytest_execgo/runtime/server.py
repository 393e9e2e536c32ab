"""The runtime service as a process: its options, its environment, its start and stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.containment.environment import command_environment, inherits
from pytest_execgo.core.containment.ladder import REQUESTS
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.serving import TokenGuard, parse_address, serve
from pytest_execgo.plan.confinement import MODES, SandboxMode
from pytest_execgo.runtime.data_folder import DataFolder

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from pytest_execgo.runtime.engine import Engine
    from pytest_execgo.runtime.keeper_client import KeeperClient

_OPEN_PATHS = ("/healthz", "/readyz")
_UNAUTHORIZED = {"code": "unauthorized", "message": "a bearer token is required", "details": {}}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service was told: an option wins over its variable, a variable over the default."""

    addr: str
    data_dir: str
    max_concurrency: int
    queue_limit: int
    capacity_memory: int | None
    capacity_cpu: float | None
    tenant_limit: int | None
    abandon_after: float
    isolation: str
    sandbox_mode: SandboxMode
    wasm_interpreters: tuple[str, ...]
    shutdown_timeout: float
    ready_fd: int | None
    shared_port: bool
    token: str


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_execgo serve runtime",
        description="Run commands for an ExecGo kernel. Every option may be written with one or two dashes.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-addr", "--addr", metavar="HOST:PORT", help="where to listen (EXECGO_RUNTIME_ADDR; default :8080)")
    add("-max-concurrency", "--max-concurrency", metavar="N", help="tasks at once (default 2 per core, at least 10)")
    add("-queue-limit", "--queue-limit", metavar="N", help="tasks that may wait for their turn (default 1000)")
    add("-data-dir", "--data-dir", metavar="FOLDER", help="where tasks are kept (EXECGO_RUNTIME_DATA_DIR; default runtime-data)")
    add("-capacity-memory", "--capacity-memory", metavar="BYTES", help="what tasks may reserve together (default no bound)")
    add("-capacity-cpu", "--capacity-cpu", metavar="CORES", help="what tasks may reserve together (default no bound)")
    add("-tenant-limit", "--tenant-limit", metavar="N", help="tasks at once of one tenant (default no bound)")
    add("-abandon-after", "--abandon-after", metavar="SECONDS", help="commands without a service end then (default 60)")
    add("-isolation", "--isolation", metavar="WORD", help="auto, plain, namespace, bubblewrap, landlock or strict (default plain)")
    add("-sandbox-mode", "--sandbox-mode", metavar="MODE", help="sandbox of code that names none: native, docker, wasm")
    add("-wasm-interpreters", "--wasm-interpreters", metavar="LANGUAGE=FILE,…", help="WASI modules that run languages in mode wasm")
    add("-shutdown-timeout", "--shutdown-timeout", metavar="SECONDS", help="for open requests on stop (default 15)")
    add("-ready-fd", "--ready-fd", type=int, metavar="FD", help="descriptor that gets one JSON line with pid and port")
    add("-shared-port", "--shared-port", action="store_true", help="listen with SO_REUSEPORT")
    return parser


def read_settings(argv: list[str], environment: Mapping[str, str]) -> Settings:
    """Combine options, environment and defaults; `UsageError` names the option and its variable."""
    options = _parser().parse_args(argv)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def text(name: str, default: object) -> str:
        given: str | None = getattr(options, name)
        return given if given is not None else environment.get(f"EXECGO_RUNTIME_{name.upper()}") or str(default)

    def number(name: str, default: float, least: float, whole: bool = True) -> float:
        value = text(name, default)
        try:
            parsed = int(value) if whole else float(value.removesuffix("s"))
        except ValueError:
            parsed = least - 1
        if not least <= parsed < 10**15:
            flag = name.replace("_", "-")
            kind = "whole number" if whole else "number of seconds"
            message = f"-{flag} (EXECGO_RUNTIME_{name.upper()}) can't be {value!r}"
            raise UsageError("bad_option", message, f"write a {kind} of at least {least:g}, for instance {default:g}")
        return parsed

    def bound(name: str, least: float, whole: bool = True) -> float | None:
        return number(name, least, least, whole) if text(name, "") else None

    addr = text("addr", ":8080")
    parse_address(addr)
    isolation = text("isolation", "plain").strip().lower()
    if isolation not in REQUESTS:
        raise UsageError.unknown("isolation", isolation, REQUESTS)
    mode = text("sandbox_mode", "native").strip().lower()
    if mode not in MODES:
        raise UsageError.unknown("sandbox mode", mode, MODES)
    memory, tenant = bound("capacity_memory", 1), bound("tenant_limit", 1)
    return Settings(
        addr=addr,
        data_dir=text("data_dir", "runtime-data"),
        capacity_memory=None if memory is None else int(memory),
        capacity_cpu=bound("capacity_cpu", 0.01, whole=False),
        tenant_limit=None if tenant is None else int(tenant),
        abandon_after=number("abandon_after", 60, 0.1, whole=False),
        max_concurrency=int(number("max_concurrency", max(10, 2 * cores), 1)),
        queue_limit=int(number("queue_limit", 1000, 0)),
        isolation=isolation,
        sandbox_mode=mode,
        wasm_interpreters=_interpreters(text("wasm_interpreters", "")),
        shutdown_timeout=number("shutdown_timeout", 15, 0, whole=False),
        ready_fd=options.ready_fd,
        shared_port=options.shared_port,
        token=environment.get("EXECGO_RUNTIME_TOKEN", ""),
    )


def _interpreters(told: str) -> tuple[str, ...]:
    """Return what mode wasm is told. Whether the files are there is its own affair: who wants no mode wasm needs none of them."""
    words = tuple(filter(None, told.split(",")))
    for word in words:
        name, _, file = word.partition("=")
        if not (name and file):
            message = f"-wasm-interpreters (EXECGO_RUNTIME_WASM_INTERPRETERS): {word!r} names no language and its file"
            raise UsageError("bad_option", message, "python=/a/python.wasm,javascript=/a/quickjs.wasm; see docs/sandbox.md")
    return tuple(f"{name}={Path(file).absolute()}" for name, _, file in (word.partition("=") for word in words))


def _sandbox_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the sandbox's own process sees, which is no command's: the way to the container engine, too."""
    engine = {name: value for name, value in environment.items() if name.startswith("DOCKER_")}
    return command_environment(environment) | engine


def build(settings: Settings, environment: Mapping[str, str], folder: DataFolder, keeper: KeeperClient) -> tuple[ASGIApp, Engine]:
    """Wire the service: the application that answers, and the engine behind it. The keeper is ready when this returns."""
    from pytest_execgo.runtime.api import build_app
    from pytest_execgo.runtime.capacity import Capacity
    from pytest_execgo.runtime.engine import Engine
    from pytest_execgo.runtime.fork_servers import ForkServers
    from pytest_execgo.runtime.isolation import Isolator
    from pytest_execgo.runtime.sandboxed import Sandboxes
    from pytest_execgo.runtime.sqlite_store import SqliteStore

    capacity = Capacity(
        settings.max_concurrency,
        settings.queue_limit,
        settings.capacity_memory,
        settings.capacity_cpu,
        settings.tenant_limit,
    )
    store = SqliteStore(folder.checked_database())
    for problem in folder.moved_aside:
        sys.stderr.write(f"warning: {problem}\n")
    keeper.await_launch()
    engine = Engine(store, keeper, capacity, command_environment(environment, inherit=inherits(environment)))
    engine.isolator = Isolator(settings.isolation)
    place, known = folder.path / "sandboxes", _sandbox_environment(environment)
    engine.sandboxes = Sandboxes(place, known, settings.sandbox_mode, settings.wasm_interpreters)
    engine.sandboxes.servers = ForkServers(place, known)
    app: ASGIApp = build_app(
        engine, {"folder": str(folder.path), "moved_aside": folder.moved_aside, "unreadable": store.unreadable}
    )
    if settings.token:
        app = TokenGuard(app, settings.token, _OPEN_PATHS, _UNAUTHORIZED)
    return app, engine


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM: 0 after an ordinary stop, 2 for a user's mistake, told on standard error."""
    keeper: KeeperClient | None = None
    try:
        settings = read_settings(argv, os.environ)
        folder = DataFolder.open(Path(settings.data_dir))

        from pytest_execgo.runtime.keeper_client import KeeperClient

        keeper = KeeperClient(folder.path, settings.abandon_after)
        keeper.launch()  # it gets up while this process imports the rest
        app, engine = build(settings, os.environ, folder, keeper)
        if not settings.token and parse_address(settings.addr)[0] not in ("127.0.0.1", "localhost", "::1"):
            sys.stderr.write("warning: anybody who reaches this port can run commands; set EXECGO_RUNTIME_TOKEN\n")
        serve(
            app,
            settings.addr,
            shared_port=settings.shared_port,
            ready_fd=settings.ready_fd,
            shutdown_timeout=settings.shutdown_timeout,
            on_stop=engine.stop,
        )
    except ExecGoError as error:
        sys.stderr.write(f"error: {error}\n")
        if keeper is not None:
            keeper.dismiss()
        return error.exit_code
    return 0
