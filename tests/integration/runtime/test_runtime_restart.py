"""The runtime behind a real kernel: it is killed, or its answers are lost, and each task still runs once and ends."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

PATIENCE = 60.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Kernel:
    """The kernel of a stack, from the caller's side."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.stack = stack
        endpoints = stack.endpoints()
        self.client = httpx.Client(
            base_url=endpoints.kernel, headers={"authorization": f"Bearer {endpoints.token}"}, trust_env=False, timeout=PATIENCE
        )

    def submit(self, task_id: str, text: str, **rest: Any) -> None:
        execution = {"kind": "script", "script": text}
        task = {"id": task_id, "type": "runtime", "input": {"execution": execution}, **rest}
        assert self.client.post("/tasks", json={"tasks": [task]}).status_code == 202

    def heard_of(self, task_id: str) -> None:
        """Wait until the runtime has answered that it took a task; one that dies before may never have been there."""
        eventually(lambda: bool(self.client.get(f"/tasks/{task_id}").json().get("handle_id")), f"nothing was heard of {task_id}")

    def ended(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.client.get(f"/tasks/{task_id}").json())
            return found["status"] in ("success", "failed", "skipped")

        eventually(over, f"{task_id} never ended: {found}")
        return found


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=dict(os.environ)))
    stack.up()
    started = Kernel(stack)
    yield started
    started.client.close()
    stack.down()


def gated(folder: Path, name: str) -> str:
    return (
        f"echo $$ >> {folder}/{name}.began; while [ ! -e {folder}/gate ]; do sleep 0.02; done; "
        f"echo end >> {folder}/{name}.ended; echo '\"{name}\"'"
    )


def begun(folder: Path, names: list[str]) -> list[int]:
    files = [folder / f"{name}.began" for name in names]
    eventually(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files), "a command never began")
    return [int(file.read_text()) for file in files]


def test_a_killed_runtime_comes_back_and_its_commands_were_never_gone(kernel: Kernel, tmp_path: Path) -> None:
    names = [f"t{n}" for n in range(4)]
    for name in names:
        kernel.submit(name, gated(tmp_path, name))
    begun(tmp_path, names)
    kernel.heard_of(names[0])
    kernel.stack.kill(Service.RUNTIME)
    kernel.submit("meanwhile", f"echo 1 >> {tmp_path}/meanwhile; echo 5")
    (tmp_path / "gate").touch()
    kernel.stack.restart(Service.RUNTIME)
    for name in names:
        task = kernel.ended(name)
        assert (task["status"], task["result"]["output"]) == ("success", name)
        assert (tmp_path / f"{name}.began").read_text().count("\n") == 1
        assert (tmp_path / f"{name}.ended").read_text() == "end\n"
    assert kernel.ended("meanwhile")["result"]["output"] == 5
    assert (tmp_path / "meanwhile").read_text() == "1\n"


def test_a_killed_kernel_finds_its_commands_again(kernel: Kernel, tmp_path: Path) -> None:
    kernel.submit("one", gated(tmp_path, "one"))
    begun(tmp_path, ["one"])
    kernel.stack.kill(Service.KERNEL)
    kernel.stack.kill(Service.RUNTIME)
    kernel.stack.restart(Service.KERNEL)
    kernel.stack.restart(Service.RUNTIME)
    (tmp_path / "gate").touch()
    task = kernel.ended("one")
    assert (task["status"], task["result"]["output"]) == ("success", "one")
    assert (tmp_path / "one.began").read_text().count("\n") == 1
    assert (tmp_path / "one.ended").read_text() == "end\n"


def test_a_task_that_timed_out_while_the_runtime_was_away_is_ended_when_it_is_back(kernel: Kernel, tmp_path: Path) -> None:
    kernel.submit("slow", gated(tmp_path, "slow"), timeout=6000)
    (pid,) = begun(tmp_path, ["slow"])
    kernel.heard_of("slow")
    kernel.stack.kill(Service.RUNTIME)
    assert kernel.ended("slow")["runtime"]["error"]["code"] == "timeout"
    assert alive(pid)
    kernel.stack.restart(Service.RUNTIME)
    eventually(lambda: not alive(pid), "nobody told the runtime that the task was over")


