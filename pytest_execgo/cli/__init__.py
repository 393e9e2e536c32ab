"""Layer 6: the command line without pytest. Each command is a module; only the one that runs is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from pytest_execgo.core.errors import ExecGoError, UsageError

COMMANDS = {
    "run": "run one cell and print its verdict",
    "benchmark": "run a matrix of cells and print its summary",
    "runs": "list runs, look at one, go on with it, set it back",
    "report": "make reports and traces of runs that are over; merge and compare sweeps",
    "check": "judge the history that a run left behind",
    "flow": "run a Metaflow flow and print what came of it as JSON",
    "harness": "bring a stack up, look at it, take it down",
    "serve": "be one of the services: kernel, runtime, fixtures",
    "schema": "export JSON Schemas for editors and other tools",
}


def usage() -> str:
    """Return the overview of all commands."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    more = "COMMAND --help tells more; the main job is `pytest --execgo-matrix`."
    return f"usage: python -m pytest_execgo COMMAND [OPTIONS]\n\ncommands:\n{lines}\n\n{more}"


def main(argv: Sequence[str]) -> int:
    """Run one command; 0 success, 1 a cell failed, 2 a user's mistake, 3 we or the machine failed, 141 the reader is gone."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, since what Python finds out at its end it can only complain of
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    name, *rest = argv
    if name not in COMMANDS:
        print(f"error: {UsageError.unknown('command', name, COMMANDS)}", file=sys.stderr)
        return 2
    command: Callable[[list[str]], int] = import_module(f"pytest_execgo.cli.{name}").main
    try:
        return command(rest)
    except ExecGoError as error:
        said = str(error).replace("--execgo-", "--")  # here, options have no prefix
        print(f"error: {said}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
