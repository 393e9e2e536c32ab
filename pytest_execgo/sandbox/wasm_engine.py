"""The process that a WASI module runs in. It is told what to run through a socket, and tells there how that ended.

One line of JSON in (`WasmJob`), two out: `{"ready": true}` where the module is compiled and bound, `{"exit_code": …}` at its end;
or `{"refused": …}` instead of either. When the other end of the socket is closed, whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, NoReturn

import wasmtime

from pytest_execgo.sandbox.wasm_gate import GATED, WASI, DiskBudget, back, front
from pytest_execgo.sandbox.wasm_process import WasmJob

_PAGE = 65536
_LOADING_MEMORY = 4 << 30  # bytes, beyond the module's own memory, that compiling may take: a bound, not a need
_TABLE_ELEMENTS = 1_000_000
_ABORTED = -6  # as SIGABRT: what a trap is to a module


class _Refused(Exception):
    """The module can't be run at all."""


class _Ended(Exception):
    """The module has asked to be ended with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> NoReturn:
    """Do what the socket says whose descriptor is the last argument."""
    channel = socket.socket(fileno=int(sys.argv[-1]))
    job: WasmJob = json.loads(channel.makefile("rb").readline())
    threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = job["memory_bytes"] + _LOADING_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    say = partial(_say, channel)
    try:
        say(_run(job, lambda: say({"ready": True})))
    except _Refused as error:
        say({"refused": str(error)})
    os._exit(0)  # nothing is worth tidying up


def _say(channel: socket.socket, what: dict[str, Any]) -> None:
    channel.sendall(json.dumps(what).encode() + b"\n")


def _end_with(channel: socket.socket) -> None:
    channel.recv(1)
    os._exit(1)


def _run(job: WasmJob, ready: Callable[[], None]) -> dict[str, Any]:
    engine, module = _load(job["module"])
    least = _least_memory(module)
    if least > job["memory_bytes"]:
        ready()
        return {"exit_code": _ABORTED, "limit": "memory", "memory_used_bytes": 0}
    budget = DiskBudget(job["own"], job["disk_bytes"], job["mounted"])
    store = wasmtime.Store(engine)
    store.set_wasi(_surroundings(job))
    store.set_limits(memory_size=job["memory_bytes"], table_elements=_TABLE_ELEMENTS, instances=3, tables=64, memories=1)
    try:
        exports = _instantiate(engine, store, module, budget)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise _Refused(f"it can't be instantiated: {error}") from error
    start, memory = exports.get("_start"), exports.get("memory")
    if not isinstance(start, wasmtime.Func):
        raise _Refused("it is no WASI command: it exports no function _start")
    ready()
    _bound_processor(job["cpu_seconds"])
    code = _start(store, start)
    return {
        "exit_code": code,
        "limit": "disk" if code and budget.exhausted else None,
        "memory_used_bytes": memory.data_len(store) if isinstance(memory, wasmtime.Memory) else None,
    }


def _load(path: str) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Compile a module, or take what was compiled of it before from wasmtime's cache in the user's cache folder."""
    config = wasmtime.Config()
    try:
        config.cache = True
    except wasmtime.WasmtimeError:  # there is no place for one: the same, only slower
        config = wasmtime.Config()
    engine = wasmtime.Engine(config)
    try:
        return engine, wasmtime.Module.from_file(engine, path)
    except (wasmtime.WasmtimeError, OSError) as error:
        raise _Refused(f"it is no WebAssembly module that wasmtime {_version()} runs: {error}") from error


def _version() -> str:
    return version("wasmtime")


def _least_memory(module: wasmtime.Module) -> int:
    types = [*(one.type for one in module.exports), *(one.type for one in module.imports)]
    return max((one.limits.min * _PAGE for one in types if isinstance(one, wasmtime.MemoryType)), default=0)


def _surroundings(job: WasmJob) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    wasi.argv = job["argv"]
    wasi.env = list(job["env"].items())
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    for host, guest, writable in job["folders"]:
        try:
            wasi.preopen_dir(host, guest, fs_mutable=writable)
        except (wasmtime.WasmtimeError, TypeError) as error:  # TypeError: an older wasmtime
            raise _Refused(f"wasmtime {_version()} can't give it the folder {guest}: {error}") from error
    return wasi


def _instantiate(
    engine: wasmtime.Engine, store: wasmtime.Store, module: wasmtime.Module, budget: DiskBudget
) -> Mapping[str, object]:
    """Bind the module to WASI, with the gates of `wasm_gate` before what takes disk."""
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    real = {name: function for name in GATED if isinstance(function := linker.get(store, WASI, name), wasmtime.Func)}
    types = {name: function.type(store) for name, function in real.items()}
    signatures = {name: [str(parameter) for parameter in one.params] for name, one in types.items()}
    before = linker.instantiate(store, wasmtime.Module(engine, front(signatures))).exports(store)
    linker.allow_shadowing = True
    linker.define_func(WASI, "proc_exit", wasmtime.FuncType([wasmtime.ValType.i32()], []), _exit)
    for name in GATED:
        linker.define(store, WASI, name, before[name])
    exports = linker.instantiate(store, module).exports(store)
    memory = exports.get("memory")
    if isinstance(memory, wasmtime.Memory):  # without one no call of WASI gets anywhere, nor through the empty gates
        behind = wasmtime.Linker(engine)
        behind.define(store, "guest", "memory", memory)
        behind.define(store, "front", "gates", before["gates"])
        for name, function in real.items():
            behind.define(store, WASI, name, function)
            behind.define_func("may", name, types[name], _asking(budget, name, memory), access_caller=True)
        behind.instantiate(store, wasmtime.Module(engine, back(signatures)))
    return exports


def _exit(code: int) -> NoReturn:
    """End the module with any exit code: wasmtime's own takes those from 126 on for a mistake."""
    raise _Ended(code & 0xFF)


def _asking(budget: DiskBudget, name: str, memory: wasmtime.Memory) -> Callable[..., int]:
    def may(caller: wasmtime.Caller, *arguments: int) -> int:
        return budget.admit(name, arguments, _GuestMemory(memory, caller))

    return may


class _GuestMemory:
    def __init__(self, memory: wasmtime.Memory, caller: wasmtime.Caller) -> None:
        self._memory = memory
        self._caller = caller

    def read(self, start: int, size: int) -> bytes:
        there = bytes(self._memory.read(self._caller, start, start + size))
        return there[: len(there) & ~7]


def _bound_processor(seconds: int) -> None:
    """Let SIGXCPU end this process after `seconds` of processor time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    last = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (last, last + 1))


def _start(store: wasmtime.Store, start: wasmtime.Func) -> int:
    try:
        start(store)
    except _Ended as end:
        return end.code
    except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
        os.write(2, f"{error}\n".encode())
        return _ABORTED
    return 0
