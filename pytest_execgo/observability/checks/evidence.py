"""A history's rows, put together by what they are about: task, effect, observer."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.observability.history import merged
from pytest_execgo.plan.history import HistoryRow, Observer

TERMINAL = frozenset(("success", "failed", "skipped"))
"""Statuses of a task that has ended."""
_GONE = (None, 404, 410)  # what a read that failed was told, if anything
_EVER = -1


class Calls:
    """Which invocations are under way, by what tells one call from another.

    Two calls of one key can't be told apart, so an answer belongs to the earliest of all that overlap: that never makes a call
    later than it was.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, tuple[int, HistoryRow]] = {}

    def begin(self, key: Hashable, row: HistoryRow) -> None:
        """Note a beginning."""
        count, earliest = self._open.get(key, (0, row))
        self._open[key] = (count + 1, earliest)

    def end(self, key: Hashable) -> HistoryRow | None:
        """Note an end, and return the beginning that it may belong to; None if there is none."""
        count, earliest = self._open.pop(key, (0, None))
        if count > 1 and earliest is not None:
            self._open[key] = (count - 1, earliest)
        return earliest


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call that began at `begun_ns` or later; a read's, or the sink's to a delivery."""

    begun_ns: int
    row: HistoryRow

    @property
    def status(self) -> str:
        """The task's status as it was read."""
        return str(self.row.value.get("status"))

    @property
    def terminal(self) -> bool:
        """Whether the task had ended, as it was read."""
        return self.status in TERMINAL

    @property
    def gone(self) -> bool:
        """Whether a read was told that there is no such task."""
        return self.status == "absent" or (self.row.type == "fail" and self.row.value.get("status_code") in _GONE)

    @property
    def attempt(self) -> int | None:
        """The attempt that a read showed."""
        told = self.row.attempt if self.row.attempt is not None else self.row.value.get("attempt")
        return told if isinstance(told, int) else None


@dataclass(slots=True)
class TaskEvidence:
    """All about one task, in order, up to when it was deleted (`deleted_ns`): after that its id may stand for another one.

    Of its submissions `accepted` were answered ok and `refused` with an error; `submits` is how many there were, the first
    at `first_ns`. The four cover the whole run. `answers` are what reads were told.
    """

    task: str
    accepted: list[HistoryRow] = field(default_factory=list)
    refused: list[HistoryRow] = field(default_factory=list)
    submits: int = 0
    first_ns: int = _EVER
    kernel: list[HistoryRow] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    cancels: list[HistoryRow] = field(default_factory=list)
    deletes: list[HistoryRow] = field(default_factory=list)
    deletes_refused: int = 0
    deleted_ns: int | None = None

    @property
    def submitted(self) -> bool:
        """Whether a client's submission may have been taken in: not when each one was refused."""
        return bool(self.accepted) or self.submits > len(self.refused)

    @property
    def taken(self) -> HistoryRow | None:
        """The client's proof that its submission was taken in: it was answered ok, or a read showed the task afterwards."""
        shown = (read.row for read in self.reads if self.submitted)
        return self.accepted[0] if self.accepted else next(shown, None)

    @property
    def accept(self) -> HistoryRow | None:
        """The kernel's word on the submission; a life that was killed may have left it to the next one's `recover`."""
        return next(self.of("accept", "recover"), None)

    @property
    def effects(self) -> bool:
        """Whether the task can leave effects, as its acceptance says."""
        return self._told("effects") is True

    @property
    def once(self) -> bool:
        """Whether the task must not run twice, as its acceptance says."""
        return self._told("once") is True

    @property
    def parents(self) -> list[str]:
        """What it waits for, as its acceptance says."""
        names = self._told("depends_on")
        return [str(name) for name in names] if isinstance(names, list) else []

    def _told(self, name: str) -> Any:
        return self.accept.value.get(name) if self.accept is not None else None

    def of(self, *what: str) -> Iterator[HistoryRow]:
        """The kernel's rows of these kinds."""
        return (row for row in self.kernel if row.f in what)

    def persisted(self, *statuses: str) -> HistoryRow | None:
        """The first row that says that its end, one of these, is durable."""
        return next((row for row in self.of("persist") if row.value.get("status") in statuses), None)

    @property
    def reads(self) -> list[Answer]:
        """The answers that show a state of the task."""
        return [answer for answer in self.answers if answer.row.type == "ok" and not answer.gone]

    def last_answer(self, since_ns: int) -> Answer | None:
        """What the last read that began at or after that moment was told of the task."""
        told = (one for one in reversed(self.answers) if one.begun_ns >= since_ns and (one.row.type == "ok" or one.gone))
        return next(told, None)

    def settle(self) -> None:
        """Find the moment of its deletion, and leave out what was seen after it."""
        moments = [row.monotonic_ns for row in self.of("delete")]
        if len(self.deletes) > self.deletes_refused:
            moments.append(self.deletes[0].monotonic_ns)
        if not moments:
            return
        until = self.deleted_ns = min(moments)
        self.kernel = [row for row in self.kernel if row.monotonic_ns <= until]
        self.answers = [answer for answer in self.answers if answer.row.monotonic_ns <= until]


