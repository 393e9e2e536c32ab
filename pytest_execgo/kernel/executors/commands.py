"""Commands in Go's words: where a program is found, and what is said of one that can't be started or doesn't end well."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from pytest_execgo.core.process import CommandOutcome
from pytest_execgo.kernel.golang.text import errno_text, quote

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


def base_name(command: str) -> str:
    """Return what follows the last slash of a command, of either kind."""
    return command.replace("\\", "/").rpartition("/")[2]


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """Return what a command's name stands for on the PATH; a name with a slash stands for itself. "" if nothing."""
    return name if "/" in name else shutil.which(name, path=environment.get("PATH", "")) or ""


def not_found(name: str) -> str:
    """Return what is said of a name that stands for nothing."""
    return f"exec: {quote(name)}: executable file not found in $PATH"


def not_started(program: str, error: OSError | ValueError) -> str:
    """Return what is said of a program that can't be started (`ValueError`: a NUL byte somewhere)."""
    return f"fork/exec {program}: {errno_text(error) if isinstance(error, OSError) else 'invalid argument'}"


def bad_ending(outcome: CommandOutcome) -> str:
    """Return how a command failed, "" if it didn't."""
    if outcome.signal is not None:
        return f"signal: {_SIGNALS.get(outcome.signal, f'signal {outcome.signal}')}"
    return f"exit status {outcome.exit_code}" if outcome.exit_code else ""
