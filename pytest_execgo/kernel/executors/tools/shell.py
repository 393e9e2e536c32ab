"""shell: an allowed command, or a script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_execgo.core.process import CommandOutcome, run_command
from pytest_execgo.kernel.executors.commands import bad_ending, base_name, find_program, not_found, not_started
from pytest_execgo.kernel.executors.tools.tool import ToolContext, ToolError, parameters
from pytest_execgo.kernel.golang import kinds
from pytest_execgo.kernel.golang.text import decode_utf8, errno_text, json_object, quote, trim_space
from pytest_execgo.kernel.settings import Settings

ALLOWED = frozenset(
    (
        "echo cat ls date whoami hostname uname pwd curl wget ping dig grep awk sed head tail wc sort uniq find dir where type"
    ).split()
)
_PARAMS = kinds.Struct(
    "ShellParams",
    "executor.ShellParams",
    {
        "command": kinds.String(),
        "args": kinds.Slice(kinds.String(), "[]string"),
        "dir": kinds.String(),
        "runner": kinds.String(),
        "script": kinds.String(),
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


class _NoDirectory(Exception):
    """The working folder of a command is not there."""


async def shell(params: str | None, context: ToolContext) -> str:
    """Run a command or script and return `{"exit_code", "runner", "stderr", "stdout"}`.

    Output beyond the capture limit is lost and then said so (`stdout_truncated`, `stderr_truncated`).
    """
    given = parameters("shell", params, _PARAMS)
    argv, runner = _command_line(given, context.settings)
    directory = given.get("dir") or None
    environment = dict(context.settings.environment)
    if directory:
        environment["PWD"] = os.path.join(os.getcwd(), directory)  # noqa: PTH109, PTH118 - as sent, not tidied
    program = find_program(argv[0], environment)
    if not program:
        raise ToolError(f"command failed: {not_found(argv[0])}", _result(None, runner))
    try:
        if directory:
            _enter(directory)
        outcome = await run_command(argv, cwd=directory, env=environment, timeout=context.timeout)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte somewhere
        raise ToolError(f"command failed: {not_started(program, error)}", _result(None, runner)) from error
    except _NoDirectory as error:
        raise ToolError(f"command failed: {error}", _result(None, runner)) from error
    problem = bad_ending(outcome)
    if problem:
        raise ToolError(f"command failed: {problem}", _result(outcome, runner))
    return _result(outcome, runner)


def _command_line(given: Mapping[str, Any], settings: Settings) -> tuple[list[str], str]:
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
        if not (settings.policy.scripts or settings.open_shell):
            raise ToolError("scripts are not allowed here (-script-policy deny); run an allowed command")
        return [*_SCRIPT_RUNNERS[chosen], script], "sh" if chosen in ("", "auto") else chosen
    base = base_name(command)
    if not settings.open_shell and base not in ALLOWED:
        raise ToolError(f"command {quote(base)} is not in the allowed whitelist")
    return [command, *((argument or "") for argument in given.get("args") or ())], "direct"


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
