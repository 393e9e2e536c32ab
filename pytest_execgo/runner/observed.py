"""The run's own view of the kernel: every call is a row of the run's history, before it is made and after it came back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pytest_execgo.client.kernel import KernelClient, KernelRefused, KernelUnreachable, Waited
from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.core.jsonio import digest
from pytest_execgo.observability.history import History

T = TypeVar("T")


class ObservedKernel:
    """A kernel client that keeps the history. A call whose answer never came is `info`: nobody knows whether it was done.

    Those that share `statuses`, the last status seen of each task, tell the same news once.
    """

    def __init__(self, client: KernelClient, history: History, statuses: dict[str, str]) -> None:
        self._client = client
        self._history = history
        self._statuses = statuses

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """POST a task graph."""
        value = {"tasks": [str(task["id"]) for task in tasks]}
        content = digest(list(tasks))
        self._history.client("invoke", "submit", digest=content, value=value)
        accepted = self._told("submit", lambda: self._client.submit(tasks), digest=content, value=value)
        self._history.client("ok", "submit", digest=content, value=value)
        return accepted

    def task(self, task_id: str) -> dict[str, Any]:
        """GET one task's envelope."""
        asked = time.monotonic_ns()
        envelope = self._client.task(task_id)
        self.saw(envelope, asked)
        return envelope

    def wait(self, task_ids: Sequence[str], timeout: float, *, until: Literal["all", "any"] = "all") -> Waited:
        """POST /tasks/wait."""
        asked = time.monotonic_ns()
        answer = self._client.wait(task_ids, timeout, until=until)
        for envelope in answer.tasks:
            self.saw(envelope, asked)
        return answer

    def cancel(self, task_id: str) -> dict[str, Any]:
        """POST /tasks/{id}/cancel."""
        self._history.client("invoke", "cancel", task=task_id)
        envelope = self._told("cancel", lambda: self._client.cancel(task_id), task=task_id)
        self._history.client("ok", "cancel", task=task_id)
        return envelope

    def delete(self, task_id: str) -> None:
        """DELETE one task's record."""
        self._history.client("invoke", "delete", task=task_id)
        self._told("delete", lambda: self._client.delete(task_id), task=task_id)
        self._history.client("ok", "delete", task=task_id)

    def capabilities(self) -> frozenset[str]:
        """Return what the kernel can beyond ExecGo."""
        return self._client.capabilities()

    def health(self) -> dict[str, Any]:
        """GET /health."""
        return self._client.health()

    def saw(self, envelope: Mapping[str, Any], asked_ns: int, *, final: bool = False) -> None:
        """Note what a read that was asked for at `asked_ns` (monotonic) showed; the same again is news only when final."""
        task, status = str(envelope.get("id")), str(envelope.get("status"))
        if self._statuses.get(task) == status and not final:
            return
        self._statuses[task] = status
        runtime = envelope.get("runtime")
        attempt = runtime.get("attempt") if isinstance(runtime, Mapping) else None
        content = digest([status, envelope.get("result"), envelope.get("error")]) if status in TERMINAL else None
        value = {"status": status, "final": final, "invoked_ns": asked_ns}
        self._history.client("ok", "read", task=task, attempt=attempt, digest=content, value=value)

    def _told(self, f: str, call: Callable[[], T], **about: Any) -> T:
        try:
            return call()
        except KernelUnreachable:
            self._history.client("info", f, **about)
            raise
        except KernelRefused as refused:
            # a 5xx is a kernel in trouble, which may have done it or not
            self._history.client("info" if refused.status_code >= 500 else "fail", f, **about)
            raise
