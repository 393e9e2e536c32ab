"""Runs one command line confined, with its streams passed through, and ends with its exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import ExecGoError, SandboxError, UsageError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, Mount
from pytest_execgo.sandbox.choose import confinement_for, interpreters_of
from pytest_execgo.sandbox.private_folder import private_folder

TIMED_OUT, NOT_CONFINED, NOT_STARTED = 124, 125, 127
"""Exit codes that are ours, as `timeout` and container engines have them; a command may end with the same ones: see the report."""
_MIB = 1 << 20
_MOST_INPUT = 64 << 20


def exec_command(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run what `python -m pytest_execgo.sandbox exec` was told, and return the exit code to end with.

    The command's own, 128 + N for a signal N, 124 when its time was up, 127 when its program could not be started, 125 when
    it could not be confined. The report, one line of JSON, has `outcome` (`ended`, `not_started`, `not_confined`), and of one
    that ended `exit_code` (-N for signal N), `limit`, `truncated`, `duration`, `memory_used_bytes` and `isolation`.
    """
    try:
        command = _command(options, environment)
        confinement = confinement_for(
            options.mode, enable_native=options.mode == "native", interpreters=interpreters_of(options.interpreter)
        )
        with nullcontext() if command.mounts else private_folder() as folder:
            end = confinement.run(command if folder is None else replace(command, work=_empty(folder)))
    except ExecGoError as error:
        not_started = error.code == "sandbox_launch_failed"
        outcome = "not_started" if not_started else "not_confined"
        _report(options, outcome=outcome, code=error.code, message=error.message, hint=error.hint)
        sys.stderr.write(f"sandbox: {error}\n")
        return NOT_STARTED if not_started else NOT_CONFINED
    _pass_on(end)
    _report(
        options,
        outcome="ended",
        exit_code=end.exit_code,
        limit=end.limit,
        truncated=end.truncated,
        duration=end.duration,
        memory_used_bytes=end.memory_used_bytes,
        isolation={"mode": options.mode, **getattr(confinement, "isolation", {})},
    )
    if end.limit is not None:
        sys.stderr.write(f"sandbox: the command was over its limit: {end.limit}\n")
    if end.limit == "timeout":
        return TIMED_OUT
    return end.exit_code if end.exit_code >= 0 else 128 - end.exit_code


def _command(options: argparse.Namespace, environment: Mapping[str, str]) -> ConfinedCommand:
    given = sys.stdin.buffer.read(_MOST_INPUT + 1)
    if len(given) > _MOST_INPUT:
        raise UsageError("input_too_large", f"standard input has more than {_MOST_INPUT} bytes")
    return ConfinedCommand(
        argv=tuple(options.argv),
        cwd=options.cwd,
        timeout=_positive(options.timeout, "--timeout"),
        memory_bytes=int(_positive(options.memory_mb, "--memory-mb")) * _MIB,
        cpu_cores=_positive(options.cpu_percent, "--cpu-percent") / 100,
        disk_bytes=int(_positive(options.disk_mb, "--disk-mb")) * _MIB,
        processes=int(_positive(options.processes, "--processes")),
        output_bytes=options.output_bytes,
        env=_variables_in(options.env_file) | dict(_variable(told, environment) for told in options.env),
        stdin=given,
        mounts=tuple(_mount(told) for told in options.mount),
        hosts=tuple(options.allow_host) if options.network or options.allow_host else None,
        image=options.image,
    )


def _empty(folder: Path) -> Path:
    work = folder / "work"
    work.mkdir(0o700)
    return work


def _variables_in(file: str | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        found = json.loads(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError("bad_variables", f"--env-file {file}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UsageError("bad_variables", f"--env-file {file} does not hold an object of texts")
    return found


def _positive(value: float, option: str) -> float:
    if not 0 < value < float("inf"):
        raise UsageError("bad_option", f"{option} {value:g}: it has to be more than 0")
    return value


def _mount(told: str) -> Mount:
    folders = told.removesuffix(":rw")
    source, _, target = (folders, "", "") if Path(folders).is_dir() else folders.partition("=")
    if not source.startswith("/"):
        raise UsageError("bad_mount", f"--mount {told}: the folder has to be absolute", "DIR, DIR:rw, DIR=INSIDE or DIR=INSIDE:rw")
    return Mount(Path(source), target or source, folders != told)


def _variable(told: str, environment: Mapping[str, str]) -> tuple[str, str]:
    name, given, value = told.partition("=")
    if given:
        return name, value
    if name not in environment:
        raise UsageError("no_such_variable", f"--env {name}: there is no such variable here", "--env NAME=VALUE gives it a value")
    return name, environment[name]


def _pass_on(end: ConfinedEnd) -> None:
    for stream, content in ((sys.stdout.buffer, end.stdout), (sys.stderr.buffer, end.stderr)):
        stream.write(content)
        stream.flush()


def _report(options: argparse.Namespace, **facts: Any) -> None:
    line = json.dumps(facts).encode() + b"\n"
    try:
        if options.report_fd is not None:
            os.write(options.report_fd, line)
        if options.report is not None:
            Path(options.report).write_bytes(line)
    except OSError as error:
        raise SandboxError("no_report", f"the report can't be written: {error}") from error
