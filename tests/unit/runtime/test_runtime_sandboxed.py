"""Tasks in a sandbox: what the sandbox is told, and what its answers mean for a task."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.runtime.keeper_records import EndRecord, LaunchFailure, Reason
from pytest_execgo.runtime.models import TaskRequest, parse_task
from pytest_execgo.runtime.sandbox_judgement import judge_code, judge_command
from pytest_execgo.runtime.sandboxed import SET_UP, Launch, NoFolder, Sandboxes, asked_mode, unbounded

ENVIRONMENT = {"PATH": "/host/bin", "HOME": "/home/me", "LC_ALL": "C", "LANG": "de", "DOCKER_HOST": "tcp://x"}
COMMAND = {"kind": "command", "program": "prog", "args": ["a", "-b"], "cwd": "/w/sub", "env": {"A": "1"}}
CODE = {"kind": "code", "language": "python", "code": "print(1)"}


def request(execution: dict[str, Any], **rest: Any) -> TaskRequest:
    return parse_task({"execution": execution, **rest})


@pytest.fixture
def sandboxes(tmp_path: Path) -> Sandboxes:
    return Sandboxes(tmp_path / "sandboxes", ENVIRONMENT)


def words_of(launch: Launch) -> list[str]:
    """Return what the sandbox's program is told."""
    return launch.argv[launch.argv.index("-c") + 3 :]


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_who_runs_in_a_sandbox() -> None:
    sandbox = {"mode": "docker"}
    assert asked_mode(request(COMMAND), "native") is None
    assert asked_mode(request(COMMAND, sandbox=sandbox), "native") == "docker"
    assert asked_mode(request(CODE), "wasm") == "wasm"
    assert asked_mode(request(CODE, sandbox=sandbox), "native") == "docker"
    assert asked_mode(request({"kind": "sleep"}, sandbox=sandbox), "native") is None


def test_a_command_is_told_its_folder_and_its_bounds(sandboxes: Sandboxes, tmp_path: Path) -> None:
    limits = {"memory_bytes": 100_000_000, "pids_max": 7, "cpu_cores": 1.5, "cpu_time_sec": 3, "wall_time_ms": 2500}
    launch = sandboxes.prepare("h", request(COMMAND, sandbox={"mode": "docker", "folder": "/w"}, limits=limits))
    words = words_of(launch)
    assert (words[0], words[words.index("--") + 1 :]) == ("exec", ["prog", "a", "-b"])
    assert (value(words, "--mode"), value(words, "--mount"), value(words, "--cwd")) == ("docker", "/w:rw", "/w/sub")
    assert (value(words, "--memory-mb"), value(words, "--processes"), value(words, "--cpu-percent")) == ("96", "7", "150")
    assert value(words, "--timeout") == "2.5"
    assert not {"--network", "--allow-host"} & set(words)
    assert (launch.bounds.timeout, launch.bounds.cpu_time_sec) == (2.5 + SET_UP, 3)
    assert (launch.bounds.memory_bytes, launch.bounds.pids_max) == (None, None), "those are the command's, not the sandbox's own"
    assert launch.env == ENVIRONMENT
    variables = json.loads(Path(value(words, "--env-file")).read_text())
    assert variables == {"LC_ALL": "C", "LANG": "de", "HOME": "/tmp", "TMPDIR": "/tmp", "A": "1"}
    assert "1" not in launch.argv, "what a task's variables hold is in no list of processes"
    assert stat.S_IMODE((tmp_path / "sandboxes").stat().st_mode) == 0o700


def test_a_command_without_a_folder_sees_none_of_the_host(sandboxes: Sandboxes) -> None:
    words = words_of(sandboxes.prepare("h", request({**COMMAND, "cwd": ""}, sandbox={"mode": "native"})))
    assert "--mount" not in words
    assert value(words, "--cwd") == "/work"
    words = words_of(sandboxes.prepare("h", request({**COMMAND, "cwd": ""}, sandbox={"mode": "native", "folder": "/w"})))
    assert (value(words, "--mount"), value(words, "--cwd")) == ("/w:rw", "/w")
    words = words_of(sandboxes.prepare("h", request(COMMAND, sandbox={"mode": "native"})))
    assert (value(words, "--mount"), value(words, "--cwd")) == ("/w/sub:rw", "/w/sub")


