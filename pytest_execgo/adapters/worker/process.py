"""One planner's process, as its parent has it: started with little, asked with a deadline, ended with all that it started."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytest_execgo.adapters.worker.environment import worker_environment
from pytest_execgo.core.jsonio import loads
from pytest_execgo.core.process import kill_group
from pytest_execgo.core.process_tree import Mark, end_tree, spawn
from pytest_execgo.plan.planning import PlanningFailed

LONGEST_LINE = 64 << 20  # bytes of one answer
_TAIL_LINES = 12
_TAIL_BYTES = 16_384
_CHUNK = 1 << 16
_COMMAND = (sys.executable, "-P", "-m", "pytest_execgo.adapters.worker")
_MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own is made in it


class NoAnswer(Exception):
    """The process did not answer in time."""


class WorkerProcess:
    """A process that plans with one framework. It is good for one request at a time, until something goes wrong.

    `folder` is where it gets a folder of its own (None: the system's folder for temporary files); its standard error is
    there, too. It removes its folders itself when its owner is killed.
    """

    def __init__(self, framework: str, environ: Mapping[str, str], folder: Path | None) -> None:
        self.framework = framework
        self.ready = False
        self._busy = self._over = False
        self._mark = Mark.new()
        self._folder = Path(tempfile.mkdtemp(prefix="execgo-planner-", dir=folder))
        self._log = self._folder / "stderr.log"
        self._read: list[bytes] = []
        self._storage = Path(tempfile.mkdtemp(prefix="execgo-planner-", dir=_in_memory() or self._folder))
        work = self._folder / "work"
        work.mkdir()
        try:
            with self._log.open("ab") as errors:
                self._process = spawn(
                    [*_COMMAND, framework, self._mark.text, str(self._folder), str(self._storage)],
                    self._mark,
                    worker_environment(environ, self._folder, self._storage),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=work,
                    bufsize=0,
                )
        except BaseException:
            self._clear()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)

    @property
    def pid(self) -> int:
        """Its pid, which is its process group's, too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def await_ready(self, deadline: float) -> dict[str, Any] | None:
        """Return None once the framework is imported, or the `{"error": …}` that says why it can't be; raises as `ask` does."""
        return None if self.ready else self._converse(b"", lambda event: None, deadline)

    def ask(self, request: bytes, on_event: Callable[[Mapping[str, Any]], None], deadline: float) -> dict[str, Any]:
        """Send a request (one JSON line) and return the line that ends its answer: `{"output": …}` or `{"error": …}`.

        `NoAnswer` when there is none before `deadline` (of `time.monotonic()`); `PlanningFailed` (`adapter_crashed`,
        `adapter_unusable`) when the process ended before, or said what it must not. Whatever is raised, it can't be asked again.
        """
        with self._log.open("r+b") as log:
            log.truncate()  # the last lines shall be of this request
        answer = self._converse(request, on_event, deadline)
        if answer is None:
            raise self._crashed("said twice that it is ready")
        return answer

    def _converse(self, request: bytes, on_event: Callable[[Mapping[str, Any]], None], deadline: float) -> dict[str, Any] | None:
        """Send, and receive until an answer is there; None for being ready."""
        self._busy = True
        try:
            return self._exchange(memoryview(request), on_event, deadline)
        finally:
            self._busy = False

    def _exchange(
        self, unsent: memoryview, on_event: Callable[[Mapping[str, Any]], None], deadline: float
    ) -> dict[str, Any] | None:
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if unsent:
            poll.register(self._requests, select.POLLOUT)
        while True:
            found = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if not found:
                raise NoAnswer
            if self._requests in found:
                unsent = self._send(unsent)
                if not unsent:
                    poll.unregister(self._requests)
            for line in self._receive() if self._answers in found else ():
                if isinstance(event := line.get("event"), dict):
                    on_event(event)
                elif "ready" in line:
                    self.ready = True
                    return None
                else:
                    return line

    def _send(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(self._requests, unsent) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError:  # it ends; what it said last is still to be read
            return unsent[:0]

    def _receive(self) -> list[dict[str, Any]]:
        """Take the lines that have come."""
        data = os.read(self._answers, _CHUNK)
        if not data:
            raise self._ended()
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._read, lines[0]])
            self._read.clear()
        self._read.append(rest)
        if sum(map(len, self._read)) > LONGEST_LINE:
            raise self._crashed(f"answered more than {LONGEST_LINE} bytes")
        return [self._parsed(line) for line in lines]

    def _parsed(self, text: bytes) -> dict[str, Any]:
        try:
            line = loads(text)
        except ValueError as error:
            raise self._crashed(f"answered what is no JSON ({error})") from error
        if not isinstance(line, dict):
            raise self._crashed("answered what is no JSON object")
        return line

    def _ended(self) -> PlanningFailed:
        """Say how it ended; one that ended by itself before it was ready never will be."""
        self.end()
        code = self._process.wait()  # another thread may be ending it, too
        how = f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        if code >= 0 and not self.ready:
            said = f"the planner's process of {self.framework} {how} before it was ready{self.tail()}"
            return PlanningFailed("adapter_unusable", said, layer="adapter")
        return self._crashed(how)

    def _crashed(self, how: str) -> PlanningFailed:
        said = f"the planner's process of {self.framework} {how}{self.tail()}"
        return PlanningFailed("adapter_crashed", said, layer="adapter", retryable=True)

    def tail(self) -> str:
        """Return what it wrote to standard error last, to be put behind a message; nothing if that is nothing."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return "; its last lines:\n" + "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) if lines else ""

    def end(self) -> None:
        """SIGKILL it and all that it started; its folder stays. Safe to call twice, from any thread."""
        if self._over:
            return
        self._over = True
        there = self._process.returncode is None  # else its pid may be somebody else's by now
        if there:
            kill_group(self.pid)
        end_tree(self._mark, self.pid if there else None)
        self._process.wait()

    def discard(self) -> None:
        """End it, remove its folders and close its pipes; a thread that reads them closes them itself, by discarding again."""
        self.end()
        self._clear()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not self._busy:
                pipe.close()

    def _clear(self) -> None:
        for folder in (self._storage, self._folder):
            shutil.rmtree(folder, ignore_errors=True)


def _in_memory() -> str | None:
    """Return the folder for files that are never written to a disk; a crew's database syncs eight times for each plan."""
    return _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
