"""Code and commands in a sandbox, by a real service: confined, bounded, killed, found again, and never run without it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

PATIENCE = 60.0
NATIVE = {"mode": "native"}
Finish = Callable[..., dict[str, Any]]


class Launch(Protocol):
    def __call__(self, *options: str, **environment: str) -> tuple[subprocess.Popen[bytes], httpx.Client]: ...


@pytest.fixture(scope="module")
def native(runtime: httpx.Client) -> httpx.Client:
    """The shared service, where it can have mode native."""
    state = runtime.get("/api/v1/runtime/sandboxes/native").json()
    if not state["available"]:
        pytest.skip(f"mode native can't be had here: {state['reason']}")
    return runtime


def code(text: str, language: str = "python", **rest: Any) -> dict[str, Any]:
    return {"kind": "code", "language": language, "code": text, **rest}


def script(text: str, **rest: Any) -> dict[str, Any]:
    return {"kind": "script", "script": text, **rest}


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def processes_with(text: str) -> list[int]:
    """Return the processes whose command line holds a text."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if text.encode() in place.joinpath("cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
    return found


def test_code_has_a_result_for_its_output(native: httpx.Client, finish: Finish) -> None:
    text = "import os, sys\nprint(open('d/data').read(), sys.stdin.read(), os.environ['A'], sys.argv[1:], os.listdir())"
    asked = code(text, stdin="in", args=["x"], env={"A": "1"}, files={"d/data": "file"})
    answer = finish(native, asked)
    assert answer["status"] == "success", answer
    output = answer["output"]
    assert output["stdout"] == "file in 1 ['x'] ['d', 'main.py']\n"
    assert (output["success"], output["exit_code"], output["findings"]) == (True, 0, [])
    assert answer["stdout"] == output["stdout"]
    assert (answer["isolation"]["requested"], answer["isolation"]["effective"]) == ("native", "native")


def test_code_that_fails_fails_its_task_and_keeps_its_result(native: httpx.Client, finish: Finish) -> None:
    answer = finish(native, code("import subprocess\nprint('before', flush=True)\n1/0"))
    assert (answer["status"], answer["error"]["code"]) == ("failed", "exit_nonzero")
    assert "ZeroDivisionError" in answer["error"]["message"]
    assert answer["error"]["details"]["stdout"] == "before\n"
    assert (answer["output"]["exit_code"], answer["output"]["findings"][0]["code"]) == (1, "process")


def test_code_is_bounded(native: httpx.Client, finish: Finish) -> None:
    answer = finish(native, code("print('begun', flush=True)\nwhile True: pass", timeout_ms=5000))
    assert (answer["error"]["code"], answer["error"]["details"]["limit_ms"]) == ("timeout", 5000)
    assert answer["output"]["stdout"] == "begun\n"
    answer = finish(native, code("x = bytearray(10**9)"), limits={"memory_bytes": 64 << 20})
    assert answer["error"]["code"] == "memory_limit_exceeded"
    answer = finish(native, code("print('x' * 5000)"), limits={"stdout_max_bytes": 1000, "stderr_max_bytes": 1000})
    assert len(answer["output"]["stdout"]) < 1500
    assert answer["output"]["truncated"] is True


@pytest.mark.parametrize(
    ("execution", "place"),
    [
        (code("x", "perl"), "$.execution.language"),
        (code(""), "$.execution.code"),
        ({"kind": "code", "code": "x"}, "$.execution.language"),
        (code("x", files={"../x": ""}), '$.execution.files["../x"]'),
        (code("x", env_vars={"A=": ""}), '$.execution.env_vars["A="]'),
        (code("x", timeout_ms=0), "$.execution.timeout_ms"),
        (code("x", stdin=1), "$.execution.stdin"),
    ],
)
def test_what_is_no_code_is_refused_with_its_place(runtime: httpx.Client, execution: dict[str, Any], place: str) -> None:
    refused = runtime.post("/api/v1/tasks", json={"execution": execution})
    assert refused.status_code == 400
    assert [problem["path"] for problem in refused.json()["error"]["details"]["problems"]] == [place]


def test_an_unknown_mode_is_refused(runtime: httpx.Client) -> None:
    refused = runtime.post("/api/v1/tasks", json={"execution": script("true"), "sandbox": {"mode": "natve"}})
    assert (refused.status_code, "$.sandbox.mode" in refused.text) == (400, True)
    refused = runtime.post("/api/v1/tasks", json={"execution": script("true"), "sandbox": {"mode": "native", "folder": "w"}})
    assert (refused.status_code, "$.sandbox.folder" in refused.text) == (400, True)
    assert runtime.get("/api/v1/runtime/sandboxes/natve").status_code == 404


