"""The engine itself: reached or not, and rid of whatever an owner leaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.engine.cleanup import remove_labelled, remove_leftovers
from pytest_execgo.core.engine.connection import EngineMissing, connect, engine_is_here, new_client
from pytest_execgo.core.engine.images import BuildContext, ImageError, build_image, run_once
from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels

OWNER = Path(__file__).with_name("engine_owner.py")


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        yield server


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for variable in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DOCKER_HOST", address)


@pytest.mark.parametrize("crowded", [False, True], ids=["accepts", "does_not_even_accept"])
def test_an_engine_that_hangs_is_missing_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowded: bool) -> None:
    path = tmp_path / "docker.sock"
    use(monkeypatch, f"unix://{path}")
    with listening(path), ExitStack() as others:
        while crowded:
            one = others.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            try:
                one.connect(str(path))
            except BlockingIOError:
                break
        started = time.monotonic()
        with pytest.raises(EngineMissing, match=rf"engine at unix://{path} does not answer within 2 s") as raised:
            connect(timeout=2)
        assert time.monotonic() - started < 30  # as against the client's own minute
        with pytest.raises(EngineMissing) as again:
            connect(timeout=600)  # known by now
        assert str(again.value) == str(raised.value)
        assert raised.value.code == "no_container_engine"


def test_an_engine_that_is_not_there_is_missing_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineMissing, match="No such file or directory") as raised:
        connect()
    assert "install Docker Engine" in raised.value.hint
    with listening(tmp_path / "gone.sock"):
        pass
    use(monkeypatch, f"unix://{tmp_path}/gone.sock")
    with pytest.raises(EngineMissing, match="Connection refused") as raised:
        connect()
    assert "start Docker Engine" in raised.value.hint


@pytest.mark.skipif(os.getuid() == 0, reason="root may use any socket")
def test_a_socket_that_may_not_be_used_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(tmp_path / "docker.sock"):
        (tmp_path / "docker.sock").chmod(0)
        use(monkeypatch, f"unix://{tmp_path}/docker.sock")
        with pytest.raises(EngineMissing, match="Permission denied") as raised:
            connect()
    assert "group docker" in raised.value.hint


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("unix:///run/docker.sock", True),
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://192.0.2.1:2375", False),
        ("ssh://somebody@192.0.2.1", False),
    ],
)
def test_an_engine_elsewhere_is_told_from_one_here(monkeypatch: pytest.MonkeyPatch, address: str, here: bool) -> None:
    use(monkeypatch, address)
    assert engine_is_here() is here


def test_one_process_has_one_client_and_as_many_of_its_own_as_it_wants(engine: Any) -> None:
    assert connect() is engine
    with closing(new_client()) as own:
        assert own is not engine
        assert own.ping()


def left(engine: Any, owner: str) -> list[str]:
    """List what an owner has in the engine."""
    filters = {"label": f"{OWNER_LABEL}={owner}"}
    containers = [one["Id"] for one in engine.api.containers(all=True, filters=filters)]
    return containers + [one["Name"] for one in engine.api.networks(filters=filters)]


@contextmanager
def owned(engine: Any, *words: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Run an owner; give it, its label, and its guard's pid. Whatever the test does, nothing of it stays."""
    owner = subprocess.Popen(
        [sys.executable, str(OWNER), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    name, forked = "", 0
    try:
        with owner:
            assert owner.stdout is not None
            label, fork, guard = owner.stdout.readline().split()
            name, forked = label, int(fork)
            assert len(left(engine, name)) == 2
            try:
                yield owner, name, int(guard)
            finally:
                owner.kill()
    finally:
        if forked:
            with suppress(ProcessLookupError):
                os.kill(forked, signal.SIGKILL)
        remove_labelled(engine, OWNER_LABEL, name)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "exits", "raises", "forks"])
def test_nothing_of_an_owner_is_left_however_it_ends(engine: Any, base_image: str, how: str) -> None:
    ending = how if how.islower() else "waits"
    with owned(engine, base_image, "guarded", ending) as (owner, name, guard):
        if how in ("exits", "raises"):
            assert owner.stdin is not None
            owner.stdin.write("\n")
            owner.stdin.flush()
        elif how == "SIGTERM":  # as from one that ends everything
            os.kill(guard, signal.SIGTERM)
            owner.send_signal(signal.SIGTERM)
        else:
            owner.send_signal(signal.SIGKILL)
        owner.wait(30)
        deadline = time.monotonic() + 60
        while left(engine, name):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_a_dead_owner_left_is_removed_and_nothing_else(engine: Any, base_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # this test alone is on the owner's machine: elsewhere stacks come up meanwhile, which remove leftovers, too
    monkeypatch.setattr("pytest_execgo.core.engine.ownership._machine", lambda: "elsewhere")
    monkeypatch.setattr("pytest_execgo.core.process_identity._boot_id", lambda: "another")
    mine = engine.containers.create(base_image, ["true"], labels=owner_labels())
    foreign = engine.containers.create(base_image, ["true"])
    try:
        with owned(engine, base_image, "unguarded", "waits") as (owner, name, _):
            remove_leftovers(engine)
            assert len(left(engine, name)) == 2
            owner.kill()
            owner.wait(30)
            assert f"execgo-test-{name}" in remove_leftovers(engine)
            assert left(engine, name) == []
        mine.reload()
        foreign.reload()
    finally:
        mine.remove(force=True)
        foreign.remove(force=True)


def test_a_failing_build_says_what_it_said(engine: Any, base_image: str) -> None:
    steps = 'RUN echo "about to fail" && exit 7'
    context = BuildContext({"Dockerfile": f"FROM {base_image}\n{steps}\n".encode()})
    with pytest.raises(ImageError, match=r"can't be built: .*returned a non-zero code: 7") as raised:
        build_image(engine, "pytest-execgo/never:1", context)
    assert "  | about to fail" in raised.value.message


def test_a_command_is_run_in_an_image(engine: Any, base_image: str) -> None:
    assert run_once(engine, base_image, ["python3", "-c", "import os; print(os.getuid())"], owner_labels()) == "65534\n"
    with pytest.raises(ImageError, match="python3 fails in the image"):
        run_once(engine, base_image, ["python3", "-c", "raise SystemExit('no')"], owner_labels())
    with pytest.raises(ImageError, match="can't run nowhere"):
        run_once(engine, base_image, ["nowhere"], owner_labels())
    mine = {"label": f"{OWNER_LABEL}={owner_labels()[OWNER_LABEL]}"}
    assert engine.api.containers(all=True, filters=mine) == []
