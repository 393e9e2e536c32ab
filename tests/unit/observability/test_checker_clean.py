"""Histories that break no promise are acquitted, whatever happened in them, and quickly however long they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.observability.checker import CHECKS, check
from pytest_execgo.plan.history import HistoryRow

if TYPE_CHECKING:
    from tests.unit.observability.conftest import Play, Rows

SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS, steps=st.integers(0, 120), restarts=st.booleans(), stop=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_true_history_is_valid(play: Play, seed: int, steps: int, restarts: bool, stop: bool) -> None:
    verdict = check(play(seed, steps, restarts=restarts, stop=stop))
    assert verdict.violations == []
    accepted = verdict.counts["tasks_accepted"]  # none, when the only submission was refused
    assert (verdict.outcome, verdict.reasons) == (("valid", []) if accepted else ("unknown", ["nothing was accepted"]))
    assert all(verdict.counts[name] == 0 for name in CHECKS)


@given(seed=SEEDS, data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_one_observer_did_not_see_convicts_nobody(play: Play, seed: int, data: st.DataObject) -> None:
    """Whole observers may be missing, and any rows of the others' be lost."""
    rows = play(seed, 50)
    gone = data.draw(st.sampled_from(["client", "kernel", "sink", "nemesis"]))
    holes = data.draw(st.sampled_from(["client", "kernel", "sink"]))
    share = data.draw(st.floats(0, 1))
    drawn = random.Random(seed)
    left = [row for row in rows if row.process != gone and (row.process != holes or drawn.random() > share)]
    assert check(left).violations == []


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_lines_does_not_matter(play: Play, seed: int) -> None:
    rows = play(seed, 50)
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert check(shuffled) == check(rows)


def chain(tasks: int, reads: int) -> Iterator[HistoryRow]:
    """One long chain of tasks, submitted and read one by one."""
    seqs: dict[str, int] = {}
    now = 0

    def row(process: Any, type: Any, f: str, **rest: Any) -> HistoryRow:
        nonlocal now
        now, seqs[process] = now + 1, seqs.get(process, 0) + 1
        return HistoryRow(
            run="r", seq=seqs[process], boot_id=process, monotonic_ns=now, wall="", process=process, type=type, f=f, **rest
        )

    def end(name: str) -> dict[str, Any]:
        return {"task": name, "value": {"status": "success"}, "digest": name}

    yield row("kernel", "event", "boot")
    names = [f"r:s:t{at}:1" for at in range(tasks)]
    for at, name in enumerate(names):
        yield row("client", "invoke", "submit", digest=name, value={"tasks": [name]})
        yield row("kernel", "event", "accept", task=name, value={"depends_on": names[at - 1 : at] if at else [], "effects": True})
        yield row("client", "ok", "submit", digest=name, value={"tasks": [name]})
        yield row("kernel", "event", "start", task=name, attempt=1)
        yield row("kernel", "event", "spawn", task=name, attempt=1)
        yield row("kernel", "event", "end", task=name, attempt=1, value={"outcome": "success"})
        yield row("kernel", "event", "persist", **end(name))
    yield row("client", "event", "quiet")
    for name in [*names, *names[:1] * reads]:
        yield row("client", "invoke", "read", task=name)
        yield row("client", "ok", "read", **end(name))


def test_a_hundred_thousand_rows() -> None:
    rows = list(chain(6_000, 20_000))
    assert len(rows) > 90_000
    verdict = check(rows)
    assert verdict.outcome == "valid"
    assert verdict.counts["stale_read_checked"] == 26_000
    assert verdict.counts["reordered_checked"] == 6_000


def test_all_violations_are_counted_and_some_are_shown() -> None:
    rows: Rows = [row for row in chain(100, 0) if row.f != "persist"]
    seqs: dict[str, int] = {}
    for at, row in enumerate(rows):
        seqs[row.process] = seqs.get(row.process, 0) + 1
        rows[at] = row.model_copy(update={"seq": seqs[row.process]})
    verdict = check(rows)
    assert (verdict.counts["untruthful"], verdict.counts["reordered"]) == (100, 99)
    assert len([one for one in verdict.violations if one.check == "untruthful"]) == 20
