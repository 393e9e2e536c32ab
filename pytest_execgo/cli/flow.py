"""`flow run`: run a Metaflow flow and print what came of it as JSON, so that a flow can be a command of a plan."""

from __future__ import annotations

import argparse
import asyncio
import uuid
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.executors.flow import FlowExecutor
from pytest_execgo.executors.plain_data import for_people
from pytest_execgo.plan.executor import ExecutionContext, ExecutionMode, ExecutionResult, ExecutionStatus


def main(argv: list[str]) -> int:
    """Run `flow run FILE`; 0 it succeeded, 1 it failed, 2 a user's mistake, 3 we or the machine failed."""
    options = _parser().parse_args(argv)
    executor = FlowExecutor(max_workers=options.max_workers, datastore=options.datastore, include=options.include)
    context = ExecutionContext(
        run_id=uuid.uuid4().hex, thread_id=uuid.uuid4().hex, mode=options.mode, timeout_seconds=options.timeout
    )
    result = asyncio.run(executor.execute_texts(options.file, _parameters(options.param), context))
    print(dumps(_told(result)))
    return 0 if result.status is ExecutionStatus.SUCCEEDED else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_execgo flow", description="Metaflow flows as commands.")
    run = parser.add_subparsers(dest="command", required=True).add_parser(
        "run", help="run a flow and print one JSON object: status, output, error, what its steps did"
    )
    run.add_argument("file", metavar="FILE", help="a Python file that holds one flow")
    run.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the flow; repeat it for more"
    )
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long it may take; then all of it is ended")
    run.add_argument("--max-workers", type=_count, metavar="N", help="tasks at a time (Metaflow's default: 16)")
    run.add_argument(
        "--mode", choices=[mode.value for mode in ExecutionMode], default="local", help="local, batch (AWS), remote (Kubernetes)"
    )
    run.add_argument(
        "--datastore", type=Path, metavar="DIR", help="folder that keeps what a local run leaves; else it is thrown away"
    )
    run.add_argument(
        "--include", type=Path, action="append", default=[], metavar="PATH", help="a file or folder to put beside the flow"
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e7:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def _parameters(given: list[str]) -> dict[str, str]:
    parameters = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError("bad_parameter", f"--param {text!r} is no NAME=VALUE", "write --param count=3")
        parameters[name] = value
    return parameters


def _told(result: ExecutionResult) -> dict[str, object]:
    notes = result.metadata
    told = {"status": result.status.value, "output": for_people(result.output), "error": result.error}
    about = ("pathspec", "steps", "left_out", "exceptions", "stderr", "timed_out")
    return told | {name: notes[name] for name in about if name in notes} | {"duration_seconds": result.duration_seconds}