@pytest.mark.parametrize("cwd", ["/", "/wide", "/w/../x/w"])
def test_the_working_folder_lies_in_the_folder(sandboxes: Sandboxes, cwd: str) -> None:
    with pytest.raises(NoFolder, match="does not lie in /x"):
        sandboxes.prepare("h", request({**COMMAND, "cwd": cwd}, sandbox={"mode": "native", "folder": "/x"}))


def test_a_network_has_to_be_asked_for(sandboxes: Sandboxes) -> None:
    sandbox = {"mode": "native", "network_enabled": True}
    words = words_of(sandboxes.prepare("h", request(COMMAND, sandbox=sandbox)))
    assert "--network" in words
    words = words_of(sandboxes.prepare("h", request(COMMAND, sandbox={**sandbox, "allowed_hosts": ["a.test:1", "b.test"]})))
    assert [words[place + 1] for place, word in enumerate(words) if word == "--allow-host"] == ["a.test:1", "b.test"]
    assert "--network" not in words


def test_code_is_a_document(sandboxes: Sandboxes) -> None:
    execution = {**CODE, "stdin": "in", "args": ["x"], "env": {"A": "1", "B": "1"}, "env_vars": {"B": "2"}, "files": {"d/f": "t"}}
    limits = {"memory_bytes": 64 << 20, "pids_max": 9, "wall_time_ms": 4000}
    launch = sandboxes.prepare("h", request({**execution, "timeout_ms": 1500}, task_id="t", limits=limits))
    words = words_of(launch)
    assert (words[0], "--enable-native" in words) == ("run", True)
    assert json.loads(Path(value(words, "--document")).read_text()) == {
        "request": {
            "id": "t",
            "language": "python",
            "code": "print(1)",
            "stdin": "in",
            "args": ["x"],
            "env_vars": {"A": "1", "B": "2"},
            "files": {"d/f": "t"},
        },
        "config": {
            "mode": "native",
            "timeout": 1.5,
            "max_output_bytes": 1 << 20,
            "network_enabled": False,
            "allowed_hosts": [],
            "mount_paths": {},
            "max_memory_mb": 64,
            "max_processes": 9,
        },
    }
    assert launch.bounds.timeout == 1.5 + SET_UP


def test_what_is_laid_down_goes_with_its_task(sandboxes: Sandboxes) -> None:
    for handle in ("a", "b", "c"):
        sandboxes.prepare(handle, request(CODE))
    (sandboxes.folder / "b.report").write_text('{"outcome": "ended"}')
    assert sandboxes.report("b") == {"outcome": "ended"}
    assert sandboxes.report("a") is None
    sandboxes.forget("a")
    sandboxes.forget("a")
    sandboxes.keep_only({"b"})
    assert sorted(path.name for path in sandboxes.folder.iterdir()) == ["b.job", "b.report"]


def test_what_no_sandbox_bounds_is_told() -> None:
    limits = {"cpu_time_sec": 1, "pids_max": 5, "cpu_cores": 1}
    assert unbounded(request(COMMAND, sandbox={"mode": "native"}, limits=limits), "native") == {}
    assert list(unbounded(request(COMMAND, sandbox={"mode": "docker"}, limits=limits), "docker")) == ["cpu_time_sec"]
    assert list(unbounded(request(CODE, limits=limits), "native")) == ["cpu_time_sec"]
    assert unbounded(request(CODE), "native") == {}


ISOLATION = {"mode": "native", "rung": "namespace", "user": 1_879_100_001}


def report(**facts: Any) -> dict[str, Any]:
    return {"outcome": "ended", "exit_code": 0, "limit": None, "truncated": False, "isolation": ISOLATION, **facts}


def ended(stdout: bytes = b"", stderr: bytes = b"", code: int = 0, **rest: Any) -> EndRecord:
    return EndRecord(exit_code=code, stdout=stdout, stderr=stderr, started_ns=0, finished_ns=10**8, **rest)


def test_a_command_that_succeeded_says_where_it_ran() -> None:
    outcome = judge_command(request(COMMAND), ended(b"[1]"), report(), "native")
    assert (outcome.error, outcome.output) == (None, [1])
    assert outcome.isolation == {
        "requested": "native",
        "effective": "native",
        "fallback_reasons": [],
        "uid": 1_879_100_001,
        **ISOLATION,
    }


