"""WebAssembly as a sandbox: a WASI module sees the folders that it is given, and nothing else there is.

It needs no rights and no feature of the system, so it works wherever `wasmtime` does. It runs WASI commands (`.wasm` files that
export `_start`), and languages whose interpreter is such a file and is given; nothing else, and it says so.
"""

from __future__ import annotations

import math
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pytest_execgo.core.containment.work_copy import copy
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.core.optional import installed
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, Mount, SandboxMode
from pytest_execgo.sandbox.limit_words import limit_in_words
from pytest_execgo.sandbox.private_folder import private_folder
from pytest_execgo.sandbox.wasm_gate import used
from pytest_execgo.sandbox.wasm_process import EngineProcess, WasmJob

_PREPARATION = 120.0
"""Seconds that starting the engine and compiling a module may take; the command's own time begins after that."""
_INSTALL = "pip install 'pytest-execgo[wasm]'"
_DOCUMENTED = "docs/sandbox.md says where interpreters can be had"
_NOTHING = bytes.fromhex("0061736d01000000010401600000030201000503010001071302066d656d6f72790200065f737461727400000a040102000b")
"""A module that does nothing: what `problem` tries."""


class WasmConfinement:
    """Runs WASI modules in `wasmtime`, each in a process of its own (needs the extra `wasm`).

    A module is named by `argv[0]`: a `.wasm` file inside (relative to `cwd`, or absolute), or the name of one of `interpreters`,
    which maps such names (`python`, `javascript`) to `.wasm` files of the host. There is no network at all, no process to start,
    one thread, and a memory that does not grow beyond the limit: the module is told so, and it is for the module to end then.
    A full disk is an error to the module, too; it counts the work folder, `/tmp` and what mounts grow by together. `cpu_cores`
    below 1 bounds processor time to that share of the timeout.
    """

    mode: SandboxMode = "wasm"

    def __init__(self, interpreters: Mapping[str, Path] | None = None) -> None:
        self._interpreters = dict(interpreters or {})
        self._lock = threading.Lock()
        self._tried = False
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Say why no module can be run here, and what to do about it; None when one was. Tried once."""
        with self._lock:
            if not self._tried:
                self._problem = self._try()
                self._tried = True
            return self._problem

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        """Run one WASI module to its end. `SandboxError` when it, or its interpreter, can't be had, or it asks for a network."""
        if not installed("wasmtime"):
            raise SandboxError("wasmtime_missing", "mode wasm needs the package wasmtime", _INSTALL)
        if command.hosts is not None:
            raise SandboxError("no_network_in_wasm", "mode wasm has no network", "use another mode, or leave the network off")
        with private_folder() as own, EngineProcess(self._job(command, own), command.stdin, command.output_bytes) as engine:
            first = engine.said(_PREPARATION)
            if first is None or "refused" in first:
                why = first["refused"] if first else f"the engine ended before it could start it: {engine.last_words()}"
                raise SandboxError("wasm_refused", f"{command.argv[0]} can't be run in mode wasm: {why}", _DOCUMENTED)
            started = time.monotonic()
            try:
                last = engine.said(command.timeout)
            except TimeoutError:
                last = {"exit_code": -signal.SIGKILL, "limit": "timeout"}
            duration = time.monotonic() - started
            code = engine.end()
            if last is None:  # the engine died
                last = {"exit_code": code, "limit": "timeout" if code == -signal.SIGXCPU else None}
            said = engine.stderr.content()
            return ConfinedEnd(
                exit_code=last["exit_code"],
                stdout=engine.stdout.content(),
                stderr=said,
                duration=duration,
                truncated=engine.stdout.truncated or engine.stderr.truncated,
                limit=last["limit"] or (limit_in_words(said) if last["exit_code"] else None),
                memory_used_bytes=last.get("memory_used_bytes"),
            )

    def cleanup(self) -> None:
        """Do nothing: a run leaves nothing."""

    def _try(self) -> str | None:
        for name, path in self._interpreters.items():
            if not path.is_file():
                return f"mode wasm has no interpreter for {name}: there is no file {path} ({_DOCUMENTED})"
        with tempfile.TemporaryDirectory(prefix="execgo-wasm-") as folder:
            Path(folder, "nothing.wasm").write_bytes(_NOTHING)
            try:
                end = self.run(
                    ConfinedCommand(
                        argv=("nothing.wasm",),
                        cwd="/try",
                        timeout=_PREPARATION,
                        memory_bytes=1 << 20,
                        cpu_cores=1,
                        disk_bytes=1 << 20,
                        processes=1,
                        output_bytes=4096,
                        mounts=(Mount(Path(folder), "/try"),),
                    )
                )
            except SandboxError as error:
                return f"{error.message} ({error.hint})"
        return None if end.exit_code == 0 else f"mode wasm does not work here: wasmtime ended with {end.exit_code}"

    def _job(self, command: ConfinedCommand, own: Path) -> WasmJob:
        """Return what the engine is told; `own` is a folder for what the command may change of what is not mounted."""
        (own / "tmp").mkdir()
        folders = [*command.mounts, Mount(own / "tmp", "/tmp", writable=True)]  # noqa: S108 - the module's
        if command.work:
            copy(str(command.work), str(own / "work"))
            if used(str(own / "work")) > command.disk_bytes:
                raise SandboxError("files_too_large", f"its files take more than the {command.disk_bytes} bytes of its disk")
            folders.insert(0, Mount(own / "work", command.cwd, writable=True))
        here = _host_path(command.cwd, folders)
        if here is None:
            raise SandboxError("no_working_folder", f"the working folder {command.cwd} is in no folder that the command has")
        home, path = here
        seen = [(str(one.source.resolve()), one.target, one.writable) for one in folders]
        return WasmJob(
            module=str(self._module(command, folders)),
            argv=list(command.argv),
            env=dict(command.env),
            folders=[*seen, (str(path), ".", home.writable)],  # what WASI takes relative paths to be in
            mounted=[str(one.source.resolve()) for one in command.mounts if one.writable],
            own=str(own),
            memory_bytes=command.memory_bytes,
            disk_bytes=command.disk_bytes,
            cpu_seconds=math.ceil(command.timeout * min(1.0, command.cpu_cores)),
        )

    def _module(self, command: ConfinedCommand, folders: list[Mount]) -> Path:
        program = command.argv[0]
        given = self._interpreters.get(program)
        if given is not None and given.is_file():
            return given.resolve()
        if given is not None or not program.endswith(".wasm"):
            missing = f"mode wasm has no interpreter for {program}" + (f": there is no file {given}" if given else "")
            give = f'give one that is a WASI module: interpreters={{"{program}": Path("{program}.wasm")}}; {_DOCUMENTED}'
            raise SandboxError("no_wasm_interpreter", missing, give)
        found = _host_path(str(PurePosixPath(command.cwd, program)), folders)
        if found is None or not found[1].is_file():
            raise SandboxError("no_such_module", f"there is no file {program} in the sandbox", "argv[0] is a path inside of it")
        return found[1]


def _host_path(inside: str, folders: list[Mount]) -> tuple[Mount, Path] | None:
    """Return which folder a path inside lies in, and what it is on the host; None when that is in no folder, or leads out of it."""
    path = PurePosixPath(inside)
    for folder in sorted(folders, key=lambda one: len(PurePosixPath(one.target).parts), reverse=True):
        if path.is_relative_to(folder.target):
            root = folder.source.resolve()
            real = (root / path.relative_to(folder.target)).resolve()
            return (folder, real) if real.is_relative_to(root) else None
    return None
