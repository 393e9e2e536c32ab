"""Code to execute in a sandbox, and what came of it (seed 002). Durations are seconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document

Language = Literal["python", "javascript", "typescript", "go", "rust", "bash"]


class ExecutionRequest(Document):
    """A piece of code with its surroundings; `files` maps names to contents, laid beside the code."""

    id: str
    language: Language
    code: str
    stdin: str = ""
    args: list[str] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0)] | None = None


class ExecutionResult(Document):
    """How the code ended: `success` is exit code 0 within every limit; `error` says which limit or launch failed."""

    id: str
    success: bool
    exit_code: int
    stdout: str
    stderr: str
    error: str | None = None
    duration: float
    memory_used_bytes: int | None = None
    truncated: bool = False
