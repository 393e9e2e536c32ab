"""The engine and the store, without commands: order, queue, kill, waiting, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.capacity import Capacity
from pytest_execgo.runtime.engine import Engine
from pytest_execgo.runtime.keeper_records import EndRecord, Reason
from pytest_execgo.runtime.models import parse_task
from pytest_execgo.runtime.store import MemoryStore
from pytest_execgo.runtime.tasks import Outcome, Status, TaskRecord, rfc3339


def task(task_id: str = "", kind: str = "emit", **fields: Any) -> Any:
    return parse_task({"task_id": task_id, "execution": {"kind": kind, **fields}})


class NoCommands:
    """A runner that must not be asked to run anything."""

    groups: frozenset[str] = frozenset()
    pid = 0

    async def connect(self, wanted: Callable[[], set[str]] | None = None) -> None: ...

    async def run(self, *_: Any) -> EndRecord:
        raise AssertionError("a command was started")

    def kill(self, handle: str, reason: Reason) -> None: ...

    def forget(self, handle: str) -> None: ...

    async def stop(self, reason: Reason) -> None: ...


def run(scenario: Callable[[Engine], Awaitable[None]], concurrency: int = 1, queue: int = 10) -> None:
    async def bounded() -> None:
        engine = Engine(MemoryStore(), NoCommands(), Capacity(concurrency, queue), {})
        async with asyncio.timeout(30):
            await scenario(engine)
            await engine.close()
        assert not engine.running
        assert not engine.waiting

    asyncio.run(bounded())


def test_tasks_start_in_the_order_of_their_acceptance() -> None:
    async def scenario(engine: Engine) -> None:
        records = [await engine.submit(task(kind="sleep", duration_ms=1), b"{}") for _ in range(5)]
        assert len(engine.running) == 1
        for record in records:
            await engine.wait(record, 20)
        starts = [record.started_ns for record in records]
        assert starts == sorted(starts)
        assert all(record.status is Status.SUCCESS for record in records)
        ends = [record.finished_ns for record in records]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))  # one at a time

    run(scenario)


def test_a_full_queue_refuses_and_a_known_id_is_a_conflict() -> None:
    async def scenario(engine: Engine) -> None:
        running = await engine.submit(task("a", "sleep", duration_ms=60_000), b"{}")
        await engine.submit(task("b"), b"{}")
        with pytest.raises(HttpError) as full:
            await engine.submit(task("c"), b"{}")
        assert (full.value.status, full.value.code) == (429, "queue_full")
        assert engine.store.find("c") is None
        for known in ("a", "b", running.handle_id):
            with pytest.raises(HttpError) as conflict:
                await engine.submit(task(known), b"{}")
            assert (conflict.value.status, conflict.value.code) == (409, "conflict")

    run(scenario, queue=1)


def test_killing_ends_running_and_waiting_tasks_and_no_finished_one() -> None:
    async def scenario(engine: Engine) -> None:
        first = await engine.submit(task(kind="sleep", duration_ms=60_000), b"{}")
        second = await engine.submit(task(), b"{}")
        engine.kill(second)
        await engine.wait(second, 20)
        assert second.status is Status.CANCELLED
        assert second.shown()["duration_ms"] == 0
        assert "started_at" not in second.shown()
        engine.kill(first)
        await engine.wait(first, 20)
        before = first.shown()
        assert before["error"]["code"] == "cancelled"
        engine.kill(first)
        assert first.shown() == before
        assert [event.type for event in first.events] == ["accepted", "started", "cancel_requested", "finished"]
        third = await engine.submit(task(payload=[1]), b"{}")
        await engine.wait(third, 20)
        assert third.shown()["output"] == [1]

    run(scenario)


def test_waiting_ends_with_the_task_or_with_the_time() -> None:
    async def scenario(engine: Engine) -> None:
        slow = await engine.submit(task(kind="sleep", duration_ms=60_000), b"{}")
        await engine.wait(slow, 0.01)
        assert slow.shown()["status"] == "running"
        waiters = [asyncio.create_task(engine.wait(slow, 60)) for _ in range(3)]
        await asyncio.sleep(0)
        engine.kill(slow)
        await asyncio.gather(*waiters)
        assert slow.status is Status.CANCELLED

    run(scenario)


def test_a_stop_ends_everything_and_takes_nothing_more() -> None:
    async def scenario(engine: Engine) -> None:
        records = [await engine.submit(task(kind="sleep", duration_ms=60_000), b"{}") for _ in range(3)]
        await engine.close()
        errors = [record.shown()["error"] for record in records]
        assert {error["code"] for error in errors} == {"cancelled"}
        assert all(error["retryable"] for error in errors)
        with pytest.raises(HttpError) as refused:
            await engine.submit(task(), b"{}")
        assert refused.value.status == 503

    run(scenario)


@pytest.mark.parametrize("kind", ["sleep", "emit", "fail"])
def test_the_wall_limit_holds_for_every_kind(kind: str) -> None:
    async def scenario(engine: Engine) -> None:
        fields = {"duration_ms": 60_000} if kind == "sleep" else {"delay_ms": 60_000}
        request = parse_task({"execution": {"kind": kind, **fields}, "limits": {"wall_time_ms": 5}})
        record = await engine.submit(request, b"{}")
        await engine.wait(record, 20)
        assert record.status is Status.FAILED
        assert record.shown()["error"] == {
            "code": "timeout",
            "message": "timed out after 5 ms",
            "retryable": True,
            "details": {"limit_ms": 5},
        }

    run(scenario)


def test_fail_reports_what_it_was_told() -> None:
    async def scenario(engine: Engine) -> None:
        record = await engine.submit(task(kind="fail", code="teapot", message="short and stout"), b"{}")
        await engine.wait(record, 20)
        shown = record.shown()
        assert shown["status"] == "failed"
        assert shown["error"] == {"code": "teapot", "message": "short and stout", "retryable": False, "details": {}}
        assert "output" not in shown

    run(scenario)


def test_a_strict_sandbox_is_not_pretended_and_a_lenient_one_is_noted() -> None:
    async def scenario(engine: Engine) -> None:
        async def boxed(strict: bool) -> Any:
            document = {"execution": {"kind": "emit"}, "sandbox": {"profile": "vm", "strict": strict}}
            return await engine.submit(parse_task(document), b"{}")

        refused, lenient = await boxed(True), await boxed(False)
        await engine.wait(refused, 20)
        await engine.wait(lenient, 20)
        assert refused.shown()["error"]["code"] == "sandbox_setup_failed"
        assert lenient.status is Status.SUCCESS
        (fallback,) = [event for event in lenient.events if event.type == "sandbox_fallback"]
        assert (fallback.details["requested"], fallback.details["effective"]) == ("vm", "process")

    run(scenario)


def finished(store: MemoryStore, name: str, size: int) -> TaskRecord:
    record = TaskRecord(name, f"h-{name}", task(name), size)
    store.add(record, b"{}")
    record.start()
    record.finish(Outcome())
    store.save(record)
    return record


def test_the_store_forgets_the_oldest_finished_tasks_only() -> None:
    store = MemoryStore(max_finished=2, max_finished_bytes=100)
    alive = TaskRecord("alive", "h-alive", task("alive"), 1000)
    store.add(alive, b"{}")
    for name in "abc":
        finished(store, name, 10)
    assert [store.find(name) is not None for name in ("alive", "a", "b", "h-c")] == [True, False, True, True]
    finished(store, "heavy", 95)
    assert [store.find(name) is not None for name in ("b", "c", "heavy")] == [False, False, True]
    assert store.finished_bytes == 95
    finished(store, "heavier", 500)  # larger than all that may be kept, yet its client must find it once
    assert store.find("heavier") is not None
    assert store.find("alive") is alive


def test_a_terminal_task_never_changes() -> None:
    record = finished(MemoryStore(), "a", 0)
    with pytest.raises(RuntimeError, match="success already"):
        record.finish(Outcome())


def test_times_are_rfc_3339_with_nanoseconds() -> None:
    assert rfc3339(1_700_000_000_000_000_007) == "2023-11-14T22:13:20.000000007Z"
