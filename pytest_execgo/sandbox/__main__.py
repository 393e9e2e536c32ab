"""The sandbox as a command: `run` takes a request as a document, `exec` confines one command line, `check` tries a mode.

docs/sandbox.md describes them. Imports are made where they are needed: whoever starts this for each command waits for them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import cache
from typing import Any, NoReturn

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.confinement import MODES

NOT_HAD = 3
"""Exit code of `check` when a mode can't be had."""
_INTERPRETER: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "LANGUAGE=FILE",
    "help": "a WASI module by which mode wasm runs a language",
}


def main(words: list[str]) -> int:
    """Do what the words say and return the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    parser = _parser()
    options = parser.parse_args(words)
    if options.what == "exec":
        from pytest_execgo.sandbox.exec_command import exec_command

        return exec_command(options, os.environ)
    if options.what == "serve":
        from pytest_execgo.sandbox.fork_server import serve

        return serve(options.kind, options.socket, main)
    if options.what == "check":
        return _check(options)
    from pytest_execgo.sandbox.run_document import run_document

    with open(options.document or sys.stdin.fileno(), "rb") as given:  # noqa: PTH123 - a number, too
        return run_document(given, sys.stdout.buffer, enable_native=options.enable_native, interpreters=options.interpreter)


def _check(options: argparse.Namespace) -> int:
    """Try a mode and say what came of it; of mode docker also which images there are, since a mode without them can run nothing."""
    from pytest_execgo.sandbox.choose import confinement_for, interpreters_of

    known = interpreters_of(options.interpreter)
    problem = confinement_for(options.mode, enable_native=True, interpreters=known).problem()
    if problem is None and options.mode == "docker":
        from pytest_execgo.sandbox.images import describe_images

        found = describe_images()
        sys.stdout.write(f"it can be had, with these images; one that is missing is pulled when it is first used\n{found}\n")
    else:
        sys.stdout.write(f"{problem or 'it can be had'}\n")
    return 0 if problem is None else NOT_HAD


def _stop(number: int, frame: object) -> NoReturn:
    """End as if interrupted, so that everything confined is ended on the way out."""
    raise SystemExit(128 + number)


@cache  # a fork server's copies find it made
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_execgo.sandbox", allow_abbrev=False)
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run", allow_abbrev=False, help="run the code of a JSON document on standard input")
    run.add_argument("--enable-native", action="store_true", help="let a document choose mode native")
    run.add_argument("--interpreter", **_INTERPRETER)
    run.add_argument("--document", metavar="FILE", help="read it from there instead")
    served = commands.add_parser("serve", allow_abbrev=False, help="do what clients say, each in a copy of this process")
    served.add_argument("kind", choices=("exec", "run"), help="what they say")
    served.add_argument("socket", metavar="SOCKET", help="where they say it; until standard input ends")
    check = commands.add_parser("check", allow_abbrev=False, help="say whether a mode can be had here (exit code 3: why not)")
    check.add_argument("--mode", choices=MODES, required=True)
    check.add_argument("--interpreter", **_INTERPRETER)
    command = commands.add_parser("exec", allow_abbrev=False, help="run one command, confined")
    command.add_argument("--mode", choices=MODES, required=True, help="choosing native enables it")
    command.add_argument("--mount", action="append", default=[], metavar="DIR[=INSIDE][:rw]", help="a folder that it sees")
    command.add_argument("--cwd", required=True, metavar="DIR", help="its working folder, in a mounted one, or empty")
    command.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds (30)")
    command.add_argument("--memory-mb", type=int, default=512, metavar="N", help="MiB (512)")
    command.add_argument("--disk-mb", type=int, default=256, metavar="N", help="MiB (256)")
    command.add_argument("--cpu-percent", type=int, default=100, metavar="N", help="of one core (100)")
    command.add_argument("--processes", type=int, default=128, metavar="N", help="threads count, too (128)")
    command.add_argument("--output-bytes", type=int, default=1 << 20, metavar="N", help="of each stream (1048576)")
    command.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable; without a value, this process's"
    )
    command.add_argument("--env-file", metavar="FILE", help="a JSON object with more of them, which no list of processes shows")
    command.add_argument("--network", action="store_true", help="with any network; else with none")
    command.add_argument("--allow-host", action="append", default=[], metavar="HOST[:PORT]", help="with that host for a network")
    command.add_argument("--interpreter", **_INTERPRETER)
    command.add_argument("--image", metavar="NAME", help="what mode docker runs")
    command.add_argument("--report", metavar="FILE", help="the same as --report-fd, in a file")
    command.add_argument("--report-fd", type=int, metavar="FD", help="where one line of JSON tells how it ended")
    command.add_argument("argv", nargs="+", metavar="-- COMMAND", help="the command line")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ExecGoError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        sys.exit(error.exit_code)
