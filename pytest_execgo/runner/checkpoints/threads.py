"""Threads: a row of states, each after the one before, that can go back to any of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.checkpoint import Checkpoint, Checkpointer, CheckpointMetadata, ListOptions

ROLLED_BACK_TO = "rolled_back_to"
"""Key in `metadata.custom` of a checkpoint that a rollback made: the id of the one whose state it has."""


class ThreadManager:
    """Saves and loads the states of threads (seed 002). How many are kept, and how long, is the checkpointer's configuration."""

    def __init__(self, checkpointer: Checkpointer) -> None:
        self._checkpointer = checkpointer

    def save_state(
        self,
        thread_id: str,
        state: Mapping[str, Any],
        metadata: CheckpointMetadata | None = None,
        *,
        parent_id: str | None = None,
    ) -> Checkpoint:
        """Save a thread's new state and return its checkpoint; its parent is the latest one unless another is given."""
        described = metadata or CheckpointMetadata()
        if parent_id is None:
            latest = self._checkpointer.get_latest(thread_id)
            parent_id = latest.id if latest is not None else None
        checkpoint = Checkpoint(
            id=f"{described.step:04d}-{secrets.token_hex(4)}",
            thread_id=thread_id,
            parent_id=parent_id,
            state=dict(state),
            metadata=described,
        )
        self._checkpointer.put(checkpoint)
        return checkpoint

    def load_state(self, thread_id: str) -> dict[str, Any] | None:
        """Return a thread's latest state; None if it has none."""
        latest = self._checkpointer.get_latest(thread_id)
        return latest.state if latest is not None else None

    def get_history(self, thread_id: str, limit: int | None = None) -> list[Checkpoint]:
        """Return a thread's checkpoints in the order of their creation, the oldest first; of more than `limit`, the newest."""
        return self._checkpointer.list(thread_id, ListOptions(limit=limit))

    def rollback(self, thread_id: str, checkpoint_id: str) -> Checkpoint:
        """Make an earlier state the latest again; `UsageError` when the thread has no such checkpoint.

        Nothing is lost: the thread gets, and this returns, a new checkpoint with that state, whose parent is the one gone back to.
        """
        target = self._checkpointer.get(thread_id, checkpoint_id)
        if target is None:
            raise UsageError.unknown("checkpoint", checkpoint_id, [known.id for known in self.get_history(thread_id)])
        return self.save_state(thread_id, target.state, rollback_metadata(target), parent_id=target.id)


def rollback_metadata(target: Checkpoint) -> CheckpointMetadata:
    """Return the metadata of a checkpoint that goes back to `target`: its step and node, and what it is."""
    custom = {**target.metadata.custom, ROLLED_BACK_TO: target.id}
    return target.metadata.model_copy(update={"tags": ["rollback"], "custom": custom})


def previous_of(history: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint before the latest one, past those that rollbacks made; None if there is none any more."""
    by_id = {checkpoint.id: checkpoint for checkpoint in history}
    at = history[-1] if history else None
    while at is not None and ROLLED_BACK_TO in at.metadata.custom:  # it is a copy of its parent
        at = by_id.get(at.parent_id or "")
    return None if at is None else by_id.get(at.parent_id or "")
