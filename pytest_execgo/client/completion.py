"""Following submitted tasks to their end: told by the kernel where it can tell, else by asking; and ending them early.

A kernel with the capability `wait` holds its answer until something ends. While a graph is busy the answer is wanted for all
of its tasks at once, a few times a second; once nothing has moved for that long, the next ending alone is waited for. A
kernel without it, or one that loses such a wait, is polled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, Protocol

from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable, Waited
from pytest_execgo.client.wait import TaskSource, Watch, poll

_BUSY = 0.25  # seconds that an answer about all tasks is held at most
_IDLE = 2.0  # seconds that an answer about the next ending is held at most
_BATCH = 1000  # ids in one request
_CANCEL_PATIENCE = 5.0  # seconds that cancelled tasks may take to end


class Kernel(TaskSource, Protocol):
    """A kernel that may have the control extensions."""

    def capabilities(self) -> frozenset[str]:
        """Return what it can beyond ExecGo."""

    def wait(self, task_ids: Sequence[str], timeout: float, *, until: Literal["all", "any"] = "all") -> Waited:
        """Return when the tasks have ended, or after `timeout` seconds."""

    def cancel(self, task_id: str) -> dict[str, Any]:
        """End a task; return its envelope."""


def wait_until_terminal(
    kernel: Kernel,
    tasks: Mapping[str, tuple[str, ...]],
    *,
    budget: float,
    longest_interval: float,
    seen: Callable[[str, dict[str, Any]], None],
    check: Callable[[], None] = lambda: None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Wait until every task is terminal or `budget` seconds have passed; arguments and answer are those of `wait_for`.

    `check` is called before each question, and may raise to interrupt the waiting.

    What has not ended by then, or when this call is interrupted, is cancelled if the kernel can do that. Tasks that were
    cancelled count among those that are not terminal in time, though their last envelopes are then known. When the kernel
    can't be reached any more, or is in trouble, its tasks are left alone: `KernelUnreachable`, or `KernelRefused` with a 5xx,
    and the call may be repeated.
    """
    watch = Watch(kernel, tasks, seen, check)
    deadline = time.monotonic() + budget
    try:
        with suppress(KernelUnreachable, KernelRefused):  # whatever it is, polling gets through or says so
            if "wait" in kernel.capabilities():
                _be_told(kernel, watch, deadline)
        if watch.open:
            poll(watch, deadline=deadline, longest_interval=longest_interval)
    except BaseException as error:
        if not _may_pass(error):
            cancel_all(kernel, watch.open)
        raise
    late = list(watch.open)
    with suppress(KernelUnreachable, KernelRefused):  # the stage is over its budget, and fails as that
        if late and "cancel" in kernel.capabilities():
            _cancel(kernel, watch)
    return watch.known, late


def cancel_all(kernel: Kernel, task_ids: Iterable[str]) -> bool:
    """Cancel tasks, if the kernel can do that and can be reached; those that it doesn't know are passed over.

    Returns whether it heard of all of them, as far as it can cancel.
    """
    heard = True
    try:
        for task_id in list(task_ids) if "cancel" in kernel.capabilities() else []:
            try:
                kernel.cancel(task_id)
            except KernelRefused as refused:
                heard = heard and not _may_pass(refused)
    except KernelUnreachable:
        return False
    return heard


def _may_pass(error: BaseException) -> bool:
    """Tell whether a call may get through when it is repeated."""
    return isinstance(error, KernelUnreachable) or (isinstance(error, KernelRefused) and error.status_code >= 500)


def _be_told(kernel: Kernel, watch: Watch, deadline: float) -> None:
    busy = True
    while watch.open:
        watch.check()
        now = time.monotonic()
        if now >= deadline:
            return
        until: Literal["all", "any"] = "all" if busy else "any"
        seconds = min(_BUSY if busy else _IDLE, deadline - now)
        answer = kernel.wait(list(islice(watch.open, _BATCH)), seconds, until=until)
        busy = False
        for envelope in answer.tasks:
            if (task := str(envelope.get("id"))) in watch.tasks:
                busy = watch.note(task, envelope) or busy
        for task in answer.missing:
            watch.look(task)  # refused with the kernel's own words
        if not busy and time.monotonic() - now < seconds / 2:
            raise KernelRefused("bad_answer", "POST /tasks/wait: answered before its time")  # it stops, or it can't wait


def _cancel(kernel: Kernel, watch: Watch) -> None:
    """Cancel what is open, parents first, and take the last envelopes, as far as they come soon."""
    for task in list(watch.open):
        with suppress(KernelRefused):  # nobody knows it any more
            watch.note(task, kernel.cancel(task))
    deadline = time.monotonic() + _CANCEL_PATIENCE
    if "wait" in kernel.capabilities():
        _be_told(kernel, watch, deadline)
    else:
        poll(watch, deadline=deadline, longest_interval=_BUSY)
