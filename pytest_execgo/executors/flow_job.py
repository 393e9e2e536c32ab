"""What is asked of a flow's own process, and what it answers: two files in the folder of the run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document
from pytest_execgo.plan.executor import ExecutionMode

JOB = "job.json"
ANSWER = "answer.json"
LAUNCHED = "launched"  # holds the run's pathspec, as soon as there is one


class FlowJob(Document):
    """One run of a flow. `inputs` are packed (`plain_data`); `texts` are parameters as people type them."""

    file: str
    home: str
    """Folder that the flow's file came from; what it imports may be there."""
    mode: ExecutionMode = Field(strict=False)
    inputs: dict[str, Any]
    texts: dict[str, str] = Field(default_factory=dict)
    max_workers: int | None = None
    pickled: bool = False
    """Whether artifacts that aren't plain data are wanted as pickles."""
    environment: dict[str, str | None]
    """What the process's environment is given beside its own; null removes."""


class Mistake(Document):
    """Why a flow was not run: `kind` names the error of `core.errors` that the caller gets."""

    kind: Literal["UsageError", "Unsupported", "MissingDependency", "StackError"]
    code: str
    message: str
    hint: str = ""


class Failure(Document):
    """Something that a flow's task, its launch or its file raised; `type` is qualified but for built-in exceptions."""

    type: str
    message: str
    task: str | None = None


class FlowAnswer(Document):
    """How a run of a flow ended."""

    mistake: Mistake | None = None
    succeeded: bool = False
    pathspec: str | None = None
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By step: `status`, and how many `tasks` there were."""
    output: dict[str, Any] = Field(default_factory=dict)
    """The artifacts of the end step, packed."""
    pickles: dict[str, str] = Field(default_factory=dict)
    """Those that aren't plain data, base64."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Those that could not be carried, and why."""
    failures: list[Failure] = Field(default_factory=list)
    log: str = ""
    """The end of what the flow wrote to standard error, where it failed."""