@pytest.mark.parametrize(
    ("facts", "limits", "code", "words"),
    [
        ({"exit_code": 3}, {}, "exit_nonzero", "process exited with code 3"),
        ({"exit_code": -9}, {}, "exit_nonzero", "signal 9"),
        ({"exit_code": -9, "limit": "timeout"}, {}, "timeout", "timed out after 300000 ms"),
        ({"exit_code": -9, "limit": "memory"}, {}, "memory_limit_exceeded", "limit: memory"),
        ({"exit_code": 1, "limit": "processes"}, {}, "resource_limit_exceeded", "limit: processes"),
        ({"exit_code": 1, "limit": "disk"}, {}, "resource_limit_exceeded", "limit: disk"),
        ({"exit_code": -int(signal.SIGXCPU), "limit": "timeout"}, {"cpu_time_sec": 1}, "cpu_limit_exceeded", "SIGXCPU"),
        ({"exit_code": -int(signal.SIGXCPU), "limit": "timeout"}, {}, "timeout", "timed out"),
    ],
)
def test_how_a_command_failed_is_what_its_sandbox_reports(
    facts: dict[str, Any], limits: dict[str, int], code: str, words: str
) -> None:
    told = ended(b"out", b"", 137)
    outcome = judge_command(request(COMMAND, limits=limits), told, report(**facts), "native")
    assert outcome.error is not None
    assert outcome.error.code == code
    assert words in outcome.error.message
    assert outcome.streams is not None
    assert (outcome.streams.stdout, outcome.streams.exit_code) == ("out", facts["exit_code"])


def test_an_exit_code_of_the_commands_own_is_no_failure_of_the_sandbox() -> None:
    outcome = judge_command(request(COMMAND), ended(code=125), report(exit_code=125), "native")
    assert outcome.error is not None
    assert outcome.error.code == "exit_nonzero"


@pytest.mark.parametrize(("said", "code"), [("not_confined", "sandbox_setup_failed"), ("not_started", "launch_failed")])
def test_a_command_that_was_not_run(said: str, code: str) -> None:
    told = {"outcome": said, "code": "sandbox_unavailable", "message": "no bwrap", "hint": "install it"}
    outcome = judge_command(request(COMMAND), ended(code=125), told, "native")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message) == (code, "no bwrap; install it")
    assert outcome.error.details["requested"] == "native"
    assert outcome.isolation is None


def test_without_a_report_nothing_is_made_up() -> None:
    outcome = judge_command(request(COMMAND), ended(b"", b"Traceback: boom", 1), None, "native")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("internal", True)
    assert "without a report (exit code 1): Traceback: boom" in outcome.error.message


def test_what_the_keeper_ended_is_judged_as_ever() -> None:
    killed = EndRecord(signal=9, reason=Reason("cancelled", "the task was killed on request"))
    for outcome in (judge_command(request(COMMAND), killed, None, "native"), judge_code(request(CODE), killed, "native")):
        assert outcome.error is not None
        assert outcome.error.code == "cancelled"
    late = judge_code(request(CODE), EndRecord(signal=9, timed_out=True), "native")
    assert late.error is not None
    assert late.error.code == "timeout"
    gone = judge_command(request(COMMAND), EndRecord(launch=LaunchFailure(2, "no such file", "python")), None, "native")
    assert gone.error is not None
    assert gone.error.code == "launch_failed"


@pytest.mark.parametrize(
    ("truncated", "stdout", "flags"),
    [(True, b"x" * 120, (True, False)), (True, b"x" * 100, (False, False)), (False, b"x" * 120, (False, False))],
)
def test_a_stream_that_the_sandbox_cut_is_flagged(truncated: bool, stdout: bytes, flags: tuple[bool, bool]) -> None:
    asked = request(COMMAND, limits={"stdout_max_bytes": 100, "stderr_max_bytes": 100})
    outcome = judge_command(asked, ended(stdout), report(truncated=truncated), "native")
    assert outcome.streams is not None
    assert (outcome.streams.stdout_truncated, outcome.streams.stderr_truncated) == flags


