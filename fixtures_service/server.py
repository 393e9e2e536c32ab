"""The fixtures service as a process: its options, its environment, its start and stop."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.serving import serve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fixtures_service",
        description="Serve what scenarios talk to. Every option may be written with one or two dashes.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    default = os.environ.get("EXECGO_FIXTURES_ADDR") or ":8082"
    add("-addr", "--addr", default=default, metavar="HOST:PORT", help="where to listen (EXECGO_FIXTURES_ADDR; default :8082)")
    add("-data", "--data", type=Path, metavar="DIR", help="folder with another advisories.json")
    add(
        *("-scenarios", "--scenarios"),
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with scenarios that the scripted model knows, before the bundled ones; may be repeated",
    )
    add(
        *("-data-dir", "--data-dir"),
        type=Path,
        default=os.environ.get("EXECGO_FIXTURES_DATA_DIR") or None,
        metavar="DIR",
        help="where deliveries and effects are kept over restarts (EXECGO_FIXTURES_DATA_DIR; default: in memory)",
    )
    add(
        *("-shutdown-timeout", "--shutdown-timeout"),
        type=int,
        default=2,
        metavar="SECONDS",
        help="for open requests on stop (default 2)",
    )
    add("-ready-fd", "--ready-fd", type=int, metavar="FD", help="descriptor that gets one JSON line with pid and port")
    add("-shared-port", "--shared-port", action="store_true", help="listen with SO_REUSEPORT")
    return parser


def main(argv: list[str]) -> int:
    """Serve until SIGINT or SIGTERM: 0 after an ordinary stop, 2 for a user's mistake, told on standard error."""
    options = _parser().parse_args(argv)
    from fixtures_service.advisories import load_feed
    from fixtures_service.app import build_app
    from fixtures_service.journal import Journal
    from fixtures_service.model.service import ScriptedModel
    from fixtures_service.sink import EffectSink

    try:
        feed = load_feed(options.data or Path(__file__).resolve().parent / "data")
        sink = EffectSink(Journal(options.data_dir) if options.data_dir is not None else None)
        model = ScriptedModel(options.scenarios)
        app = build_app(feed, os.environ.get("EXECGO_FIXTURES_TOKEN", ""), sink, model)
        serve(
            app,
            options.addr,
            shared_port=options.shared_port,
            ready_fd=options.ready_fd,
            shutdown_timeout=options.shutdown_timeout,
            on_stop=model.stop,
        )
    except ExecGoError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0
