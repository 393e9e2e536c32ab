"""What carries one execution of a graph or a flow (seed 003)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document

ExecutionMode = Literal["local", "remote", "batch"]


class ExecutionContext(Document):
    """Identity, configuration and limits of one execution; `timeout_seconds` None means no limit."""

    run_id: str
    thread_id: str
    mode: ExecutionMode = "local"
    config: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None
