"""A saved state of a thread (seed 002). A run is a thread; each finished stage is a checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
