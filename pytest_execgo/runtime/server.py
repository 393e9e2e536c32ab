"""The runtime service as a process: its options, its environment, its start and stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.serving import TokenGuard, parse_address, serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from pytest_execgo.runtime.engine import Engine

_OPEN_PATHS = ("/healthz", "/readyz")
_UNAUTHORIZED = {"code": "unauthorized", "message": "a bearer token is required", "details": {}}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service was told: an option wins over its variable, a variable over the default."""

    addr: str
    max_concurrency: int
    queue_limit: int
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
        if not least <= parsed < 10**9:
            flag = name.replace("_", "-")
            kind = "whole number" if whole else "number of seconds"
            message = f"-{flag} (EXECGO_RUNTIME_{name.upper()}) can't be {value!r}"
            raise UsageError("bad_option", message, f"write a {kind} of at least {least:g}, for instance {default:g}")
        return parsed

    addr = text("addr", ":8080")
    parse_address(addr)
    return Settings(
        addr=addr,
        max_concurrency=int(number("max_concurrency", max(10, 2 * cores), 1)),
        queue_limit=int(number("queue_limit", 1000, 0)),
        shutdown_timeout=number("shutdown_timeout", 15, 0, whole=False),
        ready_fd=options.ready_fd,
        shared_port=options.shared_port,
        token=environment.get("EXECGO_RUNTIME_TOKEN", ""),
    )


def command_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what commands see of the service's environment: all but its own variables, which hold tokens."""
    return {name: value for name, value in environment.items() if not name.startswith("EXECGO_")}


def build(settings: Settings, environment: Mapping[str, str]) -> tuple[ASGIApp, Engine]:
    """Wire the service: the application that answers, and the engine behind it."""
    from pytest_execgo.runtime.api import build_app
    from pytest_execgo.runtime.engine import Capacity, Engine
    from pytest_execgo.runtime.store import MemoryStore

    capacity = Capacity(settings.max_concurrency, settings.queue_limit)
    engine = Engine(MemoryStore(), capacity, command_environment(environment))
    app: ASGIApp = build_app(engine)
    if settings.token:
        app = TokenGuard(app, settings.token, _OPEN_PATHS, _UNAUTHORIZED)
    return app, engine


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM: 0 after an ordinary stop, 2 for a user's mistake, told on standard error."""
    try:
        settings = read_settings(argv, os.environ)
        app, engine = build(settings, os.environ)
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
        return error.exit_code
    return 0
