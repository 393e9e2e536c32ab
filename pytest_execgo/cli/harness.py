"""`harness up|status|down`: one stack on fixed ports, by hand, for as long as it is wanted. `harness build|clean`: images."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from pytest_execgo.core.engine.connection import connect, engine_call
from pytest_execgo.core.engine.images import image_bytes
from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.core.folder_lock import FolderHeld, lock_folder
from pytest_execgo.harness.health import health_problem
from pytest_execgo.harness.keeper import KeeperRequest, start_keeper
from pytest_execgo.harness.native import checked_binary
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.settings import DEFAULT_BASE
from pytest_execgo.harness.state import HarnessState, ServiceRecord
from pytest_execgo.plan.stack import Service
from pytest_execgo.reporting.text import counted

_PORTS = {
    Service.KERNEL: ("--port", 18080),
    Service.RUNTIME: ("--runtime-port", 18081),
    Service.FIXTURES: ("--fixtures-port", 18082),
}
_SIGNAL_TIMEOUT = 20.0  # seconds that the keeper may take for each of the signals that end it
_LEFT_TIMEOUT = 20.0  # seconds that what is left of a stack may take to end after its keeper
_PROBE_TIMEOUT = 1.0


def main(argv: list[str]) -> int:
    """Run one of the five; 0 done (for `status`: all healthy), 1 not healthy, 2 a user's mistake, 3 a failure."""
    options = _parser().parse_args(argv)
    if options.command in ("build", "clean"):
        return (_build if options.command == "build" else _clean)(_base(options))
    folder: Path = options.dir.absolute()
    if options.command == "up":
        return _up(options, folder)
    return _status(folder) if options.command == "status" else _down(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_execgo harness", description="A stack by hand.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring a stack up and leave it running")
    for service, (option, port) in _PORTS.items():
        up.add_argument(option, type=int, default=port, metavar="N", help=f"port of the {service} (default {port})")
    up.add_argument("--backend", choices=("embedded", "containers"), default="embedded", help="default %(default)s")
    up.add_argument("--bin", type=Path, metavar="PATH", help="an ExecGo binary to use as the kernel instead of ours")
    up.add_argument("--token", help="guard the services with this bearer token (default: no guard)")
    status = commands.add_parser("status", help="show how the services are")
    down = commands.add_parser("down", help="end the stack and wait until it is gone")
    build = commands.add_parser("build", help="build the images of the services, for the containers backend")
    clean = commands.add_parser("clean", help="remove images of the services that are not of this version and that nothing uses")
    for command in (up, build, clean):
        command.add_argument(
            "--base-image",
            metavar="IMAGE",
            help=f"what images are built on (default: PYTEST_EXECGO_BASE_IMAGE, else {DEFAULT_BASE})",
        )
    for command in (up, status, down):
        command.add_argument(
            "--dir", type=Path, default=Path("var/harness"), metavar="DIR", help="its data and logs (default %(default)s)"
        )
    return parser


def _base(options: argparse.Namespace) -> str:
    return options.base_image or os.environ.get("PYTEST_EXECGO_BASE_IMAGE") or DEFAULT_BASE


def _build(base: str) -> int:
    client = connect()
    images = _built(base)
    print(_table([("image", "size"), *((image, f"{image_bytes(client, image) / 1e6:.0f} MB") for image in images.values())]))
    return 0


def _built(base: str) -> dict[Service, str]:
    from pytest_execgo.harness.image_build import service_images  # deferred: what only containers need

    return service_images(connect(), base, tell=lambda line: print(f"{line} ...", flush=True))


def _clean(base: str) -> int:
    from pytest_execgo.harness.image_build import remove_old_images  # deferred: what only this command needs

    client = connect()
    with engine_call("remove images"):
        removed = remove_old_images(client, base)
    for name in removed:
        print(name)
    print(f"{counted(len(removed), 'image')} removed" if removed else "no image to remove")
    return 0


def _up(options: argparse.Namespace, folder: Path) -> int:
    if options.bin is not None:
        if options.backend == "containers":
            raise UsageError("bin_in_containers", "--bin can't be used in containers", "leave --bin or --backend containers out")
        checked_binary(options.bin, "--bin")
    if options.base_image is not None and options.backend != "containers":
        raise UsageError(
            "base_image_without_containers",
            "--base-image can only be used in containers",
            "leave --base-image out, or add --backend containers",
        )
    ports = {service: getattr(options, option[2:].replace("-", "_")) for service, (option, _) in _PORTS.items()}
    lock = _lock(folder)
    _check_ports(ports)
    if options.backend == "containers":
        _built(_base(options))
    request = KeeperRequest(
        backend=options.backend,
        folder=folder,
        ports=ports,
        binary=options.bin,
        base_image=_base(options),
        token=options.token,
        environ=dict(os.environ),
    )
    start_keeper(request, lock, dict(os.environ))
    for record in _recorded(folder).services:
        print(f"{record.service:<9} {record.url}")
    print(f"logs and data in {folder}; end it with: python -m pytest_execgo harness down --dir {folder}")
    return 0


def _lock(folder: Path) -> int:
    """Lock the folder for one stack; the descriptor goes to the keeper, so the lock is free exactly when that is gone."""
    try:
        return lock_folder(folder, "harness.lock")
    except FolderHeld as error:
        raise UsageError(
            "already_up", f"a stack runs in {folder} already", "look at it with `harness status`, end it with `harness down`"
        ) from error


def _check_ports(ports: dict[Service, int]) -> None:
    """Name the option of a port that can't be had, before anything is started."""
    seen: dict[int, Service] = {}
    for service, port in ports.items():
        option = _PORTS[service][0]
        if not 1 <= port <= 65535:
            raise UsageError("bad_port", f"{option} {port} is not a port", "give a number from 1 to 65535")
        if port in seen:
            raise UsageError("same_port", f"{option} {port} is the port of the {seen[port]} too", "give each service its own")
        seen[port] = service
        try:
            PortReservation(port, what=service).close()
        except UsageError as error:
            raise UsageError(error.code, error.message, f"stop what uses it, or choose another with {option}") from error


def _status(folder: Path) -> int:
    state = HarnessState.load(folder)
    if state is None:
        print(f"no stack runs in {folder}")
        return 1
    if not state.keeper.alive():
        print(f"no stack runs in {folder}: the one that did ended without being taken down (pid {state.keeper.pid})")
        return 1
    states = [_state_of(record) for record in state.services]
    rows = [("service", "state", "pid", "url", "log")]
    for record, text in zip(state.services, states, strict=True):
        rows.append((record.service, text, str(record.pid or "-"), record.url, str(record.log or "-")))
    print(_table(rows))
    return 0 if all(text == "healthy" for text in states) else 1


def _state_of(record: ServiceRecord) -> str:
    if record.exit_code is not None:
        return f"ended ({record.exit_code})" if record.exit_code >= 0 else f"ended (signal {-record.exit_code})"
    if not record.running:
        return "paused"
    problem = health_problem(record.service, record.url, timeout=_PROBE_TIMEOUT)
    return "healthy" if problem is None else "not answering"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _recorded(folder: Path) -> HarnessState:
    state = HarnessState.load(folder)
    if state is None:
        raise StackError("stack_ended", f"the stack ended as soon as it was up; logs in {folder}")
    return state


def _down(folder: Path) -> int:
    state = HarnessState.load(folder)
    if state is None:
        print(f"no stack runs in {folder}")
        return 0
    was_up = state.keeper.alive()
    # the keeper takes the stack down, and its state with it; should it be stuck, its death does, through the supervisor
    ended = any(state.keeper.end(signum, _SIGNAL_TIMEOUT) for signum in (signal.SIGTERM, signal.SIGKILL))
    left = HarnessState.load(folder) is not None
    if not ended or (left and not state.supervisor.end(signal.SIGTERM, _LEFT_TIMEOUT)):
        raise StackError("stack_not_gone", f"the stack in {folder} did not end (keeper pid {state.keeper.pid})")
    HarnessState.remove(folder)
    print(f"the stack in {folder} is down" if was_up else f"removed what a stack that is gone left in {folder}")
    return 0