class Evidence:
    """A history, indexed in one pass over its rows in order."""

    def __init__(self, rows: Iterable[HistoryRow]) -> None:
        self.rows = _distinct(merged(rows))
        self.tasks: dict[str, TaskEvidence] = {}
        self.boots: list[HistoryRow] = []
        self.orders: list[HistoryRow] = []
        self.quiet: HistoryRow | None = None
        self.processes: list[HistoryRow] = []
        self.faults: list[HistoryRow] = []
        self.delivered: list[Answer] = []
        self.deliveries: dict[str, list[Answer]] = defaultdict(list)
        self._calls = Calls()
        for row in self.rows:
            _TAKE[row.process](self, row)
        for task in self.tasks.values():
            task.settle()
        self.gaps = gaps(self.rows)
        self.observers = {row.process for row in self.rows}
        self._boot_times = [row.monotonic_ns for row in self.boots]

    def whole(self, observer: Observer) -> bool:
        """Whether an observer's rows are there and none is missing, so that what is not among them did not happen."""
        return observer in self.observers and not any(row.process == observer for row, _ in self.gaps)

    def booted_between(self, from_ns: int, to_ns: int) -> bool:
        """Whether the kernel began a life in that time."""
        at = bisect_left(self._boot_times, from_ns)
        return at < len(self._boot_times) and self._boot_times[at] <= to_ns

    def _client(self, row: HistoryRow) -> None:
        if row.type == "event":
            self._client_event(row)
            return
        key = (row.boot_id, row.f, row.task or row.digest)
        begun = None
        if row.type == "invoke":
            self._calls.begin(key, row)
        else:
            begun = self._calls.end(key)
        if row.f == "submit":
            self._submit(row, begun)
        elif row.task is not None:
            self._call_on(self._task(row.task), row, begun)

    def _client_event(self, row: HistoryRow) -> None:
        if row.f == "stop":
            self.orders.append(row)
        elif row.f == "quiet":
            self.quiet = row
        elif row.f == "processes":
            self.processes.append(row)

    def _submit(self, row: HistoryRow, begun: HistoryRow | None) -> None:
        told = row.value.get("tasks") or (begun.value.get("tasks") if begun is not None else None)
        for name in told if isinstance(told, list) else ():
            task = self._task(str(name))
            if row.type == "invoke":
                task.submits += 1
                task.first_ns = row.monotonic_ns if task.submits == 1 else task.first_ns
            elif row.type == "ok":
                task.accepted.append(row)
            elif row.type == "fail":
                task.refused.append(row)

    def _call_on(self, task: TaskEvidence, row: HistoryRow, begun: HistoryRow | None) -> None:
        if row.f == "read" and row.type in ("ok", "fail"):
            task.answers.append(Answer(_begun_ns(row, begun), row))
        elif row.f == "cancel" and row.type == "ok":
            task.cancels.append(row)
        elif row.f == "delete" and row.type == "invoke":
            task.deletes.append(row)
        elif row.f == "delete" and row.type == "fail":
            task.deletes_refused += 1

    def _kernel(self, row: HistoryRow) -> None:
        if row.task is not None:
            self._task(row.task).kernel.append(row)
        elif row.f == "boot":
            self.boots.append(row)

    def _sink(self, row: HistoryRow) -> None:
        key = ("sink", row.boot_id, row.idem_key, row.task, row.digest)
        if row.f == "intent":
            self._calls.begin(key, row)
        elif row.f == "deliver":
            begun = self._calls.end(key)
            self.delivered.append(Answer((begun or row).monotonic_ns, row))
            self.deliveries[row.idem_key or ""].append(self.delivered[-1])

    def _nemesis(self, row: HistoryRow) -> None:
        self.faults.append(row)

    def _task(self, name: str) -> TaskEvidence:
        return self.tasks.setdefault(name, TaskEvidence(name))


_TAKE = {"client": Evidence._client, "kernel": Evidence._kernel, "sink": Evidence._sink, "nemesis": Evidence._nemesis}


def _distinct(rows: Iterable[HistoryRow]) -> list[HistoryRow]:
    """Leave out what is there again but for its number: a run that goes on reads some of what it had read before."""
    first: dict[Hashable, HistoryRow] = {}
    for row in rows:
        what = (row.process, row.boot_id, row.monotonic_ns, row.type, row.f, row.task, row.attempt, row.idem_key)
        first.setdefault(what, row)
    return list(first.values())


def _begun_ns(row: HistoryRow, begun: HistoryRow | None) -> int:
    """Return when a call began: as its invocation says, or the answer's own `invoked_ns`, where reads have one row only."""
    told = row.value.get("invoked_ns")
    if begun is not None:
        return begun.monotonic_ns
    return told if isinstance(told, int) else _EVER


def gaps(rows: Sequence[HistoryRow]) -> list[tuple[HistoryRow, int]]:
    """Return each row whose number is not the next one within its observer's life, with the number that should be there."""
    expected: dict[tuple[str, str], int] = {}
    found = []
    for row in sorted(rows, key=lambda row: (row.process, row.boot_id, row.seq)):
        life = (row.process, row.boot_id)
        if row.seq != expected.get(life, 1):
            found.append((row, expected.get(life, 1)))
        expected[life] = row.seq + 1
    return found