def test_a_retry_runs_the_command_again(kernel: Kernel, tmp_path: Path) -> None:
    text = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 3 ]"
    kernel.submit("again", text, retry=4)
    assert kernel.ended("again")["status"] == "success"
    assert (tmp_path / "runs").read_text() == "x\n" * 3


def test_down_leaves_no_command_and_no_keeper(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=dict(os.environ)))
    stack.up()
    kernel = Kernel(stack)
    kernel.submit("one", f"trap '' TERM; setsid sleep 300 & echo $! > {tmp_path}/child; {gated(tmp_path, 'one')}")
    pids = begun(tmp_path, ["one"])
    token = {"authorization": f"Bearer {stack.endpoints().token}"}
    info = httpx.get(f"{stack.endpoints().runtime}/api/v1/runtime/info", headers=token, trust_env=False).json()
    stack.kill(Service.RUNTIME)  # the keeper is an orphan then, and the supervisor's
    kernel.client.close()
    stack.down()
    pids += [info["keeper_pid"], int((tmp_path / "child").read_text())]
    assert not any(map(alive, pids))


class Forgetful:
    """A runtime that takes a submission and hangs up before it answers, then knows it already."""

    def __init__(self, digest: Callable[[bytes], str]) -> None:
        outer = self
        self.posts: list[bytes] = []
        self.lose = False

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append(body)
                if outer.lose:
                    outer.lose = False
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif len(outer.posts) == 1:
                    self.say(202, {"task_id": "first", "handle_id": "h-first", "status": "accepted"})
                else:
                    details = {"handle_id": "h-known", "digest": digest(body)}
                    self.say(409, {"error": {"code": "conflict", "message": "exists", "details": details}})

            def do_GET(self) -> None:
                handle = self.path.partition("?")[0].rpartition("/")[2]
                self.say(200, {"status": "success", "handle_id": handle, "output": handle})

            def say(self, status: int, content: dict[str, Any]) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("digest", "status"),
    [(lambda body: hashlib.sha256(body).hexdigest(), "success"), (lambda body: "", "success"), (lambda body: "other", "failed")],
    ids=["ours", "not said", "another's"],
)
def test_a_lost_answer_is_asked_for_again(tmp_path: Path, digest: Callable[[bytes], str], status: str) -> None:
    runtime = Forgetful(digest)
    settings = StackSettings(environ=dict(os.environ), extra_env={Service.KERNEL: {"EXECGO_RUNTIME_URL": runtime.url}})
    stack = EmbeddedStack(tmp_path / "stack", settings)
    try:
        stack.up()
        kernel = Kernel(stack)
        kernel.submit("first", "true")
        assert kernel.ended("first")["status"] == "success"
        runtime.lose = True
        kernel.submit("lost", "true")
        task = kernel.ended("lost")
        assert task["status"] == status
        if status == "success":
            assert task["result"]["output"] == "h-known"
        else:
            assert task["error"] == "exists"
        assert len(runtime.posts) == 3
        assert runtime.posts[1] == runtime.posts[2]
        kernel.submit("fresh", "true")  # its answer was not lost: an id that exists is a conflict
        assert kernel.ended("fresh")["error"] == "exists"
        kernel.client.close()
    finally:
        stack.down()
        runtime.stop()


def test_the_process_tree_of_a_killed_service_ends_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    """With the service as its init, whatever a command leaves behind would be seen there."""
    if os.getuid() != 0:
        pytest.skip("needs root to make a PID namespace")
    driver = Path(__file__).with_name("namespace_driver.py")
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, str(driver), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["status"] == "cancelled"
    assert told["left"] == []
