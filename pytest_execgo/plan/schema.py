"""Every data shape as JSON Schema (draft 2020-12), for editors and other tools."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.checkpoint import Checkpoint
from pytest_execgo.plan.event import TimelineEvent
from pytest_execgo.plan.executor import ExecutionContext
from pytest_execgo.plan.model import SCHEMA_VERSION, Binding, PlanContext, PlanStage, StandardPlan, SubmitPolicy
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkRunRequest, BenchmarkSummary
from pytest_execgo.plan.sandbox import ExecutionRequest, ExecutionResult, SandboxConfig
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.tool_inputs import TOOL_INPUTS
from pytest_execgo.plan.verdict import Verdict

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: dict[str, type[BaseModel]] = {
    "plan_context": PlanContext,
    "standard_plan": StandardPlan,
    "plan_stage": PlanStage,
    "binding": Binding,
    "submit_policy": SubmitPolicy,
    "benchmark_run_request": BenchmarkRunRequest,
    "benchmark_result": BenchmarkResult,
    "benchmark_summary": BenchmarkSummary,
    "chaos_profile": ChaosProfile,
    "timeline_event": TimelineEvent,
    "execution_request": ExecutionRequest,
    "sandbox_config": SandboxConfig,
    "execution_result": ExecutionResult,
    "checkpoint": Checkpoint,
    "execution_context": ExecutionContext,
    "verdict": Verdict,
    # by the names of the files that people write: scenario.yaml, chaos/*.yaml
    "scenario": ScenarioSpec,
    "chaos": ChaosProfile,
    # what tasks take, by tool; an mcp task takes whatever its tool does
    **{f"tool.{tool}": model for tool, model in TOOL_INPUTS.items() if tool != "mcp.call"},
}
"""The shapes by their schema's name."""


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of `MODELS` as a document of its own, as strict as the model about fields and values.

    One difference remains: JSON Schema takes 1.0 for an integer, the model does not.
    """
    model = MODELS[name]
    body = model.model_json_schema()
    return {"$schema": DIALECT, "$id": f"urn:pytest-execgo:schema:{name}:{SCHEMA_VERSION}", **body, "title": model.__name__}
