"""Lies put into true histories: each is convicted, by the check that is made for it and by no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.observability.checker import CHECKS, check
from pytest_execgo.plan.history import HistoryRow

if TYPE_CHECKING:
    from tests.unit.observability.conftest import Play, Rows

SEEDS = range(120)
ENOUGH = 4  # histories that each mutant must have found something in
WIDE = 1000  # room that is made between any two moments of a history
TERMINAL = ("success", "failed", "skipped")
SPAWNED = ("start", "spawn")


class Lens:
    """What a mutant looks at: one history, its moments spread."""

    def __init__(self, rows: Rows) -> None:
        self.rows = [spread(row) for row in rows]
        (self.quiet,) = (row for row in self.rows if row.f == "quiet")
        self.accepts = {row.task: row for row in self.of("kernel", "accept")}
        deleted = {row.task for row in self.rows if row.f == "delete"}
        parents = {name for row in self.accepts.values() for name in row.value["depends_on"]}
        answered = {name for row in self.rows if (row.f, row.type) == ("submit", "ok") for name in row.value["tasks"]}
        self.kept = [str(name) for name in self.accepts if name in answered - deleted]
        self.leaves = [name for name in self.kept if name not in parents]

    def of(self, process: str, *what: str, task: str | None = None) -> list[HistoryRow]:
        return [row for row in self.rows if row.process == process and row.f in what and task in (None, row.task)]

    def reads(self, task: str, *, terminal: bool | None = None) -> list[HistoryRow]:
        rows = [row for row in self.of("client", "read", task=task) if row.type == "ok"]
        return [row for row in rows if terminal in (None, row.value["status"] in TERMINAL)]

    def leaf(self, status: str, *, effects: bool | None = None) -> Iterator[tuple[str, HistoryRow]]:
        for name in self.leaves:
            persists = self.of("kernel", "persist", task=name)
            if effects in (None, self.accepts[name].value["effects"]) and persists and persists[0].value["status"] == status:
                yield name, persists[0]

    def but(self, gone: Iterable[HistoryRow], *more: HistoryRow) -> Rows:
        """Leave rows out, put others in, and number them as if nothing had happened."""
        out = {id(row) for row in gone}
        seqs: dict[tuple[str, str], int] = {}
        rows = []
        for row in sorted([*(row for row in self.rows if id(row) not in out), *more], key=lambda row: row.monotonic_ns):
            life = row.process, row.boot_id
            seqs[life] = seqs.get(life, 0) + 1
            rows.append(row.model_copy(update={"seq": seqs[life]}))
        return rows

    def swap(self, rows: Iterable[HistoryRow], **change: Any) -> Rows:
        old = list(rows)
        return self.but(old, *(like(row, **change) for row in old))


def spread(row: HistoryRow) -> HistoryRow:
    begun = {"invoked_ns": row.value["invoked_ns"] * WIDE} if "invoked_ns" in row.value else {}
    return row.model_copy(update={"monotonic_ns": row.monotonic_ns * WIDE, "value": {**row.value, **begun}})


def like(row: HistoryRow, *, later: int = 0, **change: Any) -> HistoryRow:
    value = {**row.value, **change.pop("more", {})}
    return row.model_copy(update={"monotonic_ns": row.monotonic_ns + later, "value": value, **change})


Mutant = Callable[[Lens], "Rows | None"]
MUTANTS: dict[str, tuple[str, Mutant]] = {}


def convicts(name: str) -> Callable[[Mutant], Mutant]:
    def register(mutant: Mutant) -> Mutant:
        MUTANTS[mutant.__name__] = (name, mutant)
        return mutant

    return register


# -- lost, phantom, stuck, orphan -----------------------------------------------------------------------------------------


@convicts("lost")
def vanished_task(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("success"):
        last = lens.reads(name)[-1]
        return lens.but([last], last.model_copy(update={"value": {"status": "absent", "invoked_ns": last.monotonic_ns - 1}}))
    return None


@convicts("lost")
def acknowledged_and_never_accepted(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("success", effects=False):
        booted = {row.boot_id for row in lens.of("kernel", "boot")}
        if len(booted) == 1:
            return lens.but(row for row in lens.rows if row.process == "kernel" and row.task == name)
    return None


@convicts("phantom")
def phantom_task(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("success"):
        life = lens.of("kernel", "accept", "recover", "start", "spawn", "end", "persist", task=name)
        return lens.but([], *(like(row, task="run-1:s9:t9:1", later=1) for row in life))
    return None


@convicts("phantom")
def phantom_read(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("failed"):
        return lens.but([], like(lens.reads(name)[-1], task="run-1:s9:t9:1", later=1))
    return None


@convicts("phantom")
def refused_and_taken_in(lens: Lens) -> Rows | None:
    rows = lens.of("client", "submit")
    for row in rows:
        calls = [one for one in rows if one.digest == row.digest]
        if [one.type for one in calls] == ["invoke", "ok"]:
            return lens.swap([calls[1]], type="fail")
    return None


@convicts("stuck")
def never_ended(lens: Lens) -> Rows | None:
    for name, persist in lens.leaf("success"):
        ends = [row for row in lens.of("kernel", "end", task=name) if row.value["outcome"] == "success"]
        *early, last = lens.reads(name, terminal=True)
        if not lens.of("sink", "deliver", task=name):
            return lens.but([persist, *ends, *early, last], like(last, more={"status": "running"}, digest=None))
    return None


@convicts("orphan")
def process_left(lens: Lens) -> Rows | None:
    return lens.swap(lens.of("client", "processes"), value={"left": [{"pid": 4711, "command": "sleep 600"}]})


# -- duplicated -------------------------------------------------------------------------------------------------------------


@convicts("duplicated")
def applied_twice(lens: Lens) -> Rows | None:
    applied = [row for row in lens.of("sink", "deliver") if row.value["outcome"] == "applied"]
    return lens.but([], like(applied[0], later=1)) if applied else None


@convicts("duplicated")
def two_effects_for_a_key(lens: Lens) -> Rows | None:
    applied = [row for row in lens.of("sink", "deliver") if row.value["outcome"] == "applied"]
    return lens.but([], like(applied[0], later=1, more={"outcome": "repeated", "effect_id": "other"})) if applied else None


@convicts("duplicated")
def attempt_spawned_twice(lens: Lens) -> Rows | None:
    spawns = [row for row in lens.of("kernel", "spawn") if row.task in lens.kept]
    return lens.but([], like(spawns[0], later=1)) if spawns else None


@convicts("duplicated")
def attempt_spawned_again_after_a_crash(lens: Lens) -> Rows | None:
    for recover in lens.of("kernel", "recover"):
        spawns = [row for row in lens.of("kernel", "spawn", task=recover.task) if row.monotonic_ns < recover.monotonic_ns]
        once = recover.value["once"]
        if spawns and recover.value["effects"] and not once and recover.task in lens.kept and recover.value["depends_on"] == []:
            again = like(spawns[-1], boot_id=recover.boot_id, monotonic_ns=recover.monotonic_ns + 1)
            start = like(again, f="start", later=-1)
            end = like(again, f="end", later=1, value={"outcome": "retry"})
            return lens.but([], start, again, end)
    return None


@convicts("duplicated")
def once_spawned_twice(lens: Lens) -> Rows | None:
    for name in lens.kept:
        ends = lens.of("kernel", "end", task=name)
        if lens.accepts[name].value["once"] and ends:
            start, spawn = (like(ends[0], f=f, attempt=2, value={}, later=at) for at, f in enumerate(SPAWNED, 1))
            return lens.but([], start, spawn, like(ends[0], attempt=2, later=3))
    return None


# -- reordered --------------------------------------------------------------------------------------------------------------


@convicts("reordered")
def next_attempt_too_early(lens: Lens) -> Rows | None:
    for end in lens.of("kernel", "end"):
        if end.value["outcome"] == "retry" and end.task in lens.kept:
            nexts = [row for row in lens.of("kernel", *SPAWNED, task=end.task)
                     if row.attempt == (end.attempt or 0) + 1 and row.boot_id == end.boot_id]  # fmt: skip
            if [row.f for row in nexts] == list(SPAWNED):
                return lens.but(nexts, *(like(row, monotonic_ns=end.monotonic_ns - 2 + at) for at, row in enumerate(nexts)))
    return None


@convicts("reordered")
def child_before_parent(lens: Lens) -> Rows | None:
    for name in lens.kept:
        accept = lens.accepts[name]
        spawns = lens.of("kernel", *SPAWNED, task=name)[:2]
        for parent in accept.value["depends_on"] if accept.value["effects"] and len(spawns) == 2 else ():
            ends = [row for row in lens.of("kernel", "end", "persist", task=parent)][-2:]
            if len(ends) == 2 and {row.boot_id for row in [*ends, *spawns]} == {ends[0].boot_id} and parent in lens.kept:
                return lens.but(spawns, *(like(row, monotonic_ns=ends[0].monotonic_ns + 1 + at) for at, row in enumerate(spawns)))
    return None


@convicts("reordered")
def recovered_and_forgotten(lens: Lens) -> Rows | None:
    for recover in lens.of("kernel", "recover"):
        rows = lens.of("kernel", "spawn", "end", "recover", task=recover.task)
        at = rows.index(recover)
        around = [*rows[max(at - 1, 0) : at], *rows[at + 1 : at + 2]]
        forgot = [row.f for row in around] == ["spawn", "spawn"] and around[0].attempt != around[1].attempt
        if forgot and recover.value["depends_on"] == [] and recover.task in lens.kept:
            return lens.but([recover])
    return None


@convicts("reordered")
def spawned_before_its_start(lens: Lens) -> Rows | None:
    for start in lens.of("kernel", "start"):
        spawns = [row for row in lens.of("kernel", "spawn", task=start.task) if row.attempt == start.attempt]
        if spawns and start.task in lens.kept and lens.accepts[start.task].value["effects"]:
            return lens.but([start], like(start, monotonic_ns=spawns[0].monotonic_ns + 1))
    return None


# -- zombie writer ----------------------------------------------------------------------------------------------------------


@convicts("zombie_writer")
def effect_after_the_end(lens: Lens) -> Rows | None:
    for deliver in lens.of("sink", "deliver"):
        persists = lens.of("kernel", "persist", task=deliver.task)
        if persists and deliver.task in lens.kept:
            late: dict[str, Any] = {"idem_key": "run-1/zombie", "monotonic_ns": persists[0].monotonic_ns + 1}
            return lens.but([], like(deliver, **late, more={"outcome": "applied", "effect_id": "zombie"}))
    return None


@convicts("zombie_writer")
def effect_after_a_cancel(lens: Lens) -> Rows | None:
    for cancel in lens.of("kernel", "cancel"):
        persists = lens.of("kernel", "persist", task=cancel.task)
        if persists and persists[0].monotonic_ns > cancel.monotonic_ns and cancel.task in lens.kept:
            value = {"outcome": "applied", "effect_id": "zombie", "kind": "x"}
            about: dict[str, Any] = {
                "process": "sink",
                "boot_id": "sink",
                "idem_key": "run-1/zombie",
                "digest": "zombie",
                "attempt": None,
            }
            intent = like(persists[0], **about, f="intent", later=1, value={})
            return lens.but([], intent, like(persists[0], **about, f="deliver", later=2, value=value))
    return None


@convicts("zombie_writer")
def effect_after_the_stop(lens: Lens) -> Rows | None:
    delivers = lens.of("sink", "deliver")
    if not delivers or not lens.of("client", "stop"):
        return None
    late: dict[str, Any] = {"task": None, "idem_key": "run-1/zombie", "monotonic_ns": lens.quiet.monotonic_ns + 1}
    return lens.but([], like(delivers[0], **late, more={"outcome": "applied", "effect_id": "zombie"}))


@convicts("zombie_writer")
def effect_with_an_outdated_token(lens: Lens) -> Rows | None:
    for deliver in lens.of("sink", "deliver"):
        if deliver.value["outcome"] == "applied":
            older = f"{str(deliver.task).rpartition(':')[0]}:0"  # an earlier submission of the same task
            new = {"outcome": "applied", "effect_id": "zombie", "token": 0}
            return lens.but([], like(deliver, task=older, idem_key="run-1/zombie", later=1, more=new))
    return None


# -- stale read, non-monotonic, untruthful ----------------------------------------------------------------------------------


@convicts("stale_read")
def older_state_after_a_newer_one(lens: Lens) -> Rows | None:
    for name in lens.kept:
        early = [row for row in lens.reads(name, terminal=True) if row.monotonic_ns < lens.quiet.monotonic_ns]
        if early:
            value = {"status": "running", "invoked_ns": early[0].monotonic_ns + 1}
            return lens.but([], like(early[0], later=2, value=value, digest=None, boot_id="another client"))
    return None


@convicts("stale_read")
def older_state_than_the_durable_one(lens: Lens) -> Rows | None:
    for name in lens.kept:
        (persist,) = lens.of("kernel", "persist", task=name)
        *early, last = lens.reads(name, terminal=True)
        if not early and persist.monotonic_ns < lens.quiet.monotonic_ns:
            value = {"status": "pending", "invoked_ns": persist.monotonic_ns + 1}
            moment = persist.monotonic_ns + 2
            return lens.but([], like(last, value=value, digest=None, monotonic_ns=moment, boot_id="another client"))
    return None


@convicts("non_monotonic")
def flipped_status(lens: Lens) -> Rows | None:
    for name in lens.kept:
        *early, last = lens.reads(name, terminal=True)
        if early and last.value["status"] == "success":
            return lens.swap([last], value={**last.value, "status": "failed"})
    return None


@convicts("non_monotonic")
def flipped_content(lens: Lens) -> Rows | None:
    for name in lens.kept:
        *early, last = lens.reads(name, terminal=True)
        if early:
            return lens.swap([last], digest="another")
    return None


@convicts("non_monotonic")
def durable_end_changed(lens: Lens) -> Rows | None:
    for _, persist in lens.leaf("success"):
        return lens.but([], like(persist, later=1, value={"status": "failed"}, digest="another"))
    return None


@convicts("non_monotonic")
def ran_again_after_its_end(lens: Lens) -> Rows | None:
    for name, persist in lens.leaf("failed"):
        spawns = lens.of("kernel", "spawn", task=name)
        if spawns and not lens.accepts[name].value["once"]:
            start, spawn = (like(persist, f=f, attempt=9, digest=None, value={}, later=at) for at, f in enumerate(SPAWNED, 1))
            return lens.but([], start, spawn)
    return None


@convicts("untruthful")
def dropped_persist(lens: Lens) -> Rows | None:
    for _, persist in lens.leaf("success"):
        return lens.but([persist])
    return None


@convicts("untruthful")
def forged_success(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("failed"):
        return lens.but(reads := lens.reads(name, terminal=True), *(like(row, more={"status": "success"}) for row in reads))
    return None


@convicts("untruthful")
def changed_digest(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("success"):
        return lens.swap(lens.reads(name, terminal=True), digest="another")
    return None


@convicts("untruthful")
def success_without_an_end(lens: Lens) -> Rows | None:
    for name, _ in lens.leaf("success"):
        return lens.but(row for row in lens.of("kernel", "end", task=name) if row.value["outcome"] == "success")
    return None


@convicts("untruthful")
def skipped_without_a_cause(lens: Lens) -> Rows | None:
    for name, persist in lens.leaf("failed"):
        if not lens.accepts[name].value["depends_on"]:
            shown = lens.reads(name, terminal=True)
            return lens.but([persist, *shown], *(like(row, more={"status": "skipped"}) for row in [persist, *shown]))
    return None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_lie_is_convicted_by_its_check_alone(name: str, play: Play) -> None:
    expected, mutant = MUTANTS[name]
    found = 0
    for seed in SEEDS:
        rows = mutant(Lens(play(seed, 40, stop=seed % 2 == 0)))
        if rows is None:
            continue
        verdict = check(rows)
        assert verdict.outcome == "invalid", (seed, verdict)
        assert {violation.check for violation in verdict.violations} == {expected}, (seed, verdict.violations)
        assert {check: verdict.counts[check] for check in CHECKS if verdict.counts[check]} == {expected: len(verdict.violations)}
        for violation in verdict.violations:
            assert 1 <= len(violation.witness) <= 3
            assert all(row in rows for row in violation.witness)
        found += 1
        if found == ENOUGH:
            return
    pytest.fail(f"only {found} of {len(SEEDS)} histories have what this mutant changes")


def test_every_check_has_a_mutant() -> None:
    assert {expected for expected, _ in MUTANTS.values()} == set(CHECKS)
