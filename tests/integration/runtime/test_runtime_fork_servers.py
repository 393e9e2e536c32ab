"""Fork servers: a client stands for what it asks for, with its streams and its exit code, and nothing outlives it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from pytest_execgo.runtime.fork_servers import ForkServers

PATIENCE = 60.0
NOBODY = 65534
Finish = Callable[..., dict[str, Any]]


class Launch(Protocol):
    def __call__(self, *options: str, **environment: str) -> tuple[subprocess.Popen[bytes], httpx.Client]: ...


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def processes_with(*texts: str) -> list[int]:
    """Return the processes whose command line holds every text, one after the other."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if b"\0".join(text.encode() for text in texts) in place.joinpath("cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
    return found


def folder_of(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def servers_in(folder: Path, kind: str = "exec") -> list[int]:
    """Return the fork servers that work in a folder, and their copies."""
    return [pid for pid in processes_with("serve", kind, f"{kind}.sock") if folder_of(pid) == str(folder)]


def only_server(folder: Path) -> int:
    """Return the fork server that works in a folder, once no copy of it does: one may outlive its client for a moment."""
    eventually(lambda: len(servers_in(folder)) == 1, "not one server, or a copy of it is left")
    return servers_in(folder)[0]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ForkServers]:
    folder = tmp_path / "a folder with a long name" / ("x" * 120)  # longer than a socket's address may be
    words = [sys.executable, "-m", "pytest_execgo.sandbox", "check", "--mode", "native"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"mode native can't be had here: {tried.stdout}")
    made = ForkServers(folder, {"PATH": os.environ["PATH"]})
    made.client("exec")
    eventually((folder / "exec.sock").exists, "the server never came up")
    yield made
    made.close()
    assert not list(folder.iterdir())


