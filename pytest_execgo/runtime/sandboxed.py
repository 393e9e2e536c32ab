"""Tasks in a sandbox: the command line that confines them, and what is laid down for it.

The sandbox is a program of its own, `python -m pytest_execgo.sandbox`: `run` executes code, `exec` confines a command. The keeper
runs it as it runs any command, so that all that is promised of commands holds. What it is told and what it reports are files, by
the name of the task's handle, in a folder that nobody else can read: `H.job` (code and its bounds, or a command's variables) and
`H.report`.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.sandbox import LANGUAGES, MODES, SandboxMode
from pytest_execgo.runtime.fork_servers import BOOT, PACKAGES, ForkServers
from pytest_execgo.runtime.limited import Bounds
from pytest_execgo.runtime.models import Code, Command, Script, TaskRequest

logger = logging.getLogger("pytest_execgo.runtime")
_TRIAL = 60.0  # seconds that it may take to try a mode
SET_UP = 5.0  # seconds that making a sandbox may take beyond the task's own wall limit
_LONGEST = 86_400.0  # seconds that a sandbox takes on
_MIB = 1 << 20
_LEAST_MIB = 8
_CAPTURE = 1 << 20  # bytes of each stream of code, unless its task says otherwise
_NOTE = 256  # bytes beside an output that was cut: the words that say so
_GROWTH = 6  # bytes that one byte of output may become in JSON
_KEPT = ("LANG", "LANGUAGE", "TZ")
_HOME = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - the sandbox's own
_NO_FOLDER = "/work"
_NOT_ROOTS: Mapping[SandboxMode, str] = {
    "docker": "run pytest as an ordinary user who may use the engine: "
    "mode docker runs nothing as root, and root's folders are closed to others",
    "native": "run pytest as an ordinary user: mode native has only Landlock here, which root's folders are closed to",
}
"""Why commands can't work in root's folders, by the mode; no `chmod` would help, since each run makes a folder of its own."""


class NoFolder(Exception):
    """The folder that a task is to work in can't be its sandbox's; the message says why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the keeper starts a sandbox: command line, working folder, environment, and what bounds the sandbox itself."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    bounds: Bounds


def asked_mode(request: TaskRequest, default: SandboxMode) -> SandboxMode | None:
    """Return the sandbox that a task runs in; None for none. Code always has one."""
    if isinstance(request.execution, Code):
        return request.sandbox.mode or default
    return request.sandbox.mode if isinstance(request.execution, Command | Script) else None


def unbounded(request: TaskRequest, mode: SandboxMode) -> dict[str, str]:
    """Return the limits asked for that no sandbox of this mode holds, each with the reason."""
    if request.limits.cpu_time_sec is None or (mode == "native" and not isinstance(request.execution, Code)):
        return {}
    return {"cpu_time_sec": f"nothing bounds it for {request.execution.kind} in mode {mode}; wall_time_ms holds"}


def remove_containers() -> None:
    """Remove the containers of sandboxes that were killed; what can't be removed now is when the next one starts."""
    from pytest_execgo.core.engine.cleanup import remove_leftovers
    from pytest_execgo.core.engine.connection import connect

    try:
        remove_leftovers(connect())
    except Exception:  # whatever the engine's client raises: the task has its end, with or without this
        logger.exception("containers of a sandbox that was killed may be left")


