"""The kernel's command line: ExecGo's flags and environment, and a few of our own."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_execgo.core.containment.environment import command_environment, inherits
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.process_tree import become_subreaper
from pytest_execgo.core.serving import TokenGuard, parse_address, serve
from pytest_execgo.kernel.api.app import KernelApp
from pytest_execgo.kernel.api.hosts import HostGuard, read_hosts
from pytest_execgo.kernel.api.logs import RequestLog, close_log, log
from pytest_execgo.kernel.durable.folder import DataFolder
from pytest_execgo.kernel.durable.open import STORE
from pytest_execgo.kernel.durable.state_json import export_state
from pytest_execgo.kernel.executors.executor import Executor
from pytest_execgo.kernel.executors.policy import read_policy
from pytest_execgo.kernel.settings import DEFAULT_RUNTIME_URL, RuntimeSettings, Settings

if TYPE_CHECKING:
    from pytest_execgo.kernel.history.journal import Journal

USAGE = """usage: python -m pytest_execgo serve kernel [options]
  -addr HOST:PORT            listen here (EXECGO_ADDR; :8080 is port 8080 of every interface)
  -grpc-addr HOST:PORT       accepted, not served (EXECGO_GRPC_ADDR)
  -data-dir DIR              data folder (EXECGO_DATA_DIR; default data)
  -max-concurrency N         tasks that run at once (EXECGO_MAX_CONCURRENCY; default 10)
  -shutdown-timeout SECONDS  how long requests and running tasks may take at the end (EXECGO_SHUTDOWN_TIMEOUT; default 15)
  -retain N                  ended tasks that are kept; the oldest go first (EXECGO_RETAIN; default 100000)
  -history FILE              note what happens to tasks, one JSON line for each event (EXECGO_HISTORY; default: no history)
  -export-state FILE         write the folder's tasks as ExecGo's state.json, and exit
  -allowed-hosts LIST        refuse requests whose Host header is none of these, host or host:port, separated by commas
                             (EXECGO_ALLOWED_HOSTS; default: any)
  -file-root DIR[,DIR]       the file tool stays beneath these folders (EXECGO_FILE_ROOT; default: any file)
  -http-allow LIST           the http tool reaches these host:port pairs only, separated by commas, or none (EXECGO_HTTP_ALLOW)
  -script-policy WORD        allow, or deny: shell scripts only with EXECGO_SHELL_POLICY=open (EXECGO_SCRIPT_POLICY; default allow)
  --compat                   ExecGo's letter: no extensions, a task id submitted again replaces its record (EXECGO_COMPAT=1)
  --ready-fd N               write one JSON line {"pid", "port"} to this file descriptor once requests are answered
  --shared-port              let another process keep the port reserved (SO_REUSEPORT)
environment: EXECGO_TOKEN, EXECGO_SHELL_POLICY=open, EXECGO_COMMAND_ENV=inherit (commands see every variable but EXECGO_*),
EXECGO_RUNTIME_URL, EXECGO_RUNTIME_TOKEN, EXECGO_RUNTIME_TENANT, EXECGO_RUNTIME_OWNER
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
        _Option("retain", "EXECGO_RETAIN", "100000"),
        _Option("export-state", "", ""),
        _Option("history", "EXECGO_HISTORY", ""),
        _Option("allowed-hosts", "EXECGO_ALLOWED_HOSTS", ""),
        _Option("file-root", "EXECGO_FILE_ROOT", ""),
        _Option("http-allow", "EXECGO_HTTP_ALLOW", ""),
        _Option("script-policy", "EXECGO_SCRIPT_POLICY", ""),
        _Option("ready-fd", "", ""),
    )
}
_ON_OFF = {"1": True, "true": True, "": False, "0": False, "false": False}
_SWITCHES = ("shared-port", "compat")


def main(argv: list[str]) -> int:
    """Serve until stopped. Returns 0, or 2 after one line on standard error when an option can't be used."""
    if {"-h", "--help", "-help"} & set(argv):
        sys.stdout.write(USAGE)
        return 0
    try:
        settings = read_settings(argv, os.environ)
        if settings.export_state:
            count = export_state(Path(settings.data_dir) / STORE, Path(settings.export_state))
            sys.stdout.write(f"{count} tasks written to {settings.export_state}\n")
            return 0
        _serve(settings)
    except ExecGoError as error:
        sys.stderr.write(f"kernel: {error.message}" + (f" ({error.hint})" if error.hint else "") + "\n")
        return 2
    return 0


