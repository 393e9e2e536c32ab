"""One command: captured within bounds, ended with everything that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.process import CommandOutcome, kill_group, run_command

LONG = "600"  # seconds that a process sleeps which must be ended long before


def sh(script: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", *arguments]


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status not in ("Z", "X")


def becomes(condition: Callable[[], bool]) -> bool:
    """Wait for what another process brings about: SIGKILL takes effect a moment after it is sent."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def pid_in(file: Path) -> int:
    assert becomes(lambda: file.exists() and file.read_text().endswith("\n")), f"{file.name} was never written"
    return int(file.read_text())


def run(argv: list[str], **options: object) -> CommandOutcome:
    return asyncio.run(run_command(argv, **options))  # type: ignore[arg-type]


def test_both_streams_and_the_exit_code_are_kept_apart() -> None:
    before = time.time_ns()
    outcome = run(sh("echo out; echo err >&2; exit 3"))
    assert (outcome.exit_code, outcome.signal, outcome.timed_out) == (3, None, False)
    assert (outcome.stdout, outcome.stderr) == (b"out\n", b"err\n")
    assert (outcome.stdout_truncated, outcome.stderr_truncated) == (False, False)
    assert before <= outcome.started_ns <= outcome.finished_ns <= time.time_ns()


def test_a_signal_is_no_exit_code() -> None:
    outcome = run(sh("kill -TERM $$"))
    assert (outcome.exit_code, outcome.signal, outcome.timed_out) == (None, signal.SIGTERM, False)


def test_the_command_gets_no_shell_no_input_the_given_environment_and_folder(tmp_path: Path) -> None:
    script = "import os, sys; print(sys.argv[1], os.environ.get('A'), os.environ.get('HOME'), os.getcwd(), repr(sys.stdin.read()))"
    outcome = run([sys.executable, "-c", script, "$(id); *"], cwd=tmp_path, env={"A": "b c"})
    assert outcome.stdout.decode() == f"$(id); * b c None {tmp_path} ''\n"


def test_the_command_leads_a_session_and_group_of_its_own() -> None:
    told: list[int] = []
    outcome = run([sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"], on_spawn=told.append)
    pid, session, group = map(int, outcome.stdout.split())
    assert [pid] == told
    assert pid == session == group
    assert session != os.getsid(0)


def test_only_named_descriptors_are_inherited() -> None:
    reader, writer = os.pipe()
    try:
        write = [sys.executable, "-S", "-c", f"import os; os.write({writer}, b'through')"]
        assert run(write).exit_code == 1
        assert run(write, pass_fds=[writer]).exit_code == 0
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(("limit", "kept", "truncated"), [(10, 10, False), (9, 9, True), (0, 0, True), (1000, 10, False)])
def test_each_stream_is_cut_at_its_own_limit_and_says_so(limit: int, kept: int, truncated: bool) -> None:
    outcome = run(sh("printf 0123456789; printf abc >&2"), stdout_max=limit, stderr_max=2)
    assert outcome.stdout == b"0123456789"[:kept]
    assert outcome.stdout_truncated is truncated
    assert (outcome.stderr, outcome.stderr_truncated) == (b"ab", True)


def test_a_flood_does_not_block_the_command_and_is_not_stored() -> None:
    outcome = run(sh("head -c 20000000 /dev/zero; echo done >&2"), stdout_max=1000)
    assert outcome.exit_code == 0
    assert (len(outcome.stdout), outcome.stdout_truncated, outcome.stderr) == (1000, True, b"done\n")


def test_a_timeout_ends_the_whole_group_and_keeps_what_was_said(tmp_path: Path) -> None:
    child = tmp_path / "child"
    outcome = run(sh(f'sleep {LONG} & echo $! > "$1"; echo begun; wait', str(child)), timeout=5)
    assert (outcome.timed_out, outcome.signal, outcome.exit_code) == (True, signal.SIGKILL, None)
    assert outcome.stdout == b"begun\n"
    background = pid_in(child)
    assert becomes(lambda: not alive(background))


def test_a_background_child_neither_holds_the_command_up_nor_outlives_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    started = time.monotonic()
    outcome = run(sh(f'sleep {LONG} & echo $! > "$1"; echo over', str(child)), timeout=60)
    assert time.monotonic() - started < 30, "waited for the pipe that the background child holds"
    assert (outcome.exit_code, outcome.timed_out, outcome.stdout) == (0, False, b"over\n")
    background = pid_in(child)
    assert becomes(lambda: not alive(background))


def test_a_child_that_left_the_group_does_not_hold_the_command_up(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f'setsid sh -c \'echo $$ > "$1"; exec sleep {LONG}\' sh "$1" & while ! [ -s "$1" ]; do sleep 0.01; done; echo over'
    started = time.monotonic()
    try:
        outcome = run(sh(script, str(child)), timeout=60)
        assert time.monotonic() - started < 30
        assert (outcome.exit_code, outcome.stdout) == (0, b"over\n")
    finally:
        os.kill(pid_in(child), signal.SIGKILL)


async def cancelled(command: Coroutine[Any, Any, CommandOutcome], ready: Callable[[], bool]) -> None:
    """Start a command, cancel it once it is `ready`, and return when it has ended as cancelled."""
    running = asyncio.ensure_future(command)
    while not ready() and not running.done():
        await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([running])
    assert running.cancelled()


def test_cancelling_the_caller_ends_the_command_and_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    told: list[int] = []
    command = run_command(sh(f'sleep {LONG} & echo $! > "$1"; wait', str(child)), on_spawn=told.append)
    asyncio.run(cancelled(command, lambda: bool(told) and child.exists() and child.read_text().endswith("\n")))
    assert not Path(f"/proc/{told[0]}").exists(), "the command itself is reaped, not only signalled"
    background = pid_in(child)
    assert becomes(lambda: not alive(background))


def test_a_callback_that_fails_leaves_no_command_behind() -> None:
    told: list[int] = []

    def refuse(pid: int) -> None:
        told.append(pid)
        raise RuntimeError("no room in the store")

    with pytest.raises(RuntimeError, match="no room"):
        run(sh(f"sleep {LONG}"), on_spawn=refuse)
    assert becomes(lambda: not alive(told[0]))


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (["/no/such/program"], {}),
        (["execgo-no-such-program"], {}),
        (["/"], {}),
        (["/bin/true"], {"cwd": "/no/such/folder"}),
        (["/bin/true", "x" * 3_000_000], {}),
    ],
)
def test_what_can_not_be_started_is_an_os_error(argv: list[str], options: dict[str, object]) -> None:
    with pytest.raises(OSError, match=r"\[Errno \d+\]"):
        run(argv, **options)


def test_a_program_that_is_no_program_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a program")
    with pytest.raises(PermissionError):
        run([str(tmp_path / "text")])


def test_what_no_system_call_takes_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="null byte"):
        run(["/bin/echo", "a\0b"])


def test_signalling_a_group_that_is_gone_is_fine() -> None:
    told: list[int] = []
    run(["/bin/true"], on_spawn=told.append)
    with pytest.raises(ProcessLookupError):
        os.killpg(told[0], 0)
    kill_group(told[0])
