"""Saved states of a thread, and the Protocols of what keeps them (seed 002). A run is a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import AwareDatetime, Field

from pytest_execgo.plan.base import Document


class CheckpointMetadata(Document):
    """What a checkpoint belongs to: the how-manieth step, the stage (`node_id`), tags, the caller's own pairs."""

    step: int = 0
    node_id: str | None = None
    tags: list[str] = Field(default_factory=list)
    custom: dict[str, str] = Field(default_factory=dict)


class Checkpoint(Document):
    """The state of a thread at one moment; `parent_id` is the checkpoint before it."""

    id: str
    thread_id: str
    parent_id: str | None = None
    state: dict[str, Any]
    metadata: CheckpointMetadata = Field(default_factory=CheckpointMetadata)
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC), strict=False)


class Serde(Protocol):
    """Turns a JSON object into bytes and back, unchanged. Reading never runs anything that the bytes say."""

    def dumps(self, value: Mapping[str, Any]) -> bytes:
        """Return the bytes of an object; `ExecGoError` when it holds anything but JSON values."""

    def loads(self, data: bytes) -> dict[str, Any]:
        """Return the object of the bytes; `ExecGoError` when they are none."""


@dataclass(frozen=True, slots=True)
class CheckpointerConfig:
    """Bounds of a checkpointer.

    Of each thread the newest `max_checkpoints_per_thread` are kept. A checkpoint older than `ttl_seconds` counts as gone
    (None: never). `serde` is how checkpoints become bytes (None: JSON).
    """

    max_checkpoints_per_thread: int = 100
    ttl_seconds: float | None = None
    serde: Serde | None = None

    def __post_init__(self) -> None:
        if self.max_checkpoints_per_thread < 1:
            raise ValueError("max_checkpoints_per_thread must be at least 1")
        if self.ttl_seconds is not None and not self.ttl_seconds > 0:
            raise ValueError("ttl_seconds must be greater than 0, or None")


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Which checkpoints of a thread: created before and after these moments (both exclusive); of those, the newest `limit`."""

    limit: int | None = None
    before: datetime | None = None
    after: datetime | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError("limit must be at least 1, or None")
        for moment in (self.before, self.after):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("before and after need a time zone")


class Checkpointer(Protocol):
    """Keeps checkpoints. Within a thread they are ordered as they were put, which no step of the clock can change.

    What is returned is the caller's own: changing it changes nothing that is kept. Every method may be called from any thread.
    """

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep one more checkpoint, the thread's latest from now on, and drop the oldest beyond the limit.

        An id is used once in its thread: the same checkpoint again changes nothing, another one under its id is an
        `ExecGoError` (`checkpoint_exists`). `bad_state` when the state holds anything but JSON values.
        """

    def get(self, thread_id: str, checkpoint_id: str) -> Checkpoint | None:
        """Return one checkpoint; None if there is none, or it is too old."""

    def get_latest(self, thread_id: str) -> Checkpoint | None:
        """Return the checkpoint of a thread that was put last; None if there is none."""

    def list(self, thread_id: str, options: ListOptions | None = None) -> list[Checkpoint]:
        """Return the checkpoints of a thread in the order of their creation, the oldest first."""

    def delete(self, thread_id: str, checkpoint_id: str) -> None:
        """Forget one checkpoint, if it is there."""

    def delete_thread(self, thread_id: str) -> None:
        """Forget every checkpoint of a thread."""
