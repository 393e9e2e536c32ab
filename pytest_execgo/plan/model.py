"""StandardPlan, the one document that every framework's plan is normalised into (seeds 000 and 001)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document, Millis, Name

Mode = Literal["replay", "live"]
SCHEMA_VERSION: Literal["0.1.0"] = "0.1.0"


class Task(Document):
    """One ExecGo task as a plan writes it (seed 004, chapter 5). `timeout` is per attempt, in milliseconds."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    type: Annotated[str, Field(min_length=1)]
    params: dict[str, Any] | None = None
    tool_name: str | None = None
    input: dict[str, Any] | None = None
    execution_category: str | None = None
    depends_on: list[str] = Field(default_factory=list)
    retry: Annotated[int, Field(ge=0, le=100)] = 0
    timeout: Millis | None = None
    annotations: dict[str, str] = Field(default_factory=dict)


class TaskGraph(Document):
    """The tasks that are submitted to the kernel together, as one DAG."""

    tasks: Annotated[list[Task], Field(min_length=1)]


class Binding(Document):
    r"""Carries one value from a finished task of an earlier stage into a task of this stage before it is submitted.

    Paths are dotted: `output.patched_files.0`, `input.execution.env.REPORT`; a literal dot in a key is written `\.`.
    `source_path` starts in the finished task's envelope, where `output` is its portable view.
    """

    source_task_id: Annotated[str, Field(min_length=1)]
    source_path: Annotated[str, Field(min_length=1)]
    target_task_id: Annotated[str, Field(min_length=1)]
    target_param_path: Annotated[str, Field(min_length=1)]
    required: bool = True


class SubmitPolicy(Document):
    """How a stage is watched: `poll_interval_ms` caps the interval; times `max_attempts` it is the stage's time budget."""

    poll_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] = 120
    stop_on_failure: bool = True


class PlanStage(Document):
    """One submission: a task graph, what is bound into it, how it is watched, which artifacts must exist after it.

    `expected_artifacts` are names that the scenario maps to files, or paths beneath the workspace.
    """

    stage_id: Annotated[str, Field(min_length=1, max_length=200)]
    task_graph: TaskGraph
    bindings: list[Binding] = Field(default_factory=list)
    submit_policy: SubmitPolicy = Field(default_factory=SubmitPolicy)
    expected_artifacts: list[str] = Field(default_factory=list)
    annotations: dict[str, str] = Field(default_factory=dict)


class StandardPlan(Document):
    """A whole plan: stages in the order in which they are submitted. Task ids are unique across stages."""

    plan_id: Annotated[str, Field(min_length=1, max_length=200)]
    scenario_id: Name
    framework: Name
    mode: Mode
    stages: Annotated[list[PlanStage], Field(min_length=1)]
    schema_version: Literal["0.1.0"] = SCHEMA_VERSION
    raw_trace_ref: str | None = None
    normalization_warnings: list[str] = Field(default_factory=list)
    annotations: dict[str, str] = Field(default_factory=dict)


class PromptPack(Document):
    """The texts that a planner gets for a scenario."""

    system: str = ""
    user: str = ""
    constraints: str = ""


class ModelProfile(Document):
    """Which model plans, and how. `timeout_ms` bounds one request."""

    provider: str = "mock"
    model: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    timeout_ms: Millis = 60_000
    seed: int = 0


class PlanContext(Document):
    """All that an adapter knows when it makes or replays a plan."""

    scenario_id: Name
    framework: Name
    mode: Mode
    seed: int
    objective: str
    scenario_input: dict[str, Any]
    prompt_pack: PromptPack
    allowed_tools: list[str]
    max_tasks: Annotated[int, Field(ge=1)] = 100
    model_profile: ModelProfile = Field(default_factory=ModelProfile)
    chaos_profile: Name = "none"
