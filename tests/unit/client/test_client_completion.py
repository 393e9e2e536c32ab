"""Told where the kernel can tell, asked otherwise; ended early when the time is over or somebody interrupts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from pytest_execgo.client import completion
from pytest_execgo.client.completion import cancel_all, wait_until_terminal
from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable, Waited
from pytest_execgo.client.wait import TERMINAL
from pytest_execgo.core.errors import ExecGoError

CHAIN: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("b",)}


class FakeKernel:
    """Tasks whose statuses the test scripts: each wait, or else each look, takes the next step of the script."""

    def __init__(self, *capabilities: str, steps: Sequence[dict[str, str] | BaseException] = (), steps_on: str = "wait") -> None:
        self.can = frozenset(capabilities)
        self.steps = list(steps)
        self.steps_on = steps_on
        self.tasks = {task: {"id": task, "status": "pending"} for task in CHAIN}
        self.calls: list[tuple[Any, ...]] = []

    def capabilities(self) -> frozenset[str]:
        return self.can

    def _step(self, on: str) -> bool:
        if on != self.steps_on or not self.steps:
            return False
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        for task, status in step.items():
            self.tasks[task] = {"id": task, "status": status}
        return True

    def task(self, task_id: str) -> dict[str, Any]:
        self.calls.append(("task", task_id))
        self._step("task")
        return dict(self.tasks[task_id])

    def wait(self, task_ids: Sequence[str], timeout: float, *, until: Literal["all", "any"] = "all") -> Waited:
        self.calls.append(("wait", tuple(task_ids), until))
        assert timeout <= 5
        moved = self._step("wait")
        if not moved:
            time.sleep(min(timeout, 0.3))
        known = [dict(self.tasks[task]) for task in task_ids if task in self.tasks]
        return Waited(moved, known, [task for task in task_ids if task not in self.tasks])

    def cancel(self, task_id: str) -> dict[str, Any]:
        self.calls.append(("cancel", task_id))
        if task_id not in self.tasks:
            raise KernelRefused("refused", f"task not found: {task_id}", status_code=404)
        if self.tasks[task_id]["status"] not in TERMINAL:
            self.tasks[task_id] = {"id": task_id, "status": "failed"}
        return dict(self.tasks[task_id])

    def kinds(self) -> list[str]:
        return [call[0] for call in self.calls]


def follow(kernel: FakeKernel, budget: float = 20.0) -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
    sightings: list[tuple[str, str]] = []
    known, late = wait_until_terminal(
        kernel,
        CHAIN,
        budget=budget,
        longest_interval=0.01,
        seen=lambda task, envelope: sightings.append((task, envelope["status"])),
    )
    return {task: envelope["status"] for task, envelope in known.items()}, late, sightings


ALL_WELL = {"a": "success", "b": "success", "c": "success"}


def test_a_kernel_that_can_tell_is_not_polled() -> None:
    kernel = FakeKernel("wait", steps=[{"a": "success", "b": "running"}, {"b": "success", "c": "success"}])
    known, late, sightings = follow(kernel)
    assert (known, late) == (ALL_WELL, [])
    assert kernel.calls == [("wait", ("a", "b", "c"), "all"), ("wait", ("b", "c"), "all")]
    assert sightings == [("a", "success"), ("b", "running"), ("c", "pending"), ("b", "success"), ("c", "success")]


def test_a_kernel_that_cannot_is_polled() -> None:
    kernel = FakeKernel(steps=[{}, {"a": "success"}, ALL_WELL], steps_on="task")
    known, late, sightings = follow(kernel)
    assert (known, late) == (ALL_WELL, [])
    assert set(kernel.kinds()) == {"task"}
    assert {task for task, status in sightings if status == "success"} == set(CHAIN)


def test_once_nothing_moves_the_next_ending_is_waited_for() -> None:
    kernel = FakeKernel("wait", steps=[{"a": "running"}, {}])
    kernel.steps.append(ALL_WELL)
    calls: list[str] = []
    original = kernel.wait

    def slow(task_ids: Sequence[str], timeout: float, *, until: Literal["all", "any"] = "all") -> Waited:
        calls.append(until)
        if len(calls) == 2:  # nothing moves while this one is held
            time.sleep(timeout)
        return original(task_ids, timeout, until=until)

    kernel.wait = slow  # type: ignore[method-assign]
    assert follow(kernel)[0] == ALL_WELL
    assert calls == ["all", "all", "any"]


@pytest.mark.parametrize(
    "loss",
    [
        KernelUnreachable("kernel_unreachable", "reset"),
        KernelRefused("refused", "no such path", status_code=404),
        {},  # answers at once though nothing has happened
    ],
)
def test_a_wait_that_is_lost_is_followed_by_polling(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_BUSY", 5.0)  # "at once" is measured by it
    kernel = FakeKernel("wait", steps=[{"a": "success"}, loss])
    polled = kernel.task

    def task(task_id: str) -> dict[str, Any]:
        kernel.tasks.update({name: {"id": name, "status": "success"} for name in CHAIN})
        return polled(task_id)

    kernel.task = task  # type: ignore[method-assign]
    known, late, sightings = follow(kernel)
    assert (known, late) == (ALL_WELL, [])
    assert kernel.kinds()[:2] == ["wait", "wait"]
    assert set(kernel.kinds()[2:]) == {"task"}
    assert sightings.count(("a", "success")) == 1


def test_a_task_that_nobody_knows_is_refused_in_the_kernels_words() -> None:
    kernel = FakeKernel("wait", "cancel", steps=[{"a": "success"}])
    del kernel.tasks["b"]

    def task(task_id: str) -> dict[str, Any]:
        raise KernelRefused("refused", f"task not found: {task_id}", status_code=404)

    kernel.task = task  # type: ignore[method-assign]
    with pytest.raises(KernelRefused, match="task not found"):
        follow(kernel)


@pytest.mark.parametrize("capabilities", [("cancel",), ("wait", "cancel")])
def test_what_outlives_the_budget_is_cancelled_and_still_late(capabilities: tuple[str, ...]) -> None:
    kernel = FakeKernel(*capabilities)
    kernel.tasks["a"]["status"] = "running"
    known, late, sightings = follow(kernel, budget=0.02)
    assert late == ["a", "b", "c"]
    assert set(known.values()) == {"failed"}
    assert [call for call in kernel.calls if call[0] == "cancel"] == [("cancel", "a"), ("cancel", "b"), ("cancel", "c")]
    assert sightings[-3:] == [("a", "failed"), ("b", "failed"), ("c", "failed")]


def test_without_the_capability_nothing_is_cancelled() -> None:
    kernel = FakeKernel("wait")
    assert follow(kernel, budget=0.02)[1] == ["a", "b", "c"]
    assert "cancel" not in kernel.kinds()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ZeroDivisionError("ours")])
def test_an_interrupted_wait_cancels_what_runs_and_stays_interrupted(interruption: BaseException) -> None:
    kernel = FakeKernel("wait", "cancel", steps=[{"a": "success"}, interruption])
    with pytest.raises(type(interruption)):
        follow(kernel)
    assert [call for call in kernel.calls if call[0] == "cancel"] == [("cancel", "b"), ("cancel", "c")]


@pytest.mark.parametrize(
    "gone",
    [KernelUnreachable("kernel_unreachable", "refused"), KernelRefused("refused", "the kernel is not ready", status_code=503)],
)
def test_the_tasks_of_a_kernel_that_is_gone_or_in_trouble_are_left_alone(gone: ExecGoError) -> None:
    kernel = FakeKernel("cancel", steps=[gone], steps_on="task")
    with pytest.raises(type(gone)) as caught:
        follow(kernel)
    assert caught.value is gone
    assert "cancel" not in kernel.kinds(), "whoever waits may wait on when it is back"


def test_cancelling_passes_over_what_nobody_knows() -> None:
    kernel = FakeKernel("cancel")
    original = kernel.cancel

    def cancel(task_id: str) -> dict[str, Any]:
        if task_id == "a":
            raise KernelRefused("refused", "task not found: a", status_code=404)
        return original(task_id)

    kernel.cancel = cancel  # type: ignore[method-assign]
    assert cancel_all(kernel, ["a", "b"])
    assert kernel.tasks["b"]["status"] == "failed"


@pytest.mark.parametrize(
    "trouble",
    [KernelUnreachable("kernel_unreachable", "timed out"), KernelRefused("refused", "the disk is full", status_code=503)],
)
def test_cancelling_tells_whether_the_kernel_heard_of_it(trouble: ExecGoError) -> None:
    kernel = FakeKernel("cancel")

    def cancel(task_id: str) -> dict[str, Any]:
        raise trouble

    kernel.cancel = cancel  # type: ignore[method-assign]
    assert not cancel_all(kernel, ["a", "b"])


@pytest.mark.parametrize("capabilities", [("cancel",), ("wait", "cancel")])
def test_who_waits_can_be_called_off_between_two_questions(capabilities: tuple[str, ...]) -> None:
    kernel = FakeKernel(*capabilities)
    kernel.tasks["a"]["status"] = "running"
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise RuntimeError("called off")

    with pytest.raises(RuntimeError, match="called off"):
        wait_until_terminal(kernel, CHAIN, budget=60, longest_interval=0.01, seen=lambda task, envelope: None, check=check)
    assert [call for call in kernel.calls if call[0] == "cancel"] == [("cancel", "a"), ("cancel", "b"), ("cancel", "c")]
