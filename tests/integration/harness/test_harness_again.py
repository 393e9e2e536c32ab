"""A stack in a folder that had one before: the same ports, the same data; and what stands in its way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.ports import free_port
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.record import StackRecord, read_stack_ports
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

OWNER = Path(__file__).with_name("again_owner.py")
PATIENCE = 60.0
MakeStack = Callable[..., ProcessStack]


def free_ports() -> dict[Service, int]:
    ports: dict[Service, int] = {}
    for service in Service:
        ports[service] = free_port(ports.values())
    return ports


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read())


def ended(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (task := get(url))["status"] in ("pending", "running"):
        assert time.monotonic() < deadline, task
        time.sleep(0.02)
    return dict(task)


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, dict[Service, int]]:
    """A folder whose stack was at work when its owner was killed, a moment ago; and the ports it had."""
    folder, ports = tmp_path / "stack", free_ports()
    argv = [sys.executable, str(OWNER), str(folder), *map(str, ports.values())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        owner.kill()
    return folder, ports


def test_work_goes_on_when_a_stack_comes_up_where_another_was_killed(killed: tuple[Path, dict[Service, int]]) -> None:
    folder, ports = killed
    assert read_stack_ports(folder) == ports
    logged = (folder / "kernel.log").read_text()
    stack = EmbeddedStack(folder, StackSettings(environ=os.environ, ports=read_stack_ports(folder), guarded=False))
    try:
        endpoints = stack.up()
        assert [int(url.rpartition(":")[2]) for url in (endpoints.kernel, endpoints.runtime, endpoints.fixtures)] == [
            *ports.values()
        ]
        assert get(f"{endpoints.kernel}/tasks/after")["status"] == "pending"
        (folder / "gate").touch()
        assert [ended(f"{endpoints.kernel}/tasks/{name}")["status"] for name in ("runtime", "shell", "after")] == ["success"] * 3
        (effect,) = get(f"{endpoints.fixtures}/effects?run=run/")["effects"]
        assert (effect["key"], effect["sequence"]) == ("run/ticket", 1)
        assert (folder / "kernel.log").read_text().startswith(logged)
        record = StackRecord.load(folder)
        assert record is not None
        assert (record.backend, record.owner.pid, record.supervisor.pid) == ("embedded", os.getpid(), stack.supervisor_pid)
    finally:
        stack.down()


def test_the_kernel_writes_its_history_over_both_lives(killed: tuple[Path, dict[Service, int]]) -> None:
    folder, ports = killed
    history = folder / "kernel-history.jsonl"
    before = history.read_bytes()
    stack = EmbeddedStack(folder, StackSettings(environ=os.environ, ports=ports, guarded=False))
    try:
        stack.up()
        (folder / "gate").touch()
        ended(f"{stack.endpoints().kernel}/tasks/after")
    finally:
        stack.down()
    after = history.read_bytes()
    assert after.startswith(before.rpartition(b"\n")[0])
    rows = [json.loads(line) for line in after.splitlines()]
    assert len({row["boot_id"] for row in rows}) == 2
    assert {row["task"] for row in rows if row["f"] == "persist"} == {"runtime", "shell", "after"}


def test_a_folder_takes_one_stack_at_a_time(fake_stack: MakeStack) -> None:
    first, second = fake_stack(), fake_stack()
    second.folder = first.folder
    first.up()
    record = (first.folder / "stack.json").read_bytes()
    with pytest.raises(StackError, match=f"a stack of process {os.getpid()} is in use in {first.folder}"):
        second.up()
    assert (first.folder / "stack.json").read_bytes() == record
    assert all(status.running for status in first.status())
    first.down()
    second.up()


def test_a_port_that_is_taken_is_told_and_nothing_is_left_running(fake_stack: MakeStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stack = fake_stack(settings=StackSettings(ports={Service.RUNTIME: port}))
        with pytest.raises(StackError, match=f"port {port} for the runtime is taken") as told:
            stack.up()
    assert told.value.code == "port_taken"
    assert not any(status.running for status in stack.status())
    stack.up()  # the port is free by now, and so is the folder


def test_ports_are_the_same_after_restarts_and_after_down(fake_stack: MakeStack) -> None:
    ports = free_ports()
    stack = fake_stack(settings=StackSettings(ports=ports))
    first = stack.up()
    stack.restart(Service.KERNEL)
    stack.kill(Service.RUNTIME)
    stack.revive(Service.RUNTIME)
    stack.down()
    assert stack.up() == first
    assert read_stack_ports(stack.folder) == ports


@pytest.fixture
def relay() -> Iterator[str]:
    """The address of a proxy that is no proxy: it answers everything with 418."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(418)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = handle_any

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_kernel_reaches_the_others_by_the_way_it_is_given(tmp_path: Path, relay: str) -> None:
    settings = StackSettings(
        environ=os.environ,
        guarded=False,
        file_roots=(tmp_path,),
        via={Service.RUNTIME: relay, Service.FIXTURES: f"{relay}/"},
        history=False,
    )
    stack = EmbeddedStack(tmp_path / "stack", settings)
    try:
        endpoints = stack.up()
        assert relay not in (endpoints.runtime, endpoints.fixtures)
        execution = {"kind": "command", "program": "true"}
        tasks = [
            {"id": "runtime", "type": "runtime", "input": {"execution": execution}},
            {"id": "via", "type": "http", "params": {"url": f"{relay}/effects"}},
            {"id": "direct", "type": "http", "params": {"url": f"{endpoints.fixtures}/effects"}},
            {"id": "elsewhere", "type": "http", "params": {"url": "http://127.0.0.1:9/"}},
        ]
        request = urllib.request.Request(f"{endpoints.kernel}/tasks", json.dumps({"tasks": tasks}).encode(), method="POST")
        urllib.request.urlopen(request, timeout=30).close()
        done = {task["id"]: ended(f"{endpoints.kernel}/tasks/{task['id']}") for task in tasks}
    finally:
        stack.down()
    assert {name: task["status"] for name, task in done.items()} == {
        "runtime": "failed",
        "via": "success",
        "direct": "success",
        "elsewhere": "failed",
    }
    assert "418" in json.dumps(done["runtime"])
    assert [done[name]["result"]["status_code"] for name in ("via", "direct")] == [418, 200]
    assert not (stack.folder / "kernel-history.jsonl").exists()
