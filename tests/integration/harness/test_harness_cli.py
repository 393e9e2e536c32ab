"""`python -m pytest_execgo harness`, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.cli.harness import main
from pytest_execgo.core.engine.ownership import OWNER_LABEL
from pytest_execgo.harness.image_build import service_images
from pytest_execgo.harness.ports import free_port
from pytest_execgo.harness.state import HarnessState

SERVICES = ("kernel", "runtime", "fixtures")


class Harness:
    """The command, on a folder and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: list[int] = []
        for _ in SERVICES:
            self.ports.append(free_port(self.ports))

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest_execgo", "harness", *args, "--dir", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)

    def up(self, *args: str) -> subprocess.CompletedProcess[str]:
        options = zip(("--port", "--runtime-port", "--fixtures-port"), self.ports, strict=True)
        return self("up", *(str(part) for option in options for part in option), *args)

    @property
    def state(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((self.folder / "harness.json").read_text())
        return answer

    def pids(self) -> list[int]:
        state = self.state
        return [state["keeper"]["pid"], state["supervisor"]["pid"], *(service["pid"] for service in state["services"])]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    command = Harness(tmp_path / "var")
    yield command
    command("down")
    state = HarnessState.load(command.folder)
    if state is not None and state.keeper.alive():  # nothing may leak, even from a `down` that is broken
        os.kill(state.keeper.pid, signal.SIGKILL)


def ended(handles: list[int]) -> bool:
    """Tell whether all of the processes end within a generous while."""
    return all(select.select([handle], [], [], 20)[0] for handle in handles)


def test_up_status_down(harness: Harness) -> None:
    up = harness.up()
    assert up.returncode == 0, up.stderr
    urls = [f"http://127.0.0.1:{port}" for port in harness.ports]
    assert [line.split() for line in up.stdout.splitlines()[:3]] == [list(pair) for pair in zip(SERVICES, urls, strict=True)]
    with urllib.request.urlopen(urls[0] + "/tasks", timeout=10) as answer:  # no token needed
        assert answer.status == 200
    status = harness("status")
    assert status.returncode == 0, status.stdout
    rows = [line.split() for line in status.stdout.splitlines()]
    assert rows[0] == ["service", "state", "pid", "url", "log"]
    pids = [str(pid) for pid in harness.pids()[2:]]
    logs = [str(harness.folder / f"{service}.log") for service in SERVICES]
    expected = zip(SERVICES, ["healthy"] * 3, pids, urls, logs, strict=True)
    assert rows[1:] == [list(row) for row in expected]

    handles = [os.pidfd_open(pid) for pid in harness.pids()]
    assert os.getsid(harness.pids()[0]) != os.getsid(0)
    down = harness("down")
    assert (down.returncode, down.stdout) == (0, f"the stack in {harness.folder} is down\n")
    assert all(select.select([handle], [], [], 0)[0] for handle in handles)  # already gone when it says so
    assert '"stopped"' in (harness.folder / "kernel.log").read_text()  # and gracefully
    assert harness("status").returncode == 1
    assert harness("down").returncode == 0


def test_a_second_up_says_that_one_runs(harness: Harness) -> None:
    assert harness.up().returncode == 0
    before = harness.pids()
    second = harness.up()
    assert second.returncode == 2
    assert f"a stack runs in {harness.folder} already" in second.stderr
    assert harness.pids() == before
    assert harness("status").returncode == 0


def test_status_tells_of_a_service_that_died(harness: Harness) -> None:
    assert harness.up().returncode == 0
    runtime = harness.pids()[3]
    handle = os.pidfd_open(runtime)
    os.kill(runtime, signal.SIGKILL)
    assert ended([handle])
    deadline = time.monotonic() + 60
    status = harness("status")
    while "ended (signal 9)" not in status.stdout and time.monotonic() < deadline:  # the keeper is told just after us
        assert status.returncode == 1
        status = harness("status")
    states = [re.split(r"\s{2,}", line)[1] for line in status.stdout.splitlines()[1:]]
    assert states == ["healthy", "ended (signal 9)", "healthy"], status.stdout
    assert status.returncode == 1


def test_a_keeper_that_is_stuck_does_not_keep_the_stack(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert harness.up().returncode == 0
    handles = [os.pidfd_open(pid) for pid in harness.pids()]
    os.kill(harness.pids()[0], signal.SIGSTOP)
    monkeypatch.setattr("pytest_execgo.cli.harness._SIGNAL_TIMEOUT", 2)
    assert main(["down", "--dir", str(harness.folder)]) == 0
    assert all(select.select([handle], [], [], 0)[0] for handle in handles)


def test_the_death_of_the_keeper_is_the_end_of_the_stack(harness: Harness) -> None:
    assert harness.up().returncode == 0
    handles = [os.pidfd_open(pid) for pid in harness.pids()]
    os.kill(harness.pids()[0], signal.SIGKILL)
    assert ended(handles)
    status = harness("status")
    assert status.returncode == 1
    assert "ended without being taken down" in status.stdout
    assert harness.up().returncode == 0  # what it left is no obstacle


@pytest.mark.parametrize("change", [{"boot_id": "another boot"}, {"started": "1"}], ids=["rebooted", "pid_reused"])
def test_a_state_that_is_no_longer_true_harms_nobody(harness: Harness, change: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{bystander.pid}/stat").read_text()
        identity = {"pid": bystander.pid, "started": stat.rpartition(")")[2].split()[19], "boot_id": boot_id, **change}
        harness.folder.mkdir()
        state = {"backend": "embedded", "keeper": identity, "supervisor": identity, "services": []}
        (harness.folder / "harness.json").write_text(json.dumps(state))
        assert "no stack runs" in harness("status").stdout
        down = harness("down")
        assert (down.returncode, down.stdout) == (0, f"removed what a stack that is gone left in {harness.folder}\n")
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


@pytest.mark.parametrize(("service", "option"), [(0, "--port"), (1, "--runtime-port"), (2, "--fixtures-port")])
def test_a_taken_port_is_named_before_anything_starts(harness: Harness, service: int, option: str) -> None:
    with socket.create_server(("127.0.0.1", harness.ports[service])):
        up = harness.up()
    assert up.returncode == 2
    assert f"port {harness.ports[service]} for the {SERVICES[service]} is taken" in up.stderr
    assert f"choose another with {option}\n" in up.stderr
    assert not list(harness.folder.glob("*.log"))


def test_ports_that_can_not_be_used_are_refused(harness: Harness) -> None:
    harness.ports = [0, 1, 2]
    assert "--port 0 is not a port" in harness.up().stderr
    harness.ports = [23401, 23402, 23401]
    same = harness.up()
    assert same.returncode == 2
    assert "--fixtures-port 23401 is the port of the kernel too" in same.stderr


def test_a_token_guards_and_is_on_no_command_line(harness: Harness) -> None:
    up = harness.up("--token", "canary-token")
    assert up.returncode == 0, up.stderr
    request = urllib.request.Request(f"http://127.0.0.1:{harness.ports[0]}/tasks")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)
    request.add_header("Authorization", "Bearer canary-token")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    assert harness("status").returncode == 0
    assert "canary-token" not in (harness.folder / "harness.json").read_text()
    for pid in harness.pids():
        assert b"canary-token" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_binary_that_does_not_come_up_is_told_with_its_last_words(harness: Harness, tmp_path: Path) -> None:
    binary = tmp_path / "execgo"
    binary.write_text("#!/bin/sh\necho cannot work today; exit 5\n")
    binary.chmod(0o755)
    up = harness.up("--bin", str(binary))
    assert up.returncode == 3
    assert "the kernel ended before it was ready: it ended with exit code 5" in up.stderr
    assert "| cannot work today" in up.stderr
    assert "Traceback" not in up.stderr
    assert harness("status").stdout == f"no stack runs in {harness.folder}\n"


def test_a_binary_that_is_not_there_is_named(harness: Harness, tmp_path: Path) -> None:
    up = harness.up("--bin", str(tmp_path / "none"))
    assert up.returncode == 2
    assert f"{tmp_path / 'none'} does not exist" in up.stderr
    assert "with --bin" in up.stderr


@pytest.fixture
def in_containers(engine: Any, base_image: str, harness: Harness) -> Iterator[Callable[[], list[str]]]:
    """Bring a stack up in containers, and give what lists those that the engine has of it; none stays after the test."""
    service_images(engine, base_image)  # which may take longer than a command is given
    up = harness.up("--backend", "containers", "--base-image", base_image)
    assert up.returncode == 0, up.stderr
    filters = {"label": f"{OWNER_LABEL}.pid={harness.state['keeper']['pid']}"}
    yield lambda: [one["Id"] for one in engine.api.containers(all=True, filters=filters)]
    harness("down")


def test_a_stack_in_containers_is_up_until_it_is_taken_down(harness: Harness, in_containers: Callable[[], list[str]]) -> None:
    assert len(in_containers()) == 3
    second = harness.up("--backend", "containers")
    assert f"a stack runs in {harness.folder} already" in second.stderr
    with urllib.request.urlopen(f"http://127.0.0.1:{harness.ports[0]}/tasks", timeout=10) as answer:  # no token needed
        assert answer.status == 200
    status = harness("status")
    assert (status.returncode, status.stdout.count("healthy")) == (0, 3), status.stdout
    down = harness("down")
    assert (down.returncode, down.stdout) == (0, f"the stack in {harness.folder} is down\n")
    assert in_containers() == []  # already gone when it says so
    assert '"stopped"' in (harness.folder / "kernel.log").read_text()  # and gracefully
    assert harness("status").stdout == f"no stack runs in {harness.folder}\n"


def test_status_tells_of_a_container_that_ended(engine: Any, harness: Harness, in_containers: Callable[[], list[str]]) -> None:
    runtime = next(one for one in map(engine.api.inspect_container, in_containers()) if one["Name"].endswith("-runtime"))
    engine.api.kill(runtime["Id"])
    deadline = time.monotonic() + 60
    while "ended (signal 9)" not in harness("status").stdout:  # the keeper is told just after us
        assert time.monotonic() < deadline
    assert harness("status").returncode == 1


def test_containers_are_gone_with_a_keeper_that_is_stuck(
    harness: Harness, in_containers: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(harness.state["keeper"]["pid"], signal.SIGSTOP)
    monkeypatch.setattr("pytest_execgo.cli.harness._SIGNAL_TIMEOUT", 2)
    assert main(["down", "--dir", str(harness.folder)]) == 0
    assert in_containers() == []


def test_a_binary_has_no_place_in_containers(harness: Harness) -> None:
    up = harness.up("--backend", "containers", "--bin", "execgo")
    assert up.returncode == 2
    assert "--bin can't be used in containers" in up.stderr


def test_a_base_image_has_no_place_without_containers(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    up = harness.up("--base-image", "own/base:1")
    assert up.returncode == 2
    assert "--base-image can only be used in containers\n  hint: leave --base-image out, or add --backend containers\n" in up.stderr
    assert not harness.folder.exists()
    monkeypatch.setenv("PYTEST_EXECGO_BASE_IMAGE", "own/base:1")  # which is for whatever is built here
    up = harness.up()
    assert up.returncode == 0, up.stderr
