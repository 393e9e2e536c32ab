"""What every checkpointer promises, asked of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.checkpoint import Checkpoint, Checkpointer, CheckpointerConfig, CheckpointMetadata, ListOptions
from pytest_execgo.runner.checkpoints.memory import MemoryCheckpointer
from pytest_execgo.runner.checkpoints.serde import JsonSerde
from pytest_execgo.runner.checkpoints.sqlite import SqliteCheckpointer

Make = Callable[..., Checkpointer]
START = datetime(2025, 3, 1, 12, tzinfo=UTC)
ODD = 'half a pair \ud800, NUL \0, "quotes" \\, line\u2028end, \U0001f600'


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Make]:
    with ExitStack() as opened:

        def build(config: CheckpointerConfig | None = None) -> Checkpointer:
            if request.param == "memory":
                return MemoryCheckpointer(config, now=clock)
            return opened.enter_context(SqliteCheckpointer(tmp_path / "checkpoints.sqlite", config, now=clock))

        yield build


def checkpoint(name: str, thread: str = "t", at: int = 0, **fields: Any) -> Checkpoint:
    """Return a checkpoint that was created `at` seconds after the start."""
    given: dict[str, Any] = {"state": {"n": name}, "created_at": START + timedelta(seconds=at), **fields}
    return Checkpoint(id=name, thread_id=thread, **given)


def names(found: list[Checkpoint]) -> list[str]:
    return [one.id for one in found]


def test_what_was_put_is_got_back_equal(make: Make) -> None:
    kept = make()
    described = CheckpointMetadata(step=3, node_id="stage", tags=["a", "b"], custom={"k": "v"})
    state = {"text": ODD, ODD: [1, 2.5, -0.0, True, None, {"deep": [[]]}], "large": 10**300, "": {}}
    whole = checkpoint("c", parent_id="before", state=state, metadata=described, at=1)
    kept.put(whole)
    assert kept.get("t", "c") == whole
    assert kept.get_latest("t") == whole
    assert kept.list("t") == [whole]


def test_what_is_not_there_is_none(make: Make) -> None:
    kept = make()
    assert kept.get("t", "c") is None
    assert kept.get_latest("t") is None
    assert kept.list("t") == []
    kept.put(checkpoint("c"))
    assert kept.get("t", "d") is None
    assert kept.get("u", "c") is None


def test_an_id_is_used_once_in_its_thread(make: Make) -> None:
    kept = make()
    kept.put(checkpoint("a"))
    kept.put(checkpoint("b"))
    kept.put(checkpoint("a"))  # the very same: nothing changes, nor does the order
    assert names(kept.list("t")) == ["a", "b"]
    for other in (checkpoint("a", state={"n": "other"}), checkpoint("a", at=1), checkpoint("a", parent_id="x")):
        with pytest.raises(ExecGoError, match="another checkpoint 'a'") as refused:
            kept.put(other)
        assert refused.value.code == "checkpoint_exists"
    assert kept.get("t", "a") == checkpoint("a")
    kept.put(checkpoint("a", thread="u", state={}))
    assert names(kept.list("u")) == ["a"]


def test_the_order_is_the_one_of_putting_even_when_the_clock_goes_back(make: Make) -> None:
    kept = make()
    for name, at in (("a", 5), ("b", 3), ("c", 4)):
        kept.put(checkpoint(name, at=at))
    assert names(kept.list("t")) == ["a", "b", "c"]
    latest = kept.get_latest("t")
    assert latest is not None
    assert latest.id == "c"


def test_a_list_can_be_bounded_by_time_and_number(make: Make) -> None:
    kept = make()
    for at, name in enumerate("abcde"):
        kept.put(checkpoint(name, at=at))

    def listed(**options: Any) -> str:
        return "".join(names(kept.list("t", ListOptions(**options))))

    def second(at: int) -> datetime:
        return START + timedelta(seconds=at)

    assert listed() == "abcde"
    assert listed(limit=2) == "de"
    assert listed(limit=9) == "abcde"
    assert listed(before=second(2)) == "ab"
    assert listed(after=second(2)) == "de"
    assert listed(after=second(0), before=second(4)) == "bcd"
    assert listed(after=second(0), before=second(4), limit=1) == "d"
    assert listed(before=second(2).astimezone(tz=None)) == "ab"
    assert listed(before=second(0)) == ""


def test_of_each_thread_the_oldest_beyond_the_limit_go(make: Make) -> None:
    kept = make(CheckpointerConfig(max_checkpoints_per_thread=3))
    for name in "abcde":
        kept.put(checkpoint(name))
        kept.put(checkpoint(name, thread="u"))
    assert names(kept.list("t")) == ["c", "d", "e"]
    assert kept.get("t", "a") is None
    assert names(kept.list("u")) == ["c", "d", "e"]
    kept.delete("t", "d")
    kept.put(checkpoint("f"))
    assert names(kept.list("t")) == ["c", "e", "f"]


def test_what_is_too_old_counts_as_gone(make: Make, clock: Clock) -> None:
    kept = make(CheckpointerConfig(ttl_seconds=10))
    kept.put(checkpoint("a", at=0))
    kept.put(checkpoint("b", at=5))
    clock.now = START + timedelta(seconds=10)
    assert names(kept.list("t")) == ["a", "b"]
    clock.now = START + timedelta(seconds=12)
    assert names(kept.list("t")) == ["b"]
    assert kept.get("t", "a") is None
    kept.put(checkpoint("a", at=12))  # its name is free again
    assert names(kept.list("t")) == ["b", "a"]
    clock.now = START + timedelta(seconds=60)
    assert kept.get_latest("t") is None
    assert kept.list("t") == []


def test_deleting(make: Make) -> None:
    kept = make()
    for name in "abc":
        kept.put(checkpoint(name))
        kept.put(checkpoint(name, thread="u"))
    kept.delete("t", "c")
    kept.delete("t", "no such")
    assert names(kept.list("t")) == ["a", "b"]
    latest = kept.get_latest("t")
    assert latest is not None
    assert latest.id == "b"
    kept.delete_thread("t")
    kept.delete_thread("no such")
    assert kept.list("t") == []
    assert names(kept.list("u")) == ["a", "b", "c"]
    kept.put(checkpoint("c", state={"anew": True}))
    assert names(kept.list("t")) == ["c"]


def test_nobody_holds_a_part_of_what_is_kept(make: Make) -> None:
    kept = make()
    state: dict[str, Any] = {"list": [1]}
    kept.put(checkpoint("a", state=state))
    state["list"].append(2)
    first = kept.get("t", "a")
    assert first is not None
    assert first.state == {"list": [1]}
    first.state["list"].append(3)
    second = kept.get_latest("t")
    assert second is not None
    assert second.state == {"list": [1]}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "state",
    [
        {"x": float("nan")},
        {"x": [float("inf")]},
        {"x": (1, 2)},
        {"x": {1: 2}},
        {"x": b"bytes"},
        {"x": {"y"}},
        {"x": object()},
        {"x": 10**6000},
        nested(5_000),
    ],
    ids=["nan", "inf", "tuple", "number as key", "bytes", "set", "object", "6000 digits", "deep"],
)
def test_a_state_that_is_no_json_is_refused_and_nothing_is_kept(make: Make, state: dict[str, Any]) -> None:
    kept = make()
    with pytest.raises(ExecGoError) as refused:
        kept.put(checkpoint("a", state=state))
    assert refused.value.code == "bad_state"
    assert kept.list("t") == []


def test_a_serde_of_ones_own_is_used(make: Make) -> None:
    class Backwards(JsonSerde):
        def dumps(self, value: Any) -> bytes:
            return super().dumps(value)[::-1]

        def loads(self, data: bytes) -> dict[str, Any]:
            assert data.endswith(b"{")
            return super().loads(data[::-1])

    kept = make(CheckpointerConfig(serde=Backwards()))
    kept.put(checkpoint("a"))
    assert kept.get("t", "a") == checkpoint("a")


def test_many_threads_may_put_at_once(make: Make) -> None:
    kept = make()
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(20):
                kept.put(checkpoint(f"{worker}-{number}"))
                assert kept.get("t", f"{worker}-{number}") is not None
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    found = names(kept.list("t"))
    assert len(found) == 80
    for first in range(4):
        assert [name for name in found if name.startswith(f"{first}-")] == [f"{first}-{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CheckpointerConfig, {"max_checkpoints_per_thread": 0}),
        (CheckpointerConfig, {"ttl_seconds": 0}),
        (CheckpointerConfig, {"ttl_seconds": float("nan")}),
        (ListOptions, {"limit": 0}),
        (ListOptions, {"before": datetime(2025, 1, 1)}),
        (ListOptions, {"after": datetime(2025, 1, 1)}),
    ],
)
def test_bounds_that_make_no_sense_are_refused(kind: Callable[..., Any], values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|greater than 0|time zone"):
        kind(**values)
