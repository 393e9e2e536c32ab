"""What passes between the runner, a framework's planner in its own process, and the model that it asks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.base import Document, Millis
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.verdict import Layer

PlanSource = Literal["reference", "recording", "live"]
"""Where a run's plan came from: the scenario's reference plan, the framework's recording, or the framework itself."""


class PlanningFailed(ExecGoError):
    """No plan came of it. `layer` is planner (the model, or what it said) or adapter (the framework, or its process)."""

    def __init__(self, code: str, message: str, hint: str = "", *, layer: Layer = "planner", retryable: bool = False) -> None:
        super().__init__(code, message, hint)
        self.layer = layer
        self.retryable = retryable


class PlanningRequest(Document):
    """All that a planner's process gets for one plan: the context, the catalogue of tools, the plan's schema, where the model is.

    `model_url` is the base URL of an OpenAI-compatible service (it ends in `/v1`) that needs no real key; `deadline_ms` is
    the time for the whole plan.
    """

    context: PlanContext
    tools: dict[str, Any]
    plan_schema: dict[str, Any]
    model_url: str
    deadline_ms: Millis = 120_000


class PlannerOutput(Document):
    """What a framework gave for one plan, before anything is repaired: the input of its adapter's normaliser.

    `raw` is the framework's own result as JSON values (a graph's final state, a crew's output, a group chat's messages),
    `trace` its native trace, `framework_version` the installed version of its package. `repairs` counts how often the
    framework itself had its model mend a plan.
    """

    framework: str
    framework_version: str
    raw: dict[str, Any]
    trace: list[dict[str, Any]] = Field(default_factory=list)
    repairs: int = 0


class ModelExchange(Document):
    """One HTTP exchange with the model, redacted: no key and no header that may carry one. Times in milliseconds."""

    path: str
    request: Any
    status: int | None
    response: Any
    took_ms: float
    error: str | None = None


class ModelUsage(Document):
    """What the model's answers said of their cost, summed up; null where none did. `model_ms`: time spent waiting for the model."""

    requests: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    model_ms: float = 0.0


class Recording(Document):
    """`recordings/<framework>.json` of a scenario: one live planning, to be replayed through the same adapter.

    `provider` says who the model was; `scenario_digest` and `schema_version` what the recording belongs to.
    """

    schema_version: Literal["0.1.0"] = "0.1.0"
    scenario_id: str
    scenario_digest: str
    provider: str
    model: str
    seed: int
    recorded_at: str
    output: PlannerOutput
    exchanges: list[ModelExchange] = Field(default_factory=list)
    usage: ModelUsage = Field(default_factory=ModelUsage)
    plan_digest: str