def result(**facts: Any) -> bytes:
    document = {"id": "t", "success": True, "exit_code": 0, "stdout": "1\n", "stderr": "", "error": None, "duration": 0.1}
    return json.dumps({**document, "truncated": False, "findings": [], "isolation": ISOLATION, **facts}).encode()


def test_code_that_succeeded_has_its_result_as_output() -> None:
    outcome = judge_code(request(CODE), ended(result(findings=[{"line": 1}])), "native")
    assert outcome.error is None
    assert (outcome.output["stdout"], outcome.output["success"], outcome.output["findings"]) == ("1\n", True, [{"line": 1}])
    assert outcome.streams is not None
    assert (outcome.streams.stdout, outcome.streams.exit_code) == ("1\n", 0)
    assert outcome.isolation is not None
    assert outcome.isolation["rung"] == "namespace"


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        ({"exit_code": 1, "stderr": "ZeroDivisionError\n"}, "exit_nonzero", "ZeroDivisionError"),
        ({"exit_code": 4}, "exit_nonzero", "the code exited with code 4"),
        ({"exit_code": -9, "error": "timed out: its limit is 1 s"}, "timeout", "timed out after"),
        ({"exit_code": -9, "error": "out of memory: its limit is 64 MiB"}, "memory_limit_exceeded", "its limit is 64 MiB"),
        ({"exit_code": 1, "error": "out of processes: its limit is 9"}, "resource_limit_exceeded", "its limit is 9"),
        ({"exit_code": 1, "error": "out of disk space: its limit is 9 MiB"}, "resource_limit_exceeded", "disk space"),
        ({"exit_code": 127, "error": "node could not be started: No such file"}, "launch_failed", "node could not be started"),
    ],
)
def test_code_that_failed_keeps_its_result(facts: dict[str, Any], code: str, words: str) -> None:
    outcome = judge_code(request(CODE), ended(result(success=False, **facts)), "native")
    assert outcome.error is not None
    assert outcome.error.code == code
    assert words in outcome.error.message
    assert outcome.error.details["stdout"] == "1\n"
    assert outcome.output["success"] is False


@pytest.mark.parametrize(
    ("said", "exit_code", "code"), [("bad_request", 2, "invalid_input"), ("sandbox_unavailable", 3, "sandbox_setup_failed")]
)
def test_code_that_was_not_run(said: str, exit_code: int, code: str) -> None:
    answer = {"error": {"code": said, "message": "it can't be", "hint": "", "problems": [{"path": "$.files"}]}}
    outcome = judge_code(request(CODE), ended(json.dumps(answer).encode(), code=exit_code), "docker")
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.message, outcome.has_output) == (code, "it can't be", False)
    assert outcome.error.details == {"requested": "docker", "reason": said, "problems": [{"path": "$.files"}]}


@pytest.mark.parametrize("stdout", [b"", b"{", b"[]", b"Traceback"])
def test_an_answer_that_is_none_is_no_success(stdout: bytes) -> None:
    outcome = judge_code(request(CODE), ended(stdout), "native")
    assert outcome.error is not None
    assert outcome.error.code == "internal"


@pytest.mark.parametrize("mode", ["docker", "native"])
def test_folders_that_are_closed_to_a_sandbox_have_a_remedy_that_can_be_followed(
    sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    def closed(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        folder = command[command.index("--cwd") + 1]
        return subprocess.CompletedProcess(command, 125, b"", f"sandbox: {folder} is closed\n  hint: chmod {folder}\n".encode())

    monkeypatch.setattr("pytest_execgo.runtime.sandboxed.subprocess.run", closed)
    state = sandboxes.command_state(mode)
    assert state["available"] is False
    assert state["reason"].startswith("run pytest as an ordinary user")
    assert "execgo-trial" not in state["reason"], "it is gone by the time that anybody reads this"
    assert "chmod" not in state["reason"], "each run makes a folder of its own"


def test_a_mode_s_reason_is_one_sentence_with_its_remedy(sandboxes: Sandboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"sandbox: no engine answers\n  hint: start it\n"
    monkeypatch.setattr(
        "pytest_execgo.runtime.sandboxed.subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, 125, b"", said)
    )
    assert sandboxes.command_state("docker") == {"available": False, "reason": "no engine answers; start it"}