def client(servers: ForkServers, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    line = [*servers.client("exec"), "exec", "--mode", "native", "--cwd", "/work", "--timeout", "600", *words]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    asked: subprocess.Popen[bytes] = subprocess.Popen(line, cwd=servers._folder, **(pipes | options))
    return asked


def test_a_client_has_its_own_streams_and_the_commands_exit_code(servers: ForkServers, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("from a file")
    with given.open() as stdin, client(servers, "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin=stdin) as asked:
        out, err = asked.communicate(timeout=PATIENCE)
    assert (asked.returncode, out, err) == (7, b"from a file", b"err\n")
    with client(servers, "--", "sh", "-c", "kill -15 $$") as asked:
        asked.communicate(timeout=PATIENCE)
    assert asked.returncode == 128 + 15


def test_words_arrive_as_they_are_however_many(servers: ForkServers) -> None:
    words = ["", "a b", "ä\n", "-x", "--", "y" * 100_000, "z" * 100_000]
    report = servers._folder / "report.json"
    line = ["--report", str(report), "--", "python3", "-c", "import sys; print([len(word) for word in sys.argv[1:]])", *words]
    with client(servers, *line) as asked:
        out, err = asked.communicate(timeout=PATIENCE)
    assert (asked.returncode, out) == (0, b"[0, 3, 2, 2, 2, 100000, 100000]\n"), err
    assert json.loads(report.read_text())["outcome"] == "ended"
    report.unlink()


def test_clients_are_served_at_the_same_time(servers: ForkServers, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    line = ["exec", "--mode", "native", "--mount", f"{gate}:rw", "--cwd", str(gate), "--", "sh", "-c"]
    script = "touch $0; while [ ! -e a ] || [ ! -e b ]; do sleep 0.01; done; echo met"
    both = [
        subprocess.Popen([*servers.client("exec"), *line, script, name], cwd=servers._folder, stdout=subprocess.PIPE)
        for name in ("a", "b")
    ]
    assert [one.communicate(timeout=PATIENCE)[0] for one in both] == [b"met\n", b"met\n"]


def test_who_ends_the_client_ends_what_it_stands_for(servers: ForkServers) -> None:
    mark = f"5{int.from_bytes(os.urandom(3)):08d}"
    with client(servers, "--", "sh", "-c", f"sleep {mark} & setsid sleep {mark} & wait") as asked:
        eventually(lambda: len(processes_with("sleep", mark)) == 2, "the command never began")
        asked.kill()
    eventually(lambda: not processes_with(mark), "something of the command is left")
    only_server(servers._folder)
    with client(servers, "--", "true") as asked:
        asked.communicate(timeout=PATIENCE)
    assert asked.returncode == 0


def test_without_a_server_a_client_does_it_alone(servers: ForkServers) -> None:
    line = [*servers.client("exec"), "exec", "--mode", "native", "--cwd", "/work", "--", "sh", "-c", "echo alone; exit 3"]
    folder = servers._folder
    servers.close()
    assert not (folder / "exec.sock").exists()
    done = subprocess.run(line, cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (3, b"alone\n")


def test_a_server_that_was_killed_is_replaced_and_what_it_began_goes_on(servers: ForkServers) -> None:
    first = only_server(servers._folder)
    with client(servers, "--", "sh", "-c", "read word; echo $word", stdin=subprocess.PIPE) as asked:
        eventually(lambda: len(servers_in(servers._folder)) == 2, "the server never forked")
        os.kill(first, signal.SIGKILL)
        servers._running["exec"].wait(PATIENCE)
        assert asked.communicate(b"done\n", timeout=PATIENCE)[0] == b"done\n"
    servers.client("exec")

    def replaced() -> bool:
        now = servers_in(servers._folder)
        return len(now) == 1 and now != [first]

    eventually(replaced, "there is no other server")


def test_a_mistake_is_told_by_its_exit_code(servers: ForkServers) -> None:
    with client(servers, "--timeout", "-1", "--", "true") as asked:
        _, err = asked.communicate(timeout=PATIENCE)
    assert (asked.returncode, b"--timeout" in err) == (125, True)
    with client(servers, "--no-such-option", "--", "true") as asked:
        _, err = asked.communicate(timeout=PATIENCE)
    assert (asked.returncode, b"--no-such-option" in err) == (2, True)


def told(servers: ForkServers) -> tuple[int, bytes]:
    """Return a client's exit code, and what it was told."""
    with client(servers, "--", "true") as asked:
        _, err = asked.communicate(timeout=PATIENCE)
    return asked.returncode, err


@pytest.mark.parametrize("room", [0, 1])  # for no connection; for that, and not for the client's streams
def test_a_server_that_may_open_nothing_more_says_so_and_lives_on(servers: ForkServers, room: int) -> None:
    assert told(servers) == (0, b"")  # so it is up
    server = only_server(servers._folder)
    taken = {int(fd.name) for fd in Path(f"/proc/{server}/fd").iterdir()}
    usual = resource.prlimit(server, resource.RLIMIT_NOFILE)
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (free + room, usual[1]))
    for code, err in (told(servers), told(servers)):
        assert (code, b"could not begin: Too many open files" in err) == (125, True), err
    resource.prlimit(server, resource.RLIMIT_NOFILE, usual)
    assert told(servers) == (0, b"")
    assert only_server(servers._folder) == server


@pytest.fixture
def ordinary_users(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServers]:
    """The servers of somebody whom RLIMIT_NPROC bounds, which is not root; with an interpreter that such a user may start."""
    folder = Path(tempfile.mkdtemp(prefix="fork-servers-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        become: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, **become))
        monkeypatch.setattr(sys, "executable", shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or "python3")
    made = ForkServers(folder, {"PATH": "/usr/bin:/bin"})
    try:
        made.client("exec")
        eventually((folder / "exec.sock").exists, "the server never came up")
        monkeypatch.undo()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def limit_processes(of: int, most: int) -> int:
    """Set a process's soft limit on its user's processes, as that user, and return what it was."""
    user = Path(f"/proc/{of}").stat().st_uid
    become: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    code = "import resource, sys; of, most = map(int, sys.argv[1:]); kind = resource.RLIMIT_NPROC; old = resource.prlimit(of, kind)"
    code += "; resource.prlimit(of, kind, (most, old[1])); print(old[0])"
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable
    done = subprocess.run([python, "-c", code, str(of), str(most)], capture_output=True, check=True, text=True, cwd="/", **become)
    return int(done.stdout)


def test_a_server_that_may_start_nothing_more_says_so_and_lives_on(ordinary_users: ForkServers) -> None:
    assert told(ordinary_users) == (0, b"")
    server = only_server(ordinary_users._folder)
    usual = limit_processes(server, 1)
    for code, err in (told(ordinary_users), told(ordinary_users)):
        assert (code, b"could not begin: Resource temporarily unavailable" in err) == (125, True), err
    limit_processes(server, usual)
    assert told(ordinary_users) == (0, b"")
    assert only_server(ordinary_users._folder) == server


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_services_servers_go_with_it(launch_runtime: Launch, tmp_path: Path, how: signal.Signals, finish: Finish) -> None:
    folder = tmp_path / "data"
    process, service = launch_runtime("-data-dir", str(folder), "-abandon-after", "1")
    if not service.get("/api/v1/runtime/sandboxes/native").json()["available"]:
        pytest.skip("mode native can't be had here")
    eventually((folder / "sandboxes" / "exec.sock").exists, "who asks for a mode will want it, and finds no server")
    server = only_server(folder / "sandboxes")
    for text in ("echo 1", "echo 2"):
        answer = finish(service, {"kind": "script", "script": text}, sandbox={"mode": "native"})
        assert (answer["status"], answer["output"]) == ("success", int(text[-1]))
    assert only_server(folder / "sandboxes") == server
    process.send_signal(how)
    process.wait(30)
    eventually(lambda: not servers_in(folder / "sandboxes"), "a server outlives its service")
