"""The planner's side: plans for one framework, one request after the other, until its standard input ends.

Requests are JSON lines (`PlanningRequest`) on standard input. Answers are JSON lines on what was standard output when the process
began: `{"ready": pid}` once the framework is imported, `{"event": {…}}` while it plans, then `{"output": PlannerOutput}` or
`{"error": {"code", "message", "layer", "retryable"}}`. Whatever frameworks print goes to standard error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import queue
import select
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pytest_execgo.adapters.failures import explained
from pytest_execgo.adapters.trace import bounded
from pytest_execgo.core.process_tree import Mark, end_tree
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, PlanningRequest

Say = Callable[[Mapping[str, Any]], None]
Planner = Callable[[PlanningRequest, Say], PlannerOutput]
DUMP_AFTER_S = 0.5
"""How long after a request's deadline the stacks of all threads are written to standard error; before that we are ended."""


class Answers:
    """The pipe to whoever asks; frameworks may speak in any thread."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, **line: Any) -> None:
        """Send one line."""
        with self._lock:
            self._pipe.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._pipe.flush()


def main(framework: str, mark: str, folders: Sequence[str] = ()) -> None:
    """Plan with a framework, or with the planner `module:function`, until there is nobody left to plan for.

    Then all that carries `mark` (`process_tree.Mark`) is ended, and `folders` are removed; whoever ends this process before does
    so himself.
    """
    owner, answers = os.getppid(), Answers()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(owner, requests, mark, folders), name="requests", daemon=True)
    listener.start()
    try:
        planner = _load(framework, answers)
        while True:
            _answer(requests.get(), planner, answers)
    except BrokenPipeError:  # nobody is left to answer: the listener ends this process, once it has removed the folders
        listener.join()


def _listen(owner: int, requests: queue.SimpleQueue[bytes], mark: str, folders: Sequence[str]) -> None:
    """Queue the lines of standard input; when it ends, or its owner does, end this process and all that it started."""
    poll, left = select.poll(), b""
    poll.register(0, select.POLLIN)
    if hasattr(os, "pidfd_open"):  # a fork of the owner may hold the pipe open after it
        with contextlib.suppress(OSError):  # it is gone already, and the pipe has ended
            poll.register(os.pidfd_open(owner), select.POLLIN)
    while {0} == {fd for fd, _ in poll.poll()} and (data := os.read(0, 1 << 16)):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            requests.put(line)
    end_tree(Mark(mark, int(mark, 16)))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _load(framework: str, answers: Answers) -> Planner:
    """Import a planner and, by its module's `prepare`, the framework that it uses; say that it is ready, or why it isn't."""
    try:
        module_name, _, function = framework.partition(":")
        module = importlib.import_module(module_name if function else f"pytest_execgo.adapters.{framework}")
        planner = cast(Planner, getattr(module, function or "plan"))
        prepare = getattr(module, "prepare", None)
        if callable(prepare):
            prepare()
    except BaseException as error:  # even what a framework ends the process with while it is imported
        _tell(error)
        said = f"{framework} can't be used here: {type(error).__name__}: {error}"
        answers.send(error={"code": "adapter_unusable", "message": said, "layer": "adapter", "retryable": False})
        raise SystemExit(1) from None
    answers.send(ready=os.getpid())
    return planner


def _answer(line: bytes, planner: Planner, answers: Answers) -> None:
    request = PlanningRequest.model_validate_json(line)
    over = threading.Event()

    def say(event: Mapping[str, Any]) -> None:
        if not over.is_set():  # a handler in another thread may come too late
            answers.send(event=bounded(event))

    faulthandler.dump_traceback_later(request.deadline_ms / 1000 + DUMP_AFTER_S, exit=False)
    try:
        output = planner(request, say)
        over.set()
        answers.send(output=output.model_dump(mode="json"))
    except Exception as error:  # whatever a framework raises is a planning that failed
        over.set()
        failed = explained(error)
        if failed.layer == "adapter":
            _tell(error)
        answers.send(error=_failure(failed))
    finally:
        faulthandler.cancel_dump_traceback_later()


def _tell(error: BaseException) -> None:
    """Write where an error came from to standard error, of which our parent repeats the last lines."""
    traceback.print_exception(error)
    sys.stderr.flush()


def _failure(failed: PlanningFailed) -> dict[str, Any]:
    return {"code": failed.code, "message": failed.message, "layer": failed.layer, "retryable": failed.retryable}
