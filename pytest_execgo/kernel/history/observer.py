"""What the scheduler tells whoever keeps a history; the one that is told by default keeps none.

Everything is called on the kernel's event loop. Nothing here costs more than the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Literal

from pytest_execgo.kernel.graph import Node
from pytest_execgo.kernel.store import Store

AttemptEnd = Literal["success", "failed", "cancelled", "retry"]


class Observer:
    """Hears what happens to tasks, and notes nothing of it."""

    def booted(self, store: Store) -> None:
        """A life of the kernel has begun, on this store; nothing of it runs yet."""

    def admitted(self, nodes: Iterable[Node]) -> None:
        """New tasks were taken in; that they are durable is still to come."""

    def accepted(self, nodes: Iterable[Node], stored: asyncio.Future[None]) -> None:
        """Admitted tasks are durable, or will never be: `stored` is done and knows which."""

    def recovered(self, nodes: Iterable[Node]) -> None:
        """Tasks were found without an end, each with the attempts that it has behind it."""

    def attempt_counted(self, node: Node) -> None:
        """An attempt was counted."""

    def attempt_spawned(self, node: Node) -> None:
        """An attempt's executor is called, right now."""

    def attempt_ended(self, node: Node, outcome: AttemptEnd) -> None:
        """An attempt's end is known."""

    def skipped(self, node: Node, cause: Node) -> None:
        """A task won't run, because of how another one ended."""

    def ending(self, node: Node, store: Store) -> None:
        """A task's last record was put into the store, that very moment."""

    def cancelling(self, node: Node, store: Store) -> None:
        """A task was told to end, and the store knows."""

    def deleting(self, task_id: str, store: Store) -> None:
        """A task was removed from the store."""

    def stopped(self) -> None:
        """The kernel stops; everything that it did is durable."""


SILENT = Observer()