class Sandboxes:
    """The sandboxes of one service. `mode` is that of code which names none, `environment` what the sandbox itself sees.

    `interpreters` are those of mode wasm, `LANGUAGE=FILE` each. With `servers` a command in mode native starts in a fraction of the
    time.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], mode: SandboxMode = "native", interpreters: Sequence[str] = ()
    ) -> None:
        self.folder = folder.absolute()
        self.environment = dict(environment)
        self.mode = mode
        self._interpreters = [part for word in interpreters for part in ("--interpreter", word)]
        self._tried: dict[SandboxMode, str] = {}
        self._tried_folder: dict[SandboxMode, str] = {}
        self._lock = threading.Lock()
        self.servers: ForkServers | None = None

    def problem(self, mode: SandboxMode) -> str:
        """Say why a mode can't be had here, "" when it can. It is tried when it is first asked for; blocks meanwhile."""
        with self._lock:
            if mode not in self._tried:
                self._tried[mode] = self._try(mode)
            return self._tried[mode]

    def describe(self) -> dict[str, Any]:
        """Return what GET /api/v1/runtime/capabilities tells: each mode's state, the one of code that names none, the languages."""
        return {"default_mode": self.mode, "modes": {mode: self.state(mode) for mode in MODES}, "languages": list(LANGUAGES)}

    def state(self, mode: SandboxMode) -> dict[str, Any]:
        """Return whether a mode can be had, and why not."""
        reason = self.problem(mode)
        return {"available": not reason, "reason": reason}

    def command_state(self, mode: SandboxMode) -> dict[str, Any]:
        """Return whether commands that work in folders of this service's user can be run in a mode, and why not."""
        with self._lock:
            if mode not in self._tried_folder:
                self._tried_folder[mode] = self._tried.get(mode) or self._try_folder(mode)
            reason = self._tried_folder[mode]
        return {"available": not reason, "reason": reason}

    def expect(self, mode: SandboxMode) -> None:
        """Be ready for commands in a mode."""
        if self.servers is not None and mode == "native":
            self.servers.client("exec")

    def _try(self, mode: SandboxMode) -> str:
        return self._trial("check", "--mode", mode, *self._interpreters)

    def _try_folder(self, mode: SandboxMode) -> str:
        if mode == "wasm":  # any folder will do, and what it runs is each command's own affair
            return self._try(mode)
        with tempfile.TemporaryDirectory(prefix="execgo-trial-") as name:
            Path(name).chmod(0o755)  # as folders are that plans work in
            said = self._trial("exec", "--mode", mode, "--mount", f"{name}:rw", "--cwd", name, "--", "true")
        return _NOT_ROOTS[mode] if name in said else said  # the trial's own folder means nothing to anybody

    def _trial(self, *words: str) -> str:
        """Run the sandbox's own program; return what it said against it, "" for nothing."""
        command = [sys.executable, "-I", "-c", BOOT, PACKAGES, *words]
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, env=self.environment, timeout=_TRIAL, check=False, cwd="/"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the sandbox can't be tried: {error}"
        answer = (ended.stdout or ended.stderr).decode("utf-8", "replace").removeprefix("sandbox: ")
        said = " ".join(answer.replace("\n  hint: ", "; ").split())
        return "" if ended.returncode == 0 else said[-1000:] or f"the trial ended with exit code {ended.returncode}"

    def prepare(self, handle: str, request: TaskRequest) -> Launch:
        """Write down what a task's sandbox is told. `OSError` when the disk refuses; `NoFolder`."""
        execution, mode = request.execution, asked_mode(request, self.mode)
        assert mode is not None
        job = self._file(handle, "job")
        if isinstance(execution, Code):
            told, bounds = _code_job(handle, request, execution, mode), _code_bounds(request)
            words = ["run", "--enable-native", *self._interpreters, "--document", str(job)]
        else:
            assert isinstance(execution, Command | Script)
            told, bounds = self._variables(execution.env), _command_bounds(request)
            files = ["--env-file", str(job), "--report", str(self._file(handle, "report"))]
            words = ["exec", "--mode", mode, *self._interpreters, *files, *_command_words(request), "--", *execution.argv()]
        self._write(job, told)
        program = [sys.executable, "-I", "-c", BOOT, PACKAGES]
        if self.servers is not None and mode == "native" and bounds.cpu_time_sec is None:  # an rlimit would bound the client alone
            program = self.servers.client("run" if isinstance(execution, Code) else "exec")
        return Launch([*program, *words], str(self.folder), self.environment, bounds)

    def report(self, handle: str) -> dict[str, Any] | None:
        """Return what the sandbox of a command reported; None when it was ended before it could."""
        try:
            report = json.loads(self._file(handle, "report").read_bytes())
        except (OSError, ValueError):
            return None
        return report if isinstance(report, dict) else None

    def forget(self, handle: str) -> None:
        """Remove what is laid down for a task."""
        for kind in ("job", "report"):
            self._file(handle, kind).unlink(missing_ok=True)

    def keep_only(self, handles: Collection[str]) -> None:
        """Remove what is laid down for every other task."""
        for path in self.folder.glob("*.*") if self.folder.is_dir() else ():
            if path.name.partition(".")[0] not in handles:
                path.unlink(missing_ok=True)

    def _variables(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return a command's environment: where things are is another matter inside than outside."""
        kept = {name: value for name, value in self.environment.items() if name in _KEPT or name.startswith("LC_")}
        return {**kept, **_HOME, **own}

    def _file(self, handle: str, kind: str) -> Path:
        return self.folder / f"{handle}.{kind}"

    def _write(self, path: Path, document: Any) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(".part")  # an earlier service's sandbox may be reading the file
        part.write_text(dumps(document), "utf-8")
        part.replace(path)


def _seconds(request: TaskRequest) -> float:
    return min(request.wall_limit_ms() / 1000, _LONGEST)


def _whole_mib(count: int) -> int:
    return max(math.ceil(count / _MIB), _LEAST_MIB)


def _output_bytes(request: TaskRequest) -> int:
    return max(request.limits.stdout_max_bytes, request.limits.stderr_max_bytes)


def _command_words(request: TaskRequest) -> list[str]:
    """Return the options of `exec` that a task's folder, limits and network mean."""
    limits, sandbox, execution = request.limits, request.sandbox, request.execution
    assert isinstance(execution, Command | Script)
    folder = sandbox.folder or execution.cwd
    cwd = execution.cwd or folder or _NO_FOLDER
    if folder and not PurePosixPath(cwd).is_relative_to(folder):
        raise NoFolder(f"the working folder {cwd} does not lie in {folder}, the only one that the sandbox has")
    words = ["--cwd", cwd, "--timeout", f"{_seconds(request):g}", "--output-bytes", str(_output_bytes(request))]
    words += ["--mount", f"{folder}:rw"] if folder else []
    words += ["--memory-mb", str(_whole_mib(limits.memory_bytes))] if limits.memory_bytes is not None else []
    words += ["--processes", str(limits.pids_max)] if limits.pids_max is not None else []
    words += ["--cpu-percent", str(_percent(limits.cpu_cores))] if limits.cpu_cores is not None else []
    if sandbox.network_enabled:
        words += [part for host in sandbox.allowed_hosts for part in ("--allow-host", host)] or ["--network"]
    return words


def _percent(cores: float) -> int:
    return max(math.ceil(cores * 100), 1)


def _code_job(handle: str, request: TaskRequest, code: Code, mode: SandboxMode) -> dict[str, Any]:
    limits, sandbox = request.limits, request.sandbox
    set_by_task = {"stdout_max_bytes", "stderr_max_bytes"} & limits.model_fields_set
    config: dict[str, Any] = {
        "mode": mode,
        "timeout": _seconds(request),
        "max_output_bytes": _output_bytes(request) if set_by_task else _CAPTURE,
        "network_enabled": sandbox.network_enabled,
        "allowed_hosts": sandbox.allowed_hosts,
        "mount_paths": {sandbox.folder: f"{sandbox.folder}:rw"} if sandbox.folder else {},
    }
    if limits.memory_bytes is not None:
        config["max_memory_mb"] = _whole_mib(limits.memory_bytes)
    if limits.pids_max is not None:
        config["max_processes"] = limits.pids_max
    if limits.cpu_cores is not None:
        config["max_cpu_percent"] = _percent(limits.cpu_cores)
    asked = {
        "id": request.task_id or handle,
        "language": code.language,
        "code": code.code,
        "stdin": code.stdin,
        "args": code.args,
        "env_vars": {**code.env, **code.env_vars},
        "files": code.files,
    }
    return {"request": asked, "config": config}


def _code_bounds(request: TaskRequest) -> Bounds:
    """Return the bounds of the process that answers with a result: both streams of the code are in it."""
    most = 2 * _GROWTH * _output_bytes(request) + _MIB
    return Bounds(_seconds(request) + SET_UP, most, _MIB)


def _command_bounds(request: TaskRequest) -> Bounds:
    """Return the bounds of the process that hands on what a command wrote, with a note where the sandbox cut it."""
    limits, most = request.limits, _output_bytes(request)
    out, err = (bound + _NOTE if bound == most else bound for bound in (limits.stdout_max_bytes, limits.stderr_max_bytes))
    return Bounds(_seconds(request) + SET_UP, out, err, cpu_time_sec=limits.cpu_time_sec)
