"""The engine's process, from outside: started with a job, heard line by line, ended for certain."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypedDict

import pytest_execgo
from pytest_execgo.core.head_and_tail import HeadAndTail

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pytest_execgo.sandbox.wasm_engine import main; del sys.path[0]; main()"
)
_CHUNK = 64 * 1024
_LAST_WORDS = 500


class WasmJob(TypedDict):
    """What to run: a module of the host with all that it may have.

    `folders` are host path, guest path, writable. `disk_bytes` bounds what is in the host's folder `own`, and what those that are
    `mounted` for writing grow by, together.
    """

    module: str
    argv: list[str]
    env: dict[str, str]
    folders: list[tuple[str, str, bool]]
    mounted: list[str]
    own: str
    memory_bytes: int
    disk_bytes: int
    cpu_seconds: int


class EngineProcess:
    """A process that runs one module. It has the caller's rights, hence nothing of its environment, and ends with its caller."""

    def __init__(self, job: WasmJob, stdin: bytes, output_bytes: int) -> None:
        """Start it. What the module writes is kept up to `output_bytes` a stream, and the rest counted."""
        self.stdout, self.stderr = HeadAndTail(output_bytes), HeadAndTail(output_bytes)
        self._channel, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(_root()), str(theirs.fileno())],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env={"HOME": _home(), "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        pipes = ((self._process.stdout, self.stdout), (self._process.stderr, self.stderr))
        self._readers = [threading.Thread(target=_drain, args=pair, daemon=True) for pair in pipes]
        for reader in self._readers:
            reader.start()
        self._lines = self._channel.makefile("rb")
        self._job: bytes | None = json.dumps(job).encode() + b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()
        self._lines.close()
        self._channel.close()

    def said(self, timeout: float) -> dict[str, Any] | None:
        """Return the next that the engine says, None when it has ended. `TimeoutError` after `timeout` seconds."""
        self._channel.settimeout(timeout)
        if self._job is not None:
            job, self._job = self._job, None
            try:
                self._channel.sendall(job)
            except (BrokenPipeError, ConnectionResetError):
                return None
        try:
            line = self._lines.readline()
        except ConnectionResetError:
            return None
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def end(self) -> int:
        """End it, if it has not ended by itself, and take what it wrote last. Returns its exit code, -N for signal N."""
        self._process.kill()
        code = self._process.wait()
        for reader in self._readers:
            reader.join()
        return code

    def last_words(self) -> str:
        """End it, and return the end of what it wrote to its standard error."""
        self.end()
        return self.stderr.content()[-_LAST_WORDS:].decode("utf-8", "replace").strip() or "it said nothing"


def _drain(pipe: IO[bytes], kept: HeadAndTail) -> None:
    with pipe:
        while data := pipe.read1(_CHUNK):  # type: ignore[attr-defined]
            kept.feed(data)


def _root() -> Path:
    return Path(pytest_execgo.__file__).parents[1]


def _home() -> str:
    """Return where the user's cache folder is in: compiled modules are kept there."""
    try:
        return str(Path.home())
    except RuntimeError:  # a user without one
        return "/"
