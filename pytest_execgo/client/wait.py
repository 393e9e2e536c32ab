"""Waiting for submitted tasks by adaptive polling: quick at first, backing off as seed 004 (chapter 6) recommends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

TERMINAL = frozenset({"success", "failed", "skipped"})

_FIRST = 0.002
_GROWTH = 1.2
_SURVEY = 0.25  # seconds between looks at every task, which only the timeline needs


class TaskSource(Protocol):
    """What can tell a task's envelope."""

    def task(self, task_id: str) -> dict[str, Any]:
        """Return one task's envelope."""


class Watch:
    """Tasks of one submission, and what is known of each. `open`: those that are not terminal, in topological order.

    `check` is called before each round of questions; what it raises ends the waiting.
    """

    def __init__(
        self,
        source: TaskSource,
        tasks: Mapping[str, tuple[str, ...]],
        seen: Callable[[str, dict[str, Any]], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        waited_for = {parent for parents in tasks.values() for parent in parents}
        self.source = source
        self.tasks = tasks
        self.seen = seen
        self.check = check
        self.known: dict[str, dict[str, Any]] = {}
        self.open = dict.fromkeys(tasks)  # an ordered set
        self.sinks = dict.fromkeys(task for task in tasks if task not in waited_for)  # the open ones

    def look(self, task: str) -> bool:
        """Ask about one task; tell whether its status is new."""
        return self.note(task, self.source.task(task))

    def note(self, task: str, envelope: dict[str, Any]) -> bool:
        """Take a task's latest envelope; tell whether its status is new."""
        changed = envelope.get("status") != self.known.get(task, {}).get("status")
        self.known[task] = envelope
        if changed:
            self.seen(task, envelope)
        if envelope.get("status") in TERMINAL and task in self.open:
            del self.open[task]
            self.sinks.pop(task, None)
        return changed

    def survey(self) -> bool:
        """Ask about every open task that may have moved: one whose parents are all terminal."""
        moved = False
        for task in list(self.open):
            if all(parent not in self.open for parent in self.tasks[task]):
                moved = self.look(task) or moved
        return moved

    def probe(self) -> bool:
        """Ask about what is worth asking about, a sink that is open, else anything open, until one of them is not terminal."""
        moved = False
        while self.open:
            target = next(iter(self.sinks or self.open))
            moved = self.look(target) or moved
            if target in self.open:
                break
        return moved


def wait_for(
    source: TaskSource,
    tasks: Mapping[str, tuple[str, ...]],
    *,
    budget: float,
    longest_interval: float,
    seen: Callable[[str, dict[str, Any]], None],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Poll until every task is terminal or `budget` seconds have passed.

    `tasks` maps each wire id, in topological order, to the ids it waits for. A graph is over when its sinks are, so one
    open sink is asked about per tick; `longest_interval` (seconds) caps the back-off. `seen` is told every new status.
    Returns the last envelope of each task, and the ids that are not terminal.
    """
    watch = Watch(source, tasks, seen)
    poll(watch, deadline=time.monotonic() + budget, longest_interval=longest_interval)
    return watch.known, list(watch.open)


def poll(watch: Watch, *, deadline: float, longest_interval: float) -> None:
    """Ask until nothing is open or `deadline` (`time.monotonic()`) has come; everything is asked about at least once."""
    next_survey = time.monotonic() + _SURVEY
    interval = _FIRST
    while watch.open:
        watch.check()
        moved = watch.probe()
        if time.monotonic() >= next_survey:
            moved = watch.survey() or moved  # once: parents stand before their children, and the budget holds
            next_survey = time.monotonic() + _SURVEY
        if not watch.open:
            break
        now = time.monotonic()
        if now >= deadline:
            watch.survey()
            break
        interval = min(_FIRST if moved else interval * _GROWTH, longest_interval)
        time.sleep(max(0.0, min(interval, deadline - now)))
