"""shell: an allowed command, or a script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_execgo.core.process import CommandOutcome, run_command
from pytest_execgo.kernel import gokinds
from pytest_execgo.kernel.goformat import decode_utf8, errno_text, json_object, quote, trim_space
from pytest_execgo.kernel.tools.tool import ToolContext, ToolError, parameters

ALLOWED = frozenset(
    (
        "echo cat ls date whoami hostname uname pwd curl wget ping dig grep awk sed head tail wc sort uniq find dir where type"
    ).split()
)
_PARAMS = gokinds.Struct(
    "ShellParams",
    "executor.ShellParams",
    {
        "command": gokinds.String(),
        "args": gokinds.Slice(gokinds.String(), "[]string"),
        "dir": gokinds.String(),
        "runner": gokinds.String(),
        "script": gokinds.String(),
    },
)
_POWERSHELL = ("powershell", "-NoProfile", "-NonInteractive", "-Command")
_SCRIPT_RUNNERS = {
    "": ("/bin/sh", "-c"),
    "auto": ("/bin/sh", "-c"),
    "sh": ("/bin/sh", "-c"),
    "powershell": _POWERSHELL,
    "cmd": ("cmd", "/C"),
}
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}


class _NoDirectory(Exception):
    """The working folder of a command is not there."""


async def shell(params: str | None, context: ToolContext) -> str:
    """Run a command or script and return `{"exit_code", "runner", "stderr", "stdout"}`.

    Output beyond the capture limit is lost and then said so (`stdout_truncated`, `stderr_truncated`).
    """
    given = parameters("shell", params, _PARAMS)
    argv, runner = _command_line(given, context.settings.open_shell)
    directory = given.get("dir") or None
    environment = dict(context.settings.environment)
    if directory:
        environment["PWD"] = os.path.join(os.getcwd(), directory)  # noqa: PTH109, PTH118 - as sent, not tidied
    program = _program(argv[0], environment)
    if not program:
        raise ToolError(f"command failed: exec: {quote(argv[0])}: executable file not found in $PATH", _result(None, runner))
    try:
        if directory:
            _enter(directory)
        outcome = await run_command(argv, cwd=directory, env=environment, timeout=context.timeout)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte somewhere
        reason = errno_text(error) if isinstance(error, OSError) else "invalid argument"
        raise ToolError(f"command failed: fork/exec {program}: {reason}", _result(None, runner)) from error
    except _NoDirectory as error:
        raise ToolError(f"command failed: {error}", _result(None, runner)) from error
    if outcome.signal is not None:
        name = _SIGNALS.get(outcome.signal, f"signal {outcome.signal}")
        raise ToolError(f"command failed: signal: {name}", _result(outcome, runner))
    if outcome.exit_code:
        raise ToolError(f"command failed: exit status {outcome.exit_code}", _result(outcome, runner))
    return _result(outcome, runner)


def _command_line(given: Mapping[str, Any], open_shell: bool) -> tuple[list[str], str]:
    """Return what to run and the runner's name."""
    command: str = given.get("command") or ""
    script: str = given.get("script") or ""
    runner: str = given.get("runner") or ""
    if not trim_space(script) and not trim_space(command):
        raise ToolError("either script or command is required")
    if trim_space(script):
        chosen = trim_space(runner).lower()
        if chosen == "direct":
            raise ToolError(f"runner {quote(runner)} cannot be used with script")
        if chosen not in _SCRIPT_RUNNERS:
            raise ToolError(f"invalid runner {quote(runner)} (supported for script: auto, powershell, cmd, sh)")
        return [*_SCRIPT_RUNNERS[chosen], script], "sh" if chosen in ("", "auto") else chosen
    base = command.replace("\\", "/").rpartition("/")[2]
    if not open_shell and base not in ALLOWED:
        raise ToolError(f"command {quote(base)} is not in the allowed whitelist")
    return [command, *((argument or "") for argument in given.get("args") or ())], "direct"


def _program(name: str, environment: Mapping[str, str]) -> str:
    """Return what a command's name stands for on the PATH; a name with a slash stands for itself. "" if nothing."""
    return name if "/" in name else shutil.which(name, path=environment.get("PATH", "")) or ""


def _enter(directory: str) -> None:
    """Check that a working folder exists, before the failure to enter it looks like one to start the program."""
    try:
        Path(directory).stat()
    except OSError as error:
        raise _NoDirectory(f"chdir {directory}: {errno_text(error)}") from error


def _result(outcome: CommandOutcome | None, runner: str) -> str:
    if outcome is None:
        return json_object(exit_code=-1, runner=runner, stderr="", stdout="")
    lost = {}
    if outcome.stdout_truncated:
        lost["stdout_truncated"] = True
    if outcome.stderr_truncated:
        lost["stderr_truncated"] = True
    return json_object(
        exit_code=-1 if outcome.exit_code is None else outcome.exit_code,
        runner=runner,
        stderr=decode_utf8(outcome.stderr),
        stdout=decode_utf8(outcome.stdout),
        **lost,
    )
