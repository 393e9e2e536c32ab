"""The executor: what it refuses, what it hands to a confinement, what it makes of the end, what it counts."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import SandboxError, Unsupported, UsageError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, SandboxMode
from pytest_execgo.plan.sandbox import ExecutionRequest, ExecutionResult, Language, SandboxConfig
from pytest_execgo.sandbox import toolchains
from pytest_execgo.sandbox.backend import ConfinementBackend, ExecutionBackend
from pytest_execgo.sandbox.choose import confinement_for
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.request_check import BadRequest

MIB = 1 << 20


class Pretended:
    """A confinement that remembers what it was to run, and ends as it was told."""

    def __init__(self, end: ConfinedEnd | SandboxError | None = None, mode: SandboxMode = "native") -> None:
        self.mode = mode
        self.end = end or ConfinedEnd(0, b"out", b"err", 0.5, memory_used_bytes=7)
        self.commands: list[ConfinedCommand] = []
        self.files: dict[str, str] = {}
        self.cleaned = 0

    def problem(self) -> str | None:
        return None

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        self.commands.append(command)
        assert command.work is not None
        self.files = {
            path.relative_to(command.work).as_posix(): path.read_text() for path in command.work.rglob("*") if path.is_file()
        }
        if isinstance(self.end, SandboxError):
            raise self.end
        return self.end

    def cleanup(self) -> None:
        self.cleaned += 1


def request(**fields: Any) -> ExecutionRequest:
    return ExecutionRequest.model_validate({"id": "r", "language": "python", "code": "print(1)", **fields})


def config(**fields: Any) -> SandboxConfig:
    return SandboxConfig(mode="native", **fields)


def test_a_request_becomes_a_command(tmp_path: Path) -> None:
    confinement = Pretended()
    given = config(
        timeout=9.0,
        max_memory_mb=64,
        max_cpu_percent=150,
        max_disk_mb=3,
        max_processes=5,
        max_output_bytes=100,
        mount_paths={str(tmp_path): "/data", "/usr/share": "/share:rw"},
        env_vars={"A": "config", "B": "config"},
    )
    asked = request(args=["x", "y z"], stdin="in", env_vars={"B": "request"}, files={"data/a.txt": "ä"})
    result = SandboxExecutor(given, confinement).execute(asked)
    assert result == ExecutionResult(
        id="r", success=True, exit_code=0, stdout="out", stderr="err", duration=0.5, memory_used_bytes=7
    )
    (command,) = confinement.commands
    assert command.argv == ("python3", "main.py", "x", "y z")
    assert confinement.files == {"main.py": "print(1)", "data/a.txt": "ä"}
    assert command.work is not None
    assert not command.work.exists()
    assert (command.cwd, command.stdin, command.hosts) == ("/work", b"in", None)
    assert (command.timeout, command.memory_bytes, command.disk_bytes) == (9.0, 64 * MIB, 3 * MIB)
    assert (command.cpu_cores, command.processes, command.output_bytes) == (1.5, 5, 100)
    assert (command.env["A"], command.env["B"], command.env["TMPDIR"]) == ("config", "request", "/tmp")
    assert [(str(one.source), one.target, one.writable) for one in command.mounts] == [
        (str(tmp_path), "/data", False),
        ("/usr/share", "/share", True),
    ]


@pytest.mark.parametrize(("asked", "allowed", "expected"), [(None, 5.0, 5.0), (2.0, 5.0, 2.0), (60.0, 5.0, 5.0)])
def test_a_request_gets_no_more_time_than_is_allowed(asked: float | None, allowed: float, expected: float) -> None:
    confinement = Pretended()
    SandboxExecutor(config(timeout=allowed), confinement).execute(request(timeout=asked))
    assert confinement.commands[0].timeout == expected


@pytest.mark.parametrize(
    ("fields", "hosts"),
    [
        ({}, None),
        ({"allowed_hosts": ["a.example"]}, None),
        ({"network_enabled": True}, ()),
        ({"network_enabled": True, "allowed_hosts": ["a.example", "b.example:1"]}, ("a.example", "b.example:1")),
    ],
)
def test_there_is_no_network_unless_it_is_enabled(fields: dict[str, Any], hosts: tuple[str, ...] | None) -> None:
    confinement = Pretended()
    SandboxExecutor(config(**fields), confinement).execute(request())
    assert confinement.commands[0].hosts == hosts


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ("timeout", "timed out: its limit is 30 s"),
        ("memory", "out of memory: its limit is 512 MiB"),
        ("disk", "out of disk space: its limit is 256 MiB"),
        ("processes", "out of processes: its limit is 128"),
    ],
)
def test_a_limit_is_no_success_and_is_told(limit: Any, error: str) -> None:
    confinement = Pretended(ConfinedEnd(0, b"", b"", 1.0, limit=limit))
    executor = SandboxExecutor(config(), confinement)
    result = executor.execute(request())
    assert (result.success, result.error) == (False, error)
    assert executor.stats.timeout_executions == (limit == "timeout")


def test_an_exit_code_is_no_success_and_no_error_of_ours() -> None:
    result = SandboxExecutor(config(), Pretended(ConfinedEnd(3, b"\xff", b"", 1.0, truncated=True))).execute(request())
    assert (result.success, result.exit_code, result.error, result.stdout, result.truncated) == (False, 3, None, "\ufffd", True)


def test_a_program_that_could_not_be_started_is_a_result() -> None:
    confinement = Pretended(SandboxError("sandbox_launch_failed", "python3 could not be started: No such file"))
    result = SandboxExecutor(config(), confinement).execute(request())
    assert (result.success, result.exit_code, result.error) == (False, 127, "python3 could not be started: No such file")


def test_what_could_not_be_confined_is_no_result_but_counts() -> None:
    executor = SandboxExecutor(config(), Pretended(SandboxError("sandbox_unavailable", "nothing here can")))
    with pytest.raises(SandboxError, match="nothing here can"):
        executor.execute(request())
    assert (executor.stats.total_executions, executor.stats.failed_executions) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"language": "bash"}, "$.language", "not allowed here; allowed: python"),
        ({"files": {"/etc/passwd": ""}}, "$.files['/etc/passwd']", "relative path"),
        ({"files": {"../x": ""}}, "$.files['../x']", "relative path"),
        ({"files": {"a/../../x": ""}}, "$.files['a/../../x']", "relative path"),
        ({"files": {"a\0b": ""}}, "$.files['a\\x00b']", "relative path"),
        ({"files": {"": ""}}, "$.files['']", "relative path"),
        ({"files": {"a//b": ""}}, "$.files['a//b']", "relative path"),
        ({"files": {"x" * 300: ""}}, None, "relative path"),
        ({"files": {"main.py": ""}}, "$.files['main.py']", "the code itself"),
        ({"files": {"main.py/x": ""}}, "$.files['main.py/x']", "the code itself"),
        ({"files": {"a": "", "a/b": ""}}, "$.files['a']", "as a folder"),
        ({"code": "\ud800"}, "$.code", "surrogate"),
        ({"files": {"a": "\ud800"}}, "$.files['a']", "surrogate"),
        ({"args": ["a", "b\0"]}, "$.args[1]", "NUL"),
        ({"env_vars": {"A=B": "x"}}, "$.env_vars['A=B']", "'='"),
        ({"env_vars": {"": "x"}}, "$.env_vars['']", "'='"),
        ({"env_vars": {"A": "\0"}}, "$.env_vars['A']", "NUL"),
        ({"code": "x" * (2 * MIB)}, "$.files", "2097152 bytes; allowed: 1048576"),
        ({"args": ["x" * 200_000]}, "$.args", "200001 bytes"),
        ({"id": "x" * 2000}, "$.id", "2000 bytes"),
    ],
)
def test_a_request_that_can_t_be_run_is_refused(fields: dict[str, Any], path: str | None, words: str) -> None:
    confinement = Pretended()
    executor = SandboxExecutor(config(max_disk_mb=1, allowed_languages=["python"]), confinement)
    with pytest.raises(BadRequest) as caught:
        executor.execute(request(**fields))
    (problem,) = caught.value.problems
    assert path in (None, problem.path)
    assert words in problem.message
    assert confinement.commands == []
    assert executor.stats.total_executions == 0


def test_every_problem_is_told() -> None:
    asked = request(files={"../x": "", "/y": ""}, args=["\0"], env_vars={"": ""})
    with pytest.raises(BadRequest) as caught:
        SandboxExecutor(config(), Pretended()).execute(asked)
    assert len(caught.value.problems) == 4
    assert "(and 1 more)" in str(caught.value)


def test_statistics_are_exact_under_threads() -> None:
    good, bad = ConfinedEnd(0, b"", b"", 0.25), ConfinedEnd(1, b"", b"", 0.25)
    confinement = Pretended()
    executor = SandboxExecutor(config(), confinement)

    def work(end: ConfinedEnd) -> None:
        backend = ConfinementBackend(Pretended(end))
        mine = SandboxExecutor(config(), backend)
        for _ in range(20):
            executor._count(mine.execute(request()).duration, success=end.exit_code == 0, timed_out=False)

    threads = [threading.Thread(target=work, args=(end,)) for end in (good, bad, good, bad)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = executor.stats
    assert (stats.total_executions, stats.success_executions, stats.failed_executions) == (80, 40, 40)
    assert stats.total_duration == 20.0


def test_the_mode_of_configuration_and_confinement_have_to_be_one() -> None:
    with pytest.raises(UsageError, match="asks for mode docker, and what would run is mode native"):
        SandboxExecutor(SandboxConfig(), Pretended()).execute(request())


@pytest.mark.parametrize("paths", [{"data": "/data"}, {"/data": "data"}])
def test_mounts_are_absolute(paths: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="both have to be absolute"):
        SandboxExecutor(config(mount_paths=paths), Pretended())


def test_it_cleans_up_at_its_end() -> None:
    confinement = Pretended()
    with SandboxExecutor(config(), confinement) as executor:
        executor.execute(request())
    assert confinement.cleaned == 1


def test_native_refuses_unless_it_is_enabled() -> None:
    with pytest.raises(SandboxError, match="has to be enabled"):
        SandboxExecutor(config()).execute(request())
    assert confinement_for("native", enable_native=True).mode == "native"


class Own:
    """A backend of somebody's own."""

    name = "own"

    def execute(self, request: ExecutionRequest, config: SandboxConfig) -> ExecutionResult:
        return ExecutionResult(
            id=request.id, success=False, exit_code=-9, stdout="", stderr="", error="timed out: long", duration=1.0
        )

    def cleanup(self) -> None:
        pass


