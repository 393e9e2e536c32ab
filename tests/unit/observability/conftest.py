"""A small model of a kernel, its clients, the effect sink and a nemesis, which writes histories that break no promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.history import HistoryRow, Observer, RowType

RUN = "run-1"
Rows = list[HistoryRow]


@dataclass(slots=True)
class Task:
    """A task of the model: what was asked for, what the store holds, what the living kernel knows beyond that."""

    id: str
    parents: list[str]
    effects: bool
    once: bool
    failures: int  # attempts that fail before one succeeds
    retry: int
    attempts: int = 0
    durable_attempts: int = 0
    durable: str = ""  # the status that is on disk, once it has ended
    begun: bool = False  # in this life
    running: bool = False
    ended: str = ""  # how the last attempt ended, not on disk yet
    cancelled: bool = False
    deleted: bool = False
    accepted: bool = False

    @property
    def status(self) -> str:
        if self.durable:
            return self.durable
        return "running" if self.begun else "pending"

    @property
    def digest(self) -> str:
        return f"{self.id} {self.durable} {self.attempts}"


@dataclass(slots=True)
class Model:
    """One run. Every step is one that a true kernel could take; which one comes next is drawn."""

    rng: random.Random
    tasks: dict[str, Task] = field(default_factory=dict)
    rows: Rows = field(default_factory=list)
    now: int = 0
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    boots: int = 0
    up: bool = False
    open_reads: list[tuple[Task, int, bool, dict[str, Any] | None]] = field(default_factory=list)
    effects: dict[str, str] = field(default_factory=dict)
    submissions: int = 0
    plain_reads: bool = False

    def row(self, process: Observer, type: RowType, f: str, **rest: Any) -> HistoryRow:
        self.now += self.rng.randint(1, 1000)
        boot = f"{process}-{self.boots}" if process == "kernel" else process
        seq = self.seqs[process, boot] = self.seqs.get((process, boot), 0) + 1
        row = HistoryRow(
            run=RUN, seq=seq, boot_id=boot, monotonic_ns=self.now, wall=rfc3339(self.now), process=process, type=type, f=f, **rest
        )
        self.rows.append(row)
        return row

    def kernel(self, f: str, task: Task | None = None, **rest: Any) -> None:
        self.row("kernel", "event", f, task=task.id if task else None, **rest)

    def accept(self, task: Task) -> None:
        self.kernel("accept", task, value=self.told(task), digest=f"content of {task.id}")
        task.accepted = True
        if any(self.tasks[name].durable in ("failed", "skipped") or self.tasks[name].deleted for name in task.parents):
            self.skip(task, task.parents[0])

    @staticmethod
    def told(task: Task) -> dict[str, Any]:
        return {"depends_on": task.parents, "effects": task.effects, "once": task.once}

    def boot(self) -> None:
        self.boots += 1
        self.up = True
        self.kernel("boot")
        for task in list(self.live()):
            if task.ended and self.rng.random() < 0.5:  # the life before made the end durable, and could not note it any more
                self.persist(task)
        for task in self.live():
            task.begun, task.running, task.ended, task.attempts = False, False, "", task.durable_attempts
        for task in self.live():
            self.kernel("recover", task, attempt=task.attempts, value=self.told(task))
            if task.cancelled or (task.once and task.attempts):
                self.persist(task, "failed")

    def live(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.accepted and not task.durable and not task.deleted]

    # -- what clients do ----------------------------------------------------------------------------------------------

    def submit(self, count: int) -> None:
        self.submissions += 1
        tasks: list[Task] = []
        for at in range(count):
            name = f"{RUN}:s{self.submissions}:t{at}:1"
            parents = self.rng.sample([task.id for task in tasks], min(len(tasks), self.rng.choice((0, 1, 1, 2))))
            effects = self.rng.random() < 0.6
            tasks.append(Task(name, parents, effects, effects and self.rng.random() < 0.2,
                              self.rng.choice((0, 0, 0, 1, 2)), self.rng.choice((0, 1, 2))))  # fmt: skip
        known = {"digest": f"graph {self.submissions}", "value": {"tasks": [task.id for task in tasks]}}
        self.row("client", "invoke", "submit", **known)
        fate = self.rng.random()
        if fate < 0.1:
            self.row("client", "fail", "submit", **known)
            return
        self.tasks |= {task.id: task for task in tasks}
        if fate < 0.2:
            self.crash()
            self.row("client", "info", "submit", **known)
            self.boot()
            self.row("client", "invoke", "submit", **known)
        for task in tasks:
            self.accept(task)
        if fate > 0.9:  # the answer is lost; the client sends it again, and it is the same
            self.crash()
            self.row("client", "info", "submit", **known)
            self.boot()
            self.row("client", "invoke", "submit", **known)
        self.row("client", "ok", "submit", **known)

    def begin_read(self) -> None:
        task = self.rng.choice(list(self.tasks.values()))
        begun = self.now if self.plain_reads else self.row("client", "invoke", "read", task=task.id).monotonic_ns
        self.open_reads.append((task, begun, False, None))

    def go_on_reading(self) -> None:
        at = self.rng.randrange(len(self.open_reads))
        task, begun, seen, value = self.open_reads.pop(at)
        if not seen and self.up:
            self.open_reads.append((task, begun, True, self.shown(task)))
        elif not seen:
            self.told_nothing(task)
        else:
            self.answer(task, begun, value)

    def shown(self, task: Task) -> dict[str, Any] | None:
        if task.deleted or not task.accepted:
            return None
        state: dict[str, Any] = {"status": task.status, "final": bool(task.durable), "attempt": task.attempts}
        return {"value": state, "digest": task.digest if task.durable else None}

    def answer(self, task: Task, begun: int, told: dict[str, Any] | None) -> None:
        begin = {"invoked_ns": begun} if self.plain_reads else {}
        if told is None:
            gone = {"status": "absent", **begin} if self.plain_reads else {"status_code": 404}
            self.row("client", "ok" if self.plain_reads else "fail", "read", task=task.id, value=gone)
        else:
            self.row("client", "ok", "read", task=task.id, value={**told["value"], **begin}, digest=told["digest"])

    def told_nothing(self, task: Task) -> None:
        if not self.plain_reads:
            self.row("client", "info", "read", task=task.id)

    def read(self, task: Task) -> None:
        begun = self.now if self.plain_reads else self.row("client", "invoke", "read", task=task.id).monotonic_ns
        self.answer(task, begun, self.shown(task))

    def cancel(self, task: Task) -> None:
        self.row("client", "invoke", "cancel", task=task.id)
        if not task.durable and not task.deleted:
            task.cancelled = True
            self.kernel("cancel", task)
            if not task.running and not task.ended:
                self.persist(task, "failed")
        self.row("client", "ok", "cancel", task=task.id)

    def delete(self, task: Task) -> None:
        self.row("client", "invoke", "delete", task=task.id)
        if task.running:
            self.kernel("end", task, attempt=task.attempts, value={"outcome": "cancelled"})
            task.running = False
        task.deleted = True
        self.kernel("delete", task)
        if not task.durable:
            self.skip_children(task)
        self.row("client", "ok", "delete", task=task.id)

    # -- what the kernel does -----------------------------------------------------------------------------------------

    def ready(self, task: Task) -> bool:
        parents = [self.tasks[name] for name in task.parents]
        good = all(one.durable == "success" or (one.ended == "success" and not task.effects) for one in parents)
        return good and not task.running and not task.ended and not task.cancelled

    def spawn(self, task: Task) -> None:
        task.attempts += 1
        self.kernel("start", task, attempt=task.attempts)
        if task.effects or self.rng.random() < 0.5:
            task.durable_attempts = task.attempts
        if self.rng.random() < 0.05:
            return self.restart()
        self.kernel("spawn", task, attempt=task.attempts)
        task.running = task.begun = True
        return None

    def deliver(self, task: Task) -> None:
        key = f"{RUN}/{task.id}/{self.rng.randint(1, 2)}"
        about: dict[str, Any] = {"task": task.id, "idem_key": key, "digest": f"payload of {key}"}
        self.row("sink", "event", "intent", **about)
        outcome = "repeated" if key in self.effects else "applied"
        effect = self.effects.setdefault(key, f"effect-{len(self.effects)}")
        self.row("sink", "event", "deliver", **about, value={"outcome": outcome, "effect_id": effect, "kind": "x", "token": 1})

    def end(self, task: Task) -> None:
        task.running = False
        if task.cancelled:
            outcome = task.ended = "cancelled"
        elif task.attempts > task.failures:
            outcome = task.ended = "success"
        elif task.attempts <= task.retry and not task.once:
            outcome = "retry"
        else:
            outcome = task.ended = "failed"
        self.kernel("end", task, attempt=task.attempts, value={"outcome": outcome})

    def persist(self, task: Task, status: str = "") -> None:
        task.durable = status or ("success" if task.ended == "success" else "failed")
        task.ended, task.running = "", False
        self.kernel("persist", task, value={"status": task.durable}, digest=task.digest)
        if task.durable != "success":
            self.skip_children(task)

    def skip_children(self, task: Task) -> None:
        for child in list(self.live()):
            if task.id in child.parents and not child.running and not child.ended and not child.durable:
                self.skip(child, task.id)

    def skip(self, task: Task, cause: str) -> None:
        self.kernel("skip", task, value={"cause": cause})
        self.persist(task, "skipped")

    def crash(self) -> None:
        self.up = False

    def restart(self) -> None:
        fault = {"fault": self.boots, "action": "kill", "target": "kernel"}
        graceful = self.rng.random() < 0.3
        self.row("nemesis", "event", "fault_start", value={**fault, "hit": None})
        if graceful:
            self.kernel("stop")
        self.crash()
        lingering = [task for task in self.live() if task.running and task.effects]
        if lingering and not graceful and self.rng.random() < 0.3:
            self.deliver(self.rng.choice(lingering))
        while self.open_reads and self.rng.random() < 0.7:
            self.go_on_reading()
        self.boot()
        self.row("nemesis", "event", "fault_stop", value={**fault, "hit": True})

    # -- the run ------------------------------------------------------------------------------------------------------

    def steps(self) -> list[Callable[[], None]]:
        """All that can happen next; what the kernel does comes up more often."""
        found: list[Callable[[], None]] = [self.go_on_reading] if self.open_reads else []
        for task in self.live():
            if task.running:
                found += [lambda task=task: self.end(task)] * 2  # type: ignore[misc]
                found += [lambda task=task: self.deliver(task)] if task.effects else []  # type: ignore[misc]
            elif task.ended:
                found += [lambda task=task: self.persist(task)] * 2  # type: ignore[misc]
            elif self.ready(task):
                found += [lambda task=task: self.spawn(task)] * 2  # type: ignore[misc]
        return found

    def disturb(self, restarts: bool) -> None:
        fate = self.rng.random()
        task = self.rng.choice(list(self.tasks.values())) if self.tasks else None
        if task is None or fate < 0.1:
            self.submit(self.rng.randint(1, 5))
        elif fate < 0.2 and restarts:
            self.restart()
        elif fate < 0.25 and task.accepted and not task.deleted:
            self.cancel(task)
        elif fate < 0.28 and task.accepted and not task.deleted and not task.ended:
            self.delete(task)
        else:
            self.begin_read()

    def play(self, steps: int, *, restarts: bool = True, stop: bool = False) -> Rows:
        self.plain_reads = self.rng.random() < 0.5
        self.boot()
        self.submit(self.rng.randint(2, 6))
        for _ in range(steps):
            able = self.steps()
            if able and self.rng.random() < 0.7:
                self.rng.choice(able)()
            else:
                self.disturb(restarts)
        if stop:
            self.row("client", "event", "stop", value={"how": "cancel"})
            for task in self.live():
                self.cancel(task)
        while able := self.steps():
            self.rng.choice(able)()  # reads end here, too
        self.row("client", "event", "quiet")
        for task in self.tasks.values():
            self.read(task)
        self.row("client", "event", "processes", value={"left": []})
        return self.rows


Play = Callable[..., Rows]


@pytest.fixture(scope="session")
def play() -> Play:
    """Return what plays a run of the model, drawn by a seed: `play(seed, steps, restarts=, stop=)`."""

    def played(seed: int, steps: int = 60, *, restarts: bool = True, stop: bool = False) -> Rows:
        return Model(random.Random(seed)).play(steps, restarts=restarts, stop=stop)

    return played
