"""The nodes of submitted graphs: who waits for whom, and who is skipped when one fails.

Edges join nodes, not ids: a graph that is submitted again makes new nodes, so an earlier incarnation of a task can finish
whenever it likes without releasing anybody of the new graph.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from pytest_execgo.kernel.task import TaskRecord


class Phase(Enum):
    """Where a node is on its way; WITHDRAWN: deleted or replaced before it ran."""

    PENDING = auto()
    RUNNING = auto()
    DONE = auto()
    WITHDRAWN = auto()


@dataclass(slots=True, eq=False)
class Node:
    """One incarnation of a task. `current`: its record is the one that the store holds under its id.

    `flight`: who runs its attempt, while it runs. `cancelled`: that one was told to end. `interruptions`: how many of its
    attempts the end of a kernel cut short.
    """

    record: TaskRecord
    phase: Phase = Phase.PENDING
    current: bool = True
    waiting: int = 0
    attempts: int = 0
    interruptions: int = 0
    cancelled: bool = False
    flight: asyncio.Task[None] | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Tell whether it has ended, or will never run."""
        return self.phase in (Phase.DONE, Phase.WITHDRAWN)


def link(records: Iterable[TaskRecord]) -> dict[str, Node]:
    """Make the nodes of one graph; a dependency that is named twice counts twice on both sides."""
    nodes = {record.spec.id: Node(record) for record in records}
    for node in nodes.values():
        for dependency in node.record.spec.depends_on:
            nodes[dependency].children.append(node)
            node.waiting += 1
    return nodes


def skipped_after(root: Node, ending: str) -> Iterator[tuple[Node, str, bool]]:
    """Yield each pending descendant of a node that did not succeed, once: the node, the reason, whether it is a child.

    ExecGo walks every path and the last one to reach a task leaves its reason; walking children backwards and keeping the
    first reason found gives the same words, visiting each task once.
    """
    seen: set[int] = set()
    stack = [(root, ending, iter(reversed(root.children)))]
    while stack:
        parent, verb, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
        elif id(child) not in seen and child.phase is Phase.PENDING:
            seen.add(id(child))
            yield child, f"dependency {parent.record.spec.id} {verb}", parent is root
            stack.append((child, "skipped", iter(reversed(child.children))))