def test_a_backend_of_one_s_own_will_do() -> None:
    assert isinstance(Own(), ExecutionBackend)
    executor = SandboxExecutor(config(), Own())
    assert executor.execute(request()).error == "timed out: long"
    assert executor.isolation == {"mode": "own"}
    assert executor.stats.timeout_executions == 1


@pytest.mark.parametrize(
    ("language", "file", "argv"),
    [
        ("python", "main.py", ("python", "main.py")),
        ("javascript", "main.js", ("javascript", "main.js")),
        ("bash", "main.sh", ("bash", "main.sh")),
    ],
)
def test_mode_wasm_has_interpreters_by_the_language_s_name(language: Any, file: str, argv: tuple[str, ...]) -> None:
    confinement = Pretended(mode="wasm")
    SandboxExecutor(SandboxConfig(mode="wasm"), confinement).execute(request(language=language))
    assert confinement.commands[0].argv == argv
    assert confinement.files == {file: "print(1)"}


def test_mode_docker_has_images() -> None:
    confinement = Pretended(mode="docker")
    backend = ConfinementBackend(confinement, images={"python": "mine:1"})
    SandboxExecutor(SandboxConfig(), backend).execute(request())
    SandboxExecutor(SandboxConfig(), backend).execute(request(language="go"))
    first, second = confinement.commands
    assert (first.image, first.argv) == ("mine:1", ("python3", "main.py"))
    assert second.image == "golang:1.23"
    assert second.argv[:2] == ("sh", "-c")


def test_a_language_that_nothing_here_runs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    remedies: dict[Language, str] = {
        "go": "install Go",
        "typescript": "Node.js 22.6",
        "rust": "a C linker",
        "javascript": "Node.js",
    }
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    toolchains.toolchain.cache_clear()
    try:
        for language, remedy in remedies.items():
            with pytest.raises(Unsupported) as caught:
                toolchains.toolchain(language)
            assert remedy in caught.value.hint
    finally:
        toolchains.toolchain.cache_clear()
