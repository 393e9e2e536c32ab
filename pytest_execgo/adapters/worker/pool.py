"""Warm processes in which frameworks plan: one a framework, as a rule, used for one plan after the other."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from pytest_execgo.adapters.worker.process import NoAnswer, WorkerProcess
from pytest_execgo.plan.adapter import Said
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, PlanningRequest

GRACE_S = 2.0
"""How long after a deadline a process may still answer: a planner that waited for its model to the end says so itself."""


class WorkerPool:
    """Lends processes to plan in; any thread may plan. Used as a context manager, or closed; at the latest when Python ends.

    `environ` is the environment of which a few harmless variables are handed on. Processes are started when they are needed, or
    by `start`; they end with the pool, and with the process that has it, however that ends.
    """

    def __init__(self, environ: Mapping[str, str], *, folder: Path | None = None, grace_s: float = GRACE_S) -> None:
        self._environ = dict(environ)
        self._folder = folder
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._idle: dict[str, list[WorkerProcess]] = {}
        self._all: set[WorkerProcess] = set()
        self._closed = False
        self._finish = weakref.finalize(self, _end_all, self._all)

    def start(self, framework: str) -> None:
        """Start a process for a framework if none waits, so that it imports the framework while others do something else."""
        with self._lock:
            if not self._idle.get(framework):
                self._idle.setdefault(framework, []).append(self._new(framework))

    def plan(self, framework: str, request: PlanningRequest, on_event: Said) -> PlannerOutput:
        """Let a framework plan, or the planner `module:function`, and return what it gave; `on_event` is told what is said.

        `PlanningFailed` when nothing came of it: what the planner says, or of layer `adapter`: `adapter_crashed` when its process
        ended, `adapter_hung` when it did not answer within the request's deadline, `adapter_unusable` when the framework
        can't be imported. The next request gets a fresh process then.
        """
        end = time.monotonic() + request.deadline_ms / 1000
        worker = self._take(framework)
        try:
            answer = worker.await_ready(end + self._grace_s)
            if answer is None:
                left = request.model_copy(update={"deadline_ms": max(0, int((end - time.monotonic()) * 1000))})
                answer = worker.ask(left.model_dump_json().encode() + b"\n", on_event, end + self._grace_s)
            output = _output(worker, answer)
        except NoAnswer:
            worker.end()
            said = f"{framework} did not answer within {request.deadline_ms} ms and was ended{worker.tail()}"
            self._drop(worker)
            raise PlanningFailed("adapter_hung", said, layer="adapter", retryable=True) from None
        except PlanningFailed as failed:
            if failed.layer == "planner":
                self._give_back(framework, worker)
                raise
            self._drop(worker)
            raise
        except BaseException:
            self._drop(worker)
            raise
        self._give_back(framework, worker)
        return output

    def pids(self) -> list[int]:
        """Return the pids of the processes that there are; each leads a process group."""
        with self._lock:
            return [worker.pid for worker in self._all]

    def close(self) -> None:
        """End every process. Safe to call twice; afterwards nothing is planned."""
        with self._lock:
            self._closed = True
            self._idle.clear()
        self._finish()

    def _take(self, framework: str) -> WorkerProcess:
        with self._lock:
            idle = self._idle.get(framework, [])
            while idle:
                worker = idle.pop()
                if worker.alive or not worker.ready:  # one that died before it was ready has something to say
                    return worker
                worker.discard()
                self._all.discard(worker)
            return self._new(framework)

    def _new(self, framework: str) -> WorkerProcess:
        if self._closed:
            raise PlanningFailed("adapter_unusable", "the pool of planners' processes is closed", layer="adapter")
        worker = WorkerProcess(framework, self._environ, self._folder)
        self._all.add(worker)
        return worker

    def _give_back(self, framework: str, worker: WorkerProcess) -> None:
        with self._lock:
            if not self._closed:
                self._idle.setdefault(framework, []).append(worker)

    def _drop(self, worker: WorkerProcess) -> None:
        worker.discard()
        with self._lock:
            self._all.discard(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _output(worker: WorkerProcess, answer: Mapping[str, Any]) -> PlannerOutput:
    error = answer.get("error")
    if isinstance(error, Mapping):
        code, message = str(error.get("code", "adapter_crashed")), str(error.get("message", ""))
        retryable = error.get("retryable") is True
        if error.get("layer") == "planner":
            raise PlanningFailed(code, message, retryable=retryable)
        raise PlanningFailed(code, message + worker.tail(), layer="adapter", retryable=retryable)
    try:
        return PlannerOutput.model_validate(answer.get("output"))
    except ValidationError as problem:
        said = f"the planner's process of {worker.framework} answered what is no PlannerOutput: {problem.errors()[0]['msg']}"
        raise PlanningFailed("adapter_crashed", said, layer="adapter") from problem


def _end_all(workers: set[WorkerProcess]) -> None:
    while workers:
        workers.pop().discard()
