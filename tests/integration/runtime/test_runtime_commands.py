"""Commands and scripts through the real service: what they give, and how each way to fail is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Finish = Callable[..., dict[str, Any]]


def python(code: str, **rest: Any) -> dict[str, Any]:
    return {"kind": "command", "program": sys.executable, "args": ["-c", code], **rest}


def script(text: str, **rest: Any) -> dict[str, Any]:
    return {"kind": "script", "script": text, **rest}


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody has collected yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} survived"
        time.sleep(0.01)


def test_json_on_stdout_is_the_output(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, script('echo; echo \'{"a": [1, "é"]}\'; echo warning >&2'))
    assert answer["status"] == "success"
    assert answer["output"] == {"a": [1, "é"]}
    assert (answer["stderr"], answer["exit_code"]) == ("warning\n", 0)
    assert "error" not in answer
    assert answer["started_at"] <= answer["finished_at"]
    assert (answer["stdout_truncated"], answer["stderr_truncated"]) == (False, False)


@pytest.mark.parametrize("text", ["", "hello", "{", "NaN", '"\\ud800"', "1 2", "[" * 5000 + "]" * 5000, "1" * 5000], ids=range(8))
def test_other_output_is_text(runtime: httpx.Client, finish: Finish, text: str) -> None:
    answer = finish(runtime, {"kind": "command", "program": "printf", "args": ["%s", text]})
    assert answer["output"] == {"stdout": text, "stderr": "", "exit_code": 0}


def test_bytes_that_are_no_text_are_replaced(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, script("printf 'a\\377b\\000c'"))
    assert answer["stdout"] == "a\ufffdb\0c"


def test_a_failing_command_is_told_in_its_own_words(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, script("echo out; echo ' broken ' >&2; exit 3"))
    told = {"stdout": "out\n", "stderr": " broken \n", "exit_code": 3}
    assert answer["status"] == "failed"
    assert answer["error"] == {"code": "exit_nonzero", "message": "broken", "retryable": False, "details": told}
    assert answer["output"] == told
    silent = finish(runtime, script("exit 9"))
    assert silent["error"]["message"] == "process exited with code 9"
    signalled = finish(runtime, script("kill -SEGV $$"))
    assert signalled["error"]["code"] == "exit_nonzero"
    assert "SIGSEGV" in signalled["error"]["message"]
    assert signalled["exit_code"] == -11


def test_what_can_not_be_launched(runtime: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    missing = str(tmp_path / "nowhere")
    for execution, named in (
        ({"kind": "command", "program": "no-such-program"}, "no-such-program"),
        ({"kind": "command", "program": str(plain)}, str(plain)),
        ({"kind": "command", "program": "true", "cwd": missing}, missing),
        ({"kind": "command", "program": "true", "cwd": str(plain)}, str(plain)),
        ({"kind": "command", "program": "true", "args": ["x" * 100_000] * 40}, "too long"),
    ):
        for limits in ({}, {"cpu_time_sec": 5}):
            answer = finish(runtime, execution, limits=limits)
            assert answer["status"] == "failed", answer
            assert answer["error"]["code"] == "launch_failed", answer
            assert named in answer["error"]["message"]
    assert not Path(missing).exists()


def test_folder_arguments_and_environment_reach_the_command(runtime: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    code = "import json,os,sys; print(json.dumps([os.getcwd(), sys.argv[1:], os.environ.get('N'), sys.stdin.read()]))"
    execution = python(code, cwd=str(tmp_path), env={"N": 5})
    execution["args"] += ["a b", "$HOME", "é"]
    assert finish(runtime, execution)["output"] == [str(tmp_path), ["a b", "$HOME", "é"], "5", ""]


def test_the_services_variables_do_not(runtime: httpx.Client, finish: Finish) -> None:
    seen = finish(runtime, python("import json,os; print(json.dumps(dict(os.environ)))", env={"EXECGO_OWN": "mine"}))["output"]
    assert seen["PATH"] == os.environ["PATH"]
    assert {name: value for name, value in seen.items() if name.startswith("EXECGO_")} == {"EXECGO_OWN": "mine"}
    assert "canary" not in str(seen)


@pytest.mark.parametrize("interpreter", ["sh", "bash", sys.executable])
def test_a_script_runs_in_its_interpreter(runtime: httpx.Client, finish: Finish, interpreter: str) -> None:
    text = "import sys; print('\"' + sys.argv[1] + '\"')" if "python" in interpreter else 'echo "\\"$1\\""'
    assert finish(runtime, script(text, interpreter=interpreter, args=["one"]))["output"] == "one"


def test_a_timeout_ends_the_group_with_a_background_child_that_holds_the_pipe(runtime: httpx.Client, finish: Finish) -> None:
    began = time.monotonic()
    answer = finish(runtime, script("sleep 300 & echo $!; wait", timeout_ms=5000))  # by then it has said so, on any machine
    assert time.monotonic() - began < 60  # the pipe's holder would sleep for 300
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == "timeout"
    assert answer["error"]["retryable"] is True
    assert answer["error"]["details"]["limit_ms"] == 5000
    assert answer["duration_ms"] >= 5000
    wait_until_gone(int(answer["stdout"]))


def test_a_finished_command_leaves_no_background_child_behind(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, script("sleep 300 & echo $!"))
    assert answer["status"] == "success"
    wait_until_gone(answer["output"])


def test_a_flood_is_bounded_and_said(runtime: httpx.Client, finish: Finish) -> None:
    code = "import sys\nfor s in (sys.stdout, sys.stderr): [s.write('1' * 65536) for _ in range(1600)]"
    answer = finish(runtime, python(code), limits={"stdout_max_bytes": 1000, "stderr_max_bytes": 0})
    assert answer["status"] == "success"
    assert len(answer["stdout"].encode()) < 1100  # what is kept, and a word on what is not
    assert answer["stdout"].startswith("1" * 100)
    assert answer["stderr"] == ""
    assert (answer["stdout_truncated"], answer["stderr_truncated"]) == (True, True)
    told = {"stdout": answer["stdout"], "stderr": "", "exit_code": 0}
    assert answer["output"] == told  # a cut number is no number
    default = finish(runtime, python("print('x' * 6_000_000)"))
    assert 4_000_000 < len(default["stdout"].encode()) < 4 * 1024 * 1024 + 100
    assert runtime.get("/api/v1/runtime/resources").json()["max_rss_kib"] < 400_000  # 200 MB were written
    keeper = runtime.get("/api/v1/runtime/info").json()["keeper_pid"]
    peak = next(line for line in Path(f"/proc/{keeper}/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 400_000


def test_the_cpu_limit(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, python("while True: pass"), limits={"cpu_time_sec": 1})
    assert answer["error"]["code"] == "cpu_limit_exceeded"
    assert answer["error"]["details"]["limit"] == "cpu_time_sec"
    in_a_shell = finish(runtime, script(f"{sys.executable} -c 'while True: pass'; exit $?"), limits={"cpu_time_sec": 1})
    assert in_a_shell["error"]["code"] == "cpu_limit_exceeded"


def test_the_memory_limit(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, python("x = bytearray(10**9)"), limits={"memory_bytes": 300_000_000})
    assert answer["error"]["code"] == "memory_limit_exceeded"
    assert answer["error"]["details"]["evidence"] == "MemoryError"
    enough = finish(runtime, python("x = bytearray(10**7); print(1)"), limits={"memory_bytes": 300_000_000})
    assert enough["output"] == 1


def test_the_memory_limit_holds_for_all_processes_together(runtime: httpx.Client, finish: Finish) -> None:
    if "together" not in runtime.get("/api/v1/runtime/capabilities").json()["limits"]["memory_bytes"]["by"]:
        pytest.skip("no control group can be had here")
    hog = f"{sys.executable} -c 'import time; x = bytearray(60_000_000); time.sleep(20)'"
    answer = finish(
        runtime,
        script(f"{hog} & {hog} & {hog} & {hog} & wait -n; exit $?", interpreter="bash"),
        limits={"memory_bytes": 150_000_000},
    )
    assert answer["error"]["code"] == "memory_limit_exceeded", answer
    assert "killed" in answer["error"]["details"]["evidence"]


def test_an_interpreter_that_is_not_there_is_refused(runtime: httpx.Client) -> None:
    found = runtime.get("/api/v1/runtime/capabilities").json()["interpreters"]
    assert {"sh", "python3"} <= set(found)
    for asked in ("cobol", "/bin/cat", "../sh"):
        body = {"execution": {"kind": "script", "script": "x", "interpreter": asked}}
        refused = runtime.post("/api/v1/tasks", json=body)
        assert refused.status_code == 400
        (problem,) = refused.json()["error"]["details"]["problems"]
        assert problem["path"] == "$.execution.interpreter"
        assert all(name in problem["message"] for name in found)


def test_the_process_limit_is_enforced_or_said_not_to_be(runtime: httpx.Client, finish: Finish) -> None:
    answer = finish(runtime, script("for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; wait"), limits={"pids_max": 3})
    events = runtime.get(f"/api/v1/tasks/{answer['task_id']}/events").json()["events"]
    unenforced = [event["details"]["limit"] for event in events if event["type"] == "limit_unenforced"]
    enforced = runtime.get("/api/v1/runtime/capabilities").json()["limits"]["pids_max"]["enforced"]
    if enforced:
        assert unenforced == []
        assert answer["error"]["code"] == "resource_limit_exceeded"
    else:
        assert unenforced == ["pids_max"]
        assert answer["status"] == "success"


def test_the_launcher_bounds_the_processes_of_an_ordinary_user() -> None:
    read, write = os.pipe()
    text = "for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; wait"
    # the tests may run as root, whom the limit does not bind, and whose interpreter no other user may be able to start
    become_ordinary = "import os, sys; from pytest_execgo.runtime.launcher import main; os.getuid() or os.setuid(65534)"
    argv = [sys.executable, "-c", f"{become_ordinary}; main(sys.argv)", str(write), "-", "-", "3", "-", "sh", "-c", text]
    ended = subprocess.run(argv, pass_fds=[write], capture_output=True, text=True, timeout=60, check=False)
    os.close(write)
    with os.fdopen(read) as report:
        assert report.read() == ""  # the command was started
    assert ended.returncode != 0
    assert "fork" in ended.stderr.lower()


def test_a_limited_command_is_the_same_command(runtime: httpx.Client, finish: Finish, tmp_path: Path) -> None:
    code = (
        "import json,os,signal,sys; print(json.dumps([os.getcwd(), sys.argv[1:], sorted(os.listdir('/proc/self/fd')),"
        "signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, os.getpgid(0) == os.getpid()]))"
    )
    execution = python(code, cwd=str(tmp_path))
    execution["args"].append("é")
    free = finish(runtime, execution)["output"]
    assert free[:2] == [str(tmp_path), ["é"]]
    limits = {"cpu_time_sec": 100, "memory_bytes": 10**10, "pids_max": 1000}
    assert finish(runtime, execution, limits=limits)["output"] == free
    ignored = {"kind": "command", "program": "grep", "args": ["SigIgn", "/proc/self/status"]}  # Python would ignore some
    assert finish(runtime, ignored, limits=limits)["output"] == finish(runtime, ignored)["output"]


def test_ten_tasks_at_once_run_at_once(runtime: httpx.Client, tmp_path: Path) -> None:
    # each task waits until all ten have begun: run one after another they would never end
    text = f"cd {tmp_path}; touch $$; while [ $(ls | wc -l) -lt 10 ]; do sleep 0.02; done; echo 1"
    handles = []
    for _ in range(10):
        accepted = runtime.post("/api/v1/tasks", json={"execution": script(text, timeout_ms=60_000)})
        handles.append(accepted.json()["handle_id"])
    answers = [runtime.get(f"/api/v1/tasks/{handle}?wait=30s").json() for handle in handles]
    assert [answer["output"] for answer in answers] == [1] * 10