def _serve(settings: Settings) -> None:
    gc.set_threshold(20_000, 20, 20)  # a graph makes objects by the thousand, none of them in cycles; looking for those costs 8%
    sys.setswitchinterval(0.0005)  # the thread that writes the store takes over from a busy event loop often, and briefly
    become_subreaper()  # what a command leaves behind comes to us, to be ended
    data = DataFolder(Path(settings.data_dir), settings.retain)
    kernel = KernelApp(settings, build_executors, data, open_journal(settings.history))
    app: Callable[..., object] = kernel
    if settings.token:
        app = TokenGuard(app, settings.token, open_paths=("/health",))  # type: ignore[arg-type]
    if settings.allowed_hosts:
        app = HostGuard(app, settings.allowed_hosts)  # type: ignore[arg-type]
    serve(
        RequestLog(app),  # type: ignore[arg-type]
        settings.address,
        shared_port=settings.shared_port,
        ready_fd=settings.ready_fd,
        shutdown_timeout=settings.shutdown_timeout,
        on_stop=kernel.stop_waiting,
        on_bound=lambda port: log("INFO", "listening", port=port, max_concurrency=settings.max_concurrency),
    )
    log("INFO", "stopped")
    close_log()


def open_journal(path: str) -> Journal | None:
    """Return the journal of the history, none without a path; `UsageError` when the file can't be used."""
    if not path:
        return None
    from pytest_execgo.kernel.history.journal import Journal  # a kernel that keeps none doesn't pay for it

    return Journal(Path(path))


def build_executors(settings: Settings) -> Mapping[str, Executor]:
    """Return what runs each task type. A type that is known to the API but missing here fails when it is to run."""
    # imported here, after the port is bound and before the first request: nobody's task pays for it
    from pytest_execgo.kernel.executors.cli_skills import CliSkillsExecutor
    from pytest_execgo.kernel.executors.mcp import McpExecutor
    from pytest_execgo.kernel.executors.os_executor import OsExecutor
    from pytest_execgo.kernel.executors.runtime_executor import RuntimeExecutor
    from pytest_execgo.kernel.executors.threads import Threads
    from pytest_execgo.kernel.executors.web import Web

    threads = Threads()
    web = Web(2 * settings.max_concurrency)
    return {
        "cli-skills": CliSkillsExecutor(settings),
        "mcp": McpExecutor(),
        "os": OsExecutor(settings, threads, web),
        "runtime": RuntimeExecutor(settings.runtime, threads, web),
    }


def read_settings(argv: list[str], environment: Mapping[str, str]) -> Settings:
    """Put flags (they win) and environment together; `UsageError` names what can't be used."""
    given, switches = _flags(argv)

    def value(flag: str) -> str:
        option = _OPTIONS[flag]
        return given.get(flag) or environment.get(option.variable, "") or option.default

    compat = "compat" in switches or _flag(environment, "EXECGO_COMPAT")
    parse_address(value("addr"))
    ready_fd = value("ready-fd")
    return Settings(
        address=value("addr"),
        grpc_address=value("grpc-addr"),
        data_dir=value("data-dir"),
        max_concurrency=_number("max-concurrency", value("max-concurrency"), 1),
        shutdown_timeout=_number("shutdown-timeout", value("shutdown-timeout"), 1),
        retain=_number("retain", value("retain"), 1),
        export_state=value("export-state"),
        history=value("history"),
        ready_fd=_number("ready-fd", ready_fd, 0) if ready_fd else None,
        shared_port="shared-port" in switches,
        token=environment.get("EXECGO_TOKEN", ""),
        compat=compat,
        allowed_hosts=read_hosts(value("allowed-hosts")),
        open_shell=environment.get("EXECGO_SHELL_POLICY", "").strip().lower() == "open",
        policy=read_policy(value("file-root"), value("http-allow"), value("script-policy"), address=value("addr")),
        environment=command_environment(environment, inherit=compat or inherits(environment)),
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


def _flag(environment: Mapping[str, str], variable: str) -> bool:
    """Read a variable that is on or off; unset and empty are off."""
    text = environment.get(variable, "").strip().lower()
    if text not in _ON_OFF:
        raise UsageError("bad_switch", f"{variable}: {text!r} can't be used", f"write one of {', '.join(filter(None, _ON_OFF))}")
    return _ON_OFF[text]


def _number(flag: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        source = f"-{flag}" + (f" ({_OPTIONS[flag].variable})" if _OPTIONS[flag].variable else "")
        raise UsageError("bad_number", f"{source}: {text!r} can't be used", f"write a whole number, {least} or more")
    return int(text)
