"""`python -m pytest_execgo.sandbox`: what it says, with which code it ends, and that nothing confined outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.sandbox.native import NativeConfinement

SANDBOX = [sys.executable, "-m", "pytest_execgo.sandbox"]


@pytest.fixture(scope="module", autouse=True)
def _needs_native() -> None:
    if (problem := NativeConfinement(enabled=True).problem()) is not None:
        pytest.skip(problem)


@pytest.fixture
def execute(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run `exec` in a folder, with options before the command."""

    def call(*command: str, options: tuple[str, ...] = (), stdin: bytes = b"", **more: Any) -> subprocess.CompletedProcess[bytes]:
        words = [
            *SANDBOX,
            "exec",
            "--mode",
            "native",
            "--mount",
            f"{tmp_path}:rw",
            "--cwd",
            str(tmp_path),
            *options,
            "--",
            *command,
        ]
        return subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=120, **more)

    return call


def run(document: Any, *options: str) -> tuple[int, Any]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    done = subprocess.run([*SANDBOX, "run", *options], input=text, capture_output=True, check=False, timeout=120)
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def test_streams_and_exit_code_pass_through(execute: Any, tmp_path: Path) -> None:
    done = execute("sh", "-c", "cat; echo err >&2; echo kept > out; exit 7", stdin=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\n", b"err\n")
    assert (tmp_path / "out").read_text() == "kept\n"


def test_a_signal_is_128_and_more(execute: Any) -> None:
    assert execute("sh", "-c", "kill -9 $$").returncode == 137


def test_time_is_up_with_124(execute: Any) -> None:
    done = execute("sh", "-c", "echo begun; sleep 60", options=("--timeout", "5"))
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert b"over its limit: timeout" in done.stderr


def test_a_program_that_is_not_there_is_127(execute: Any) -> None:
    done = execute("no-such-program")
    assert done.returncode == 127
    assert done.stderr.startswith(b"sandbox: no-such-program could not be started: No such file or directory")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mount", "relative"), b"has to be absolute"),
        (("--mount", "/nonexistent"), b"does not exist"),
        (("--env", "NOT_SET_ANYWHERE"), b"no such variable"),
        (("--timeout", "0"), b"has to be more than 0"),
        (("--allow-host", "*"), b"no host that can be allowed"),
    ],
)
def test_what_can_t_be_confined_is_125(execute: Any, options: tuple[str, ...], words: bytes) -> None:
    done = execute("true", options=options)
    assert done.returncode == 125, done
    assert words in done.stderr
    assert b"Traceback" not in done.stderr


def test_variables_are_given_or_taken(execute: Any) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    options = ("--env", "GIVEN=a=b", "--env", "TAKEN")
    done = execute("python3", "-c", code, options=options, env={**os.environ, "TAKEN": "t", "CANARY": "s1ngs"})
    seen = json.loads(done.stdout)
    assert (seen["GIVEN"], seen["TAKEN"]) == ("a=b", "t")
    assert "CANARY" not in seen


def test_the_report_tells_how_it_ended(execute: Any) -> None:
    reading, writing = os.pipe()
    execute("sh", "-c", "exit 3", options=("--report-fd", str(writing)), pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as told:
        report = json.loads(told.readline())
    assert (report["outcome"], report["exit_code"], report["limit"]) == ("ended", 3, None)
    assert report["isolation"]["mode"] == "native"
    assert report["isolation"]["rung"]


def test_a_folder_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("seen")
    words = [*SANDBOX, "exec", "--mode", "native", "--mount", f"{tmp_path}=/data", "--cwd", "/data", "--", "cat", "file"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120)
    if b"landlock" in done.stderr:
        pytest.skip("Landlock shows folders where they are")
    assert (done.returncode, done.stdout) == (0, b"seen")


def survivors(token: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if token.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("rung", ["bubblewrap", "namespace", "landlock"])
def test_whatever_ends_it_ends_everything(open_path: Path, number: signal.Signals, rung: str) -> None:
    confinement = NativeConfinement(enabled=True, rungs=(Rung(rung),))
    if (problem := confinement.problem()) is not None:
        pytest.skip(problem)
    token = f"held-{uuid.uuid4().hex}"
    held = "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nif os.fork() == 0: os.setsid()\n"
    held += "print('begun', flush=True); time.sleep(600)"
    program = f"""
import sys
from pytest_execgo.sandbox import native
native.NativeConfinement.__init__.__kwdefaults__["rungs"] = ({rung!r},)
from pytest_execgo.sandbox.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    folder = open_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    words = ["exec", "--mode", "native", "--mount", str(folder), "--cwd", str(folder), "--", "python3", "-c", held, token]
    process = subprocess.Popen([sys.executable, "-c", program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while len(survivors(token)) < 3:  # itself, and both of the command's processes
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(60)
        while survivors(token):
            assert time.monotonic() < deadline, survivors(token)
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


def test_a_document_is_run_and_answered() -> None:
    request = {"id": "r1", "language": "python", "code": "import sys; print(sys.stdin.read()); sys.exit(4)", "stdin": "in"}
    code, answer = run({"request": request, "config": {"mode": "native"}}, "--enable-native")
    assert code == 0
    assert (answer["id"], answer["success"], answer["exit_code"], answer["stdout"], answer["error"]) == (
        "r1",
        False,
        4,
        "in\n",
        None,
    )
    assert answer["isolation"]["mode"] == "native"


def test_a_document_can_t_enable_native() -> None:
    request = {"id": "r1", "language": "python", "code": "print(1)"}
    code, answer = run({"request": request, "config": {"mode": "native"}})
    assert (code, answer["error"]["code"]) == (3, "native_not_enabled")


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        (b"{", ["$"]),
        (b"[" * 100_000, ["$"]),
        (b"\xff", ["$"]),
        (b"[]", ["$"]),
        ({"request": {"id": 1, "language": "cobol"}}, ["$.request.id", "$.request.language", "$.request.code"]),
        ({"request": {"id": "1", "language": "bash", "code": ""}, "config": {"timeout": 0}}, ["$.config.timeout"]),
        ({"request": {"id": "1", "language": "bash", "code": "", "files": {"../x": ""}}}, ["$.files['../x']"]),
    ],
)
def test_a_bad_document_is_told_whole(document: Any, paths: list[str]) -> None:
    code, answer = run(document, "--enable-native")
    assert code == 2
    assert sorted(problem["path"] for problem in answer["error"]["problems"]) == sorted(paths)


def test_exec_needs_no_package_that_was_installed(tmp_path: Path) -> None:
    """It is started for each command, so it must start quickly: nothing beyond the standard library and ours."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pytest_execgo.sandbox.__main__ import main
code = main(["exec", "--mode", "native", "--mount", {str(tmp_path)!r}, "--cwd", {str(tmp_path)!r}, "--", "true"])
print(code, sorted({{"pydantic", "asyncio", "h11", "docker", "wasmtime", "uuid"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.stdout == b"0 []\n", done