def test_a_command_changes_its_folder_and_sees_nothing_else(native: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    folder = tmp_path / "a=b"  # a name that is also an option's syntax
    folder.mkdir(0o755)
    (folder / "given").write_text("given")
    (tmp_path / "secret").write_text("canary")
    text = (
        "cat given; echo made > made; pwd; cat ../secret; cat /etc/shadow; touch /usr/x /etc/x; id -u; "
        "env; ls /proc | grep -c '^[0-9]'"
    )
    answer = finish(native, script(text, cwd=str(folder), env={"MINE": "1"}), sandbox=NATIVE)
    assert (folder / "made").read_text() == "made\n"
    out = answer["stdout"]
    assert out.startswith(f"given{folder}\n")
    assert "MINE=1" in out
    assert "canary" not in out + answer["stderr"]
    assert answer["stderr"].count("No such file") >= 2
    assert (folder / "made").stat().st_uid == os.getuid(), "what a command makes belongs to whoever owns its folder"
    assert int(out.rsplit(maxsplit=1)[1]) < 9, "it sees no process but its own"
    if os.geteuid() == 0:
        assert answer["isolation"]["uid"] != 0


def test_a_command_without_a_folder_has_an_empty_one(native: httpx.Client, finish: Finish) -> None:
    answer = finish(native, script("ls -A; echo x > y && cat y"), sandbox=NATIVE)
    assert (answer["status"], answer["stdout"]) == ("success", "x\n")


def test_a_command_has_no_network_unless_it_asks_for_one(native: httpx.Client, finish: Finish) -> None:
    port = native.base_url.port
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()"
    asked = {"kind": "command", "program": "python3", "args": ["-I", "-S", "-c", probe]}
    assert finish(native, asked)["status"] == "success", "without a sandbox the service can be reached"
    answer = finish(native, asked, sandbox=NATIVE)
    assert (answer["status"], answer["isolation"]["network"]) == ("failed", "none")
    assert finish(native, asked, sandbox={**NATIVE, "network_enabled": True})["status"] == "success"


def test_the_variables_of_a_task_have_no_hold_on_what_confines_it(native: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    """Were they the sandbox's own, its interpreter would load what they name, outside."""
    tmp_path.chmod(0o755)
    env = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "/x", "LD_PRELOAD": str(tmp_path / "no.so"), "PATH": str(tmp_path)}
    answer = finish(native, script("echo $LD_PRELOAD", interpreter="/bin/sh", env=env), sandbox=NATIVE)
    assert answer["stdout"] == f"{tmp_path}/no.so\n"
    assert "sandbox:" not in answer["stderr"]


def test_a_command_that_can_not_be_started_or_confined_says_so(native: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    answer = finish(native, {"kind": "command", "program": "no-such-program"}, sandbox=NATIVE)
    assert answer["error"]["code"] == "launch_failed"
    assert "no-such-program" in answer["error"]["message"]
    for cwd in (str(tmp_path / "nothing"), "/", "/etc"):
        answer = finish(native, script("true", cwd=cwd), sandbox=NATIVE)
        assert answer["error"]["code"] == "sandbox_setup_failed", cwd
        assert answer["error"]["details"]["requested"] == "native"
    answer = finish(native, script("true", cwd="/etc"), sandbox={**NATIVE, "folder": str(tmp_path)})
    assert (answer["error"]["code"], "/etc" in answer["error"]["message"]) == ("sandbox_setup_failed", True)


def test_a_command_is_bounded(native: httpx.Client, finish: Finish) -> None:
    answer = finish(native, script("echo begun; sleep 60"), sandbox=NATIVE, limits={"wall_time_ms": 5000})
    assert (answer["error"]["code"], answer["stdout"]) == ("timeout", "begun\n")
    answer = finish(native, script("head -c 9000 /dev/zero | tr '\\0' a"), sandbox=NATIVE, limits={"stdout_max_bytes": 100})
    assert (len(answer["stdout"]) < 400, answer["stdout_truncated"], answer["stderr_truncated"]) == (True, True, False)
    answer = finish(native, script("while :; do :; done"), sandbox=NATIVE, limits={"cpu_time_sec": 1})
    assert answer["error"]["code"] == "cpu_limit_exceeded"
    answer = finish(native, script("kill -9 $$"), sandbox=NATIVE)
    assert (answer["error"]["code"], answer["exit_code"], answer["error"]["details"]["signal"]) == ("exit_nonzero", -9, 9)


@pytest.mark.parametrize("kind", ["code", "script"])
def test_a_killed_task_leaves_nothing(native: httpx.Client, kind: str, tmp_path: Path) -> None:
    mark = f"4{int.from_bytes(os.urandom(3)):08d}"
    text = f"touch {tmp_path}/began; sleep {mark} & setsid sleep {mark}; wait"
    asked = script(text, cwd=str(tmp_path)) if kind == "script" else code(f"sleep {mark} & setsid sleep {mark}; wait", "bash")
    accepted = native.post("/api/v1/tasks", json={"execution": asked, "sandbox": NATIVE}).json()
    eventually(lambda: len([pid for pid in processes_with(f"sleep\0{mark}")]) >= 2, "the command never began")
    answer = native.post(f"/api/v1/tasks/{accepted['handle_id']}/kill").json()
    assert (answer["status"], answer["error"]["code"]) == ("cancelled", "cancelled")
    eventually(lambda: not processes_with(mark), "something of the command is left")


def test_a_killed_service_finds_its_sandboxes_again(launch_runtime: Launch, native: httpx.Client, tmp_path: Path) -> None:
    folder, work = tmp_path / "data", tmp_path / "work"
    work.mkdir()
    process, client = launch_runtime("-data-dir", str(folder))
    wait_for_gate = "echo x >> began; while [ ! -e gate ]; do sleep 0.02; done; echo '\"done\"'"
    asked = {"execution": script(wait_for_gate, cwd=str(work)), "sandbox": NATIVE}
    handle = client.post("/api/v1/tasks", json=asked).json()["handle_id"]
    text = "import time\ntime.sleep(1)\nprint('late')"
    other = client.post("/api/v1/tasks", json={"execution": code(text)}).json()["handle_id"]
    eventually(lambda: (work / "began").exists(), "the command never began")
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, again = launch_runtime("-data-dir", str(folder))
    (work / "gate").touch()
    answer = again.get(f"/api/v1/tasks/{handle}?wait=30s").json()
    assert (answer["status"], answer.get("output"), answer["isolation"]["effective"]) == ("success", "done", "native")
    assert (work / "began").read_text() == "x\n"
    assert again.get(f"/api/v1/tasks/{other}?wait=30s").json()["output"]["stdout"] == "late\n"
    eventually(lambda: not any((folder / "sandboxes").glob("*.job")), "what was laid down for a task is left")


def test_what_can_not_be_had_is_never_run_without_it(launch_runtime: Launch, finish: Finish, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    _, client = launch_runtime("-sandbox-mode", "docker", DOCKER_HOST="unix:///nonexistent/docker.sock")
    state = client.get("/api/v1/runtime/sandboxes/docker").json()
    assert (state["available"], "docker.sock" in state["reason"]) == (False, True)
    for asked, sandbox in ((script(f"touch {marker}", cwd=str(tmp_path)), {"mode": "docker"}), (code("print(1)"), {})):
        answer = finish(client, asked, sandbox=sandbox)
        assert (answer["status"], answer["error"]["code"]) == ("failed", "sandbox_setup_failed")
        assert "docker.sock" in answer["error"]["message"]
        assert "isolation" not in answer
    assert not marker.exists()


def test_the_service_tells_its_sandboxes(runtime: httpx.Client) -> None:
    told = runtime.get("/api/v1/runtime/capabilities").json()
    assert "code" in told["execution_kinds"]
    sandbox = told["sandbox"]
    assert (sandbox["default_mode"], sorted(sandbox["modes"])) == ("native", ["docker", "native", "wasm"])
    assert all(state["available"] or state["reason"] for state in sandbox["modes"].values())
    assert {"python", "bash"} <= set(sandbox["languages"])
    assert runtime.get("/api/v1/runtime/sandboxes/native").json() == {"mode": "native", **sandbox["modes"]["native"]}


def test_an_interpreter_that_is_not_there_is_mode_wasm_s_affair_alone(
    launch_runtime: Launch, finish: Finish, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.wasm"
    _, client = launch_runtime(EXECGO_RUNTIME_WASM_INTERPRETERS=f"python={gone}")
    assert finish(client, script("echo '\"done\"'", cwd=str(tmp_path)))["output"] == "done"
    assert finish(client, code("print(1)"), sandbox=NATIVE)["output"]["stdout"] == "1\n"
    refused = finish(client, code("print(1)"), sandbox={"mode": "wasm"})
    assert refused["error"]["code"] == "sandbox_setup_failed"
    assert f"mode wasm has no interpreter for python: there is no file {gone}" in refused["error"]["message"]


def test_mode_wasm_runs_the_languages_whose_interpreters_are_named(launch_runtime: Launch, finish: Finish, tmp_path: Path) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    says_hi = """(module
      (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\\08\\00\\00\\00\\02\\00\\00\\00hi")
      (func (export "_start") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
    (tmp_path / "python.wasm").write_bytes(bytes(wasmtime.wat2wasm(says_hi)))
    _, client = launch_runtime("-sandbox-mode", "wasm", EXECGO_RUNTIME_WASM_INTERPRETERS=f"python={tmp_path / 'python.wasm'}")
    answer = finish(client, code("whatever"))
    assert (answer["status"], answer["output"]["stdout"], answer["isolation"]["effective"]) == ("success", "hi", "wasm"), answer
    command = {"kind": "command", "program": "python", "args": ["x.py"]}
    assert finish(client, command, sandbox={"mode": "wasm"})["output"]["stdout"] == "hi"
    refused = finish(client, code("1", "javascript"))
    assert refused["error"]["code"] == "sandbox_setup_failed"
    assert "mode wasm has no interpreter for javascript" in refused["error"]["message"]
