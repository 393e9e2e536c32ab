"""The kernel's command line: ExecGo's flags and environment, and a few of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.serving import TokenGuard, parse_address, serve
from pytest_execgo.kernel.app import KernelApp, TraceID, log
from pytest_execgo.kernel.executor import Executor
from pytest_execgo.kernel.settings import DEFAULT_RUNTIME_URL, RuntimeSettings, Settings

USAGE = """usage: python -m pytest_execgo serve kernel [options]
  -addr HOST:PORT            listen here (EXECGO_ADDR; :8080 is port 8080 of every interface)
  -grpc-addr HOST:PORT       accepted, not served (EXECGO_GRPC_ADDR)
  -data-dir DIR              data folder (EXECGO_DATA_DIR; default data)
  -max-concurrency N         tasks that run at once (EXECGO_MAX_CONCURRENCY; default 10)
  -shutdown-timeout SECONDS  how long open requests may take at the end (EXECGO_SHUTDOWN_TIMEOUT; default 15)
  --ready-fd N               write one JSON line {"pid", "port"} to this file descriptor once requests are answered
  --shared-port              let another process keep the port reserved (SO_REUSEPORT)
environment: EXECGO_TOKEN, EXECGO_SHELL_POLICY=open, EXECGO_RUNTIME_URL, EXECGO_RUNTIME_TOKEN, EXECGO_RUNTIME_TENANT,
EXECGO_RUNTIME_OWNER
"""


@dataclass(frozen=True, slots=True)
class _Option:
    """A flag, the environment variable that stands in for it, and its default."""

    flag: str
    variable: str
    default: str


_OPTIONS = {
    option.flag: option
    for option in (
        _Option("addr", "EXECGO_ADDR", ":8080"),
        _Option("grpc-addr", "EXECGO_GRPC_ADDR", ":50051"),
        _Option("data-dir", "EXECGO_DATA_DIR", "data"),
        _Option("max-concurrency", "EXECGO_MAX_CONCURRENCY", "10"),
        _Option("shutdown-timeout", "EXECGO_SHUTDOWN_TIMEOUT", "15"),
        _Option("ready-fd", "", ""),
    )
}
_SWITCHES = ("shared-port",)


def main(argv: list[str]) -> int:
    """Serve until stopped. Returns 0, or 2 after one line on standard error when an option can't be used."""
    if {"-h", "--help", "-help"} & set(argv):
        sys.stdout.write(USAGE)
        return 0
    try:
        settings = read_settings(argv, os.environ)
        _serve(settings)
    except ExecGoError as error:
        sys.stderr.write(f"kernel: {error.message}" + (f" ({error.hint})" if error.hint else "") + "\n")
        return 2
    return 0


def _serve(settings: Settings) -> None:
    app: Callable[..., object] = KernelApp(settings, build_executors)
    if settings.token:
        app = TokenGuard(app, settings.token, open_paths=("/health",))  # type: ignore[arg-type]
    serve(
        TraceID(app),  # type: ignore[arg-type]
        settings.address,
        shared_port=settings.shared_port,
        ready_fd=settings.ready_fd,
        shutdown_timeout=settings.shutdown_timeout,
        on_bound=lambda port: log("INFO", "listening", port=port, max_concurrency=settings.max_concurrency),
    )
    log("INFO", "stopped")


def build_executors(settings: Settings) -> Mapping[str, Executor]:
    """Return what runs each task type. A type that is known to the API but missing here fails when it is to run."""
    # imported here, after the port is bound and before the first request: nobody's task pays for it
    from pytest_execgo.kernel.os_executor import OsExecutor
    from pytest_execgo.kernel.runtime_executor import RuntimeExecutor
    from pytest_execgo.kernel.threads import Threads
    from pytest_execgo.kernel.web import Web

    threads = Threads()
    web = Web(2 * settings.max_concurrency)
    return {
        "os": OsExecutor(settings, threads, web),
        "runtime": RuntimeExecutor(settings.runtime, threads, web),
    }


def read_settings(argv: list[str], environment: Mapping[str, str]) -> Settings:
    """Put flags (they win) and environment together; `UsageError` names what can't be used."""
    given, switches = _flags(argv)

    def value(flag: str) -> str:
        option = _OPTIONS[flag]
        return given.get(flag) or environment.get(option.variable, "") or option.default

    parse_address(value("addr"))
    ready_fd = value("ready-fd")
    return Settings(
        address=value("addr"),
        grpc_address=value("grpc-addr"),
        data_dir=value("data-dir"),
        max_concurrency=_number("max-concurrency", value("max-concurrency"), 1),
        shutdown_timeout=_number("shutdown-timeout", value("shutdown-timeout"), 1),
        ready_fd=_number("ready-fd", ready_fd, 0) if ready_fd else None,
        shared_port="shared-port" in switches,
        token=environment.get("EXECGO_TOKEN", ""),
        open_shell=environment.get("EXECGO_SHELL_POLICY", "").strip().lower() == "open",
        environment={name: text for name, text in environment.items() if not name.startswith("EXECGO_")},
        runtime=RuntimeSettings(
            url=environment.get("EXECGO_RUNTIME_URL", "").strip() or DEFAULT_RUNTIME_URL,
            token=environment.get("EXECGO_RUNTIME_TOKEN", ""),
            tenant=environment.get("EXECGO_RUNTIME_TENANT", ""),
            owner=environment.get("EXECGO_RUNTIME_OWNER", ""),
        ),
    )


def _flags(argv: list[str]) -> tuple[dict[str, str], set[str]]:
    """Read flags as Go does: one dash or two, `=value` or the next argument."""
    given: dict[str, str] = {}
    switches: set[str] = set()
    rest = iter(argv)
    for argument in rest:
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or argument.startswith("---") or not name:
            raise UsageError("unexpected_argument", f"unexpected argument {argument!r}", "options begin with - or --")
        if name in _SWITCHES and not equals:
            switches.add(name)
        elif name in _OPTIONS:
            following = value if equals else next(rest, None)
            if following is None:
                raise UsageError("missing_value", f"option -{name} needs a value", f"write -{name}=VALUE")
            given[name] = following
        else:
            raise UsageError.unknown("option", name, [*_OPTIONS, *_SWITCHES])
    return given, switches


def _number(flag: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        source = f"-{flag}" + (f" ({_OPTIONS[flag].variable})" if _OPTIONS[flag].variable else "")
        raise UsageError("bad_number", f"{source}: {text!r} can't be used", f"write a whole number, {least} or more")
    return int(text)
