"""What a `scenario.yaml` holds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict

from pytest_execgo.plan.base import Document, Millis, Name
from pytest_execgo.plan.sandbox import MODES, SandboxPolicy
from pytest_execgo.plan.tools import TOOLS

_TOOL_NAMES: JsonDict = {"items": {"type": "string", "enum": [*sorted(TOOLS)]}}  # so that editors complete and check them


def _long_form(given: Any) -> Any:
    return {"mode": given} if isinstance(given, str) else given


def _or_a_mode(schema: JsonDict) -> None:
    forms = schema["anyOf"]
    assert isinstance(forms, list)
    forms.insert(0, {"type": "string", "enum": [*MODES]})


class PromptFiles(Document):
    """Files of the prompt pack, relative to the scenario's folder."""

    system: str
    user: str
    constraints: str | None = None


class EffectBudget(Document):
    """How much a plan may do: tasks it may submit, and effects it may apply in the effect sink."""

    max_tasks: Annotated[int, Field(ge=1)] = 100
    max_effects: Annotated[int, Field(ge=0)] = 0


class RecoveryPolicy(Document):
    """What is done about failures that may pass: how often a stage is tried, how often a dead service is brought back.

    `budget_ms` runs from a run's first failure; after that no new attempt begins. Codes in `give_up_on` are never tried again.
    """

    stage_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    restarts: Annotated[int, Field(ge=0, le=100)] = 5
    budget_ms: Millis = 30_000
    give_up_on: list[str] = Field(default_factory=list)


class ScenarioSpec(Document):
    """One scenario. Paths are relative to its folder.

    `artifacts` maps the names that plans use in `expected_artifacts` to files beneath the run's workspace.
    `verifier` is `file.py:function`, or the name that a plugin registered. `allowed_chaos` takes `all`.
    """

    id: Name = Field(description="Name of the scenario: the name of its folder.")
    description: str = Field(description="What the scenario asks for, in one or two sentences.")
    seed: int = Field(description="Seed of everything random in the scenario, unless a run is given another.")
    objective: Annotated[str, Field(min_length=1)] = Field(description="The task that the planner is given.")
    input: dict[str, Any] = Field(default_factory=dict, description="Data that the planner and the verifier get.")
    prompt_pack: PromptFiles | None = Field(default=None, description="Files with the prompts for a live planner.")
    fixtures: str | None = Field(default=None, description="Folder whose contents are laid into the run's workspace.")
    expected: dict[str, Any] | str = Field(
        default_factory=dict,
        description="What the verifier compares with: the data itself, or a file that holds it. Its `artifact_sha256` "
        "(artifact name to SHA-256, hex) feeds the metric `artifact_hash_match`.",
    )
    verifier: str = Field(description="`file.py:function` in this folder, or the name of a verifier that a plugin registered.")
    allowed_tools: Annotated[list[str], Field(min_length=1)] = Field(
        description="Tools that a plan may use.", json_schema_extra=_TOOL_NAMES
    )
    allowed_chaos: list[str] = Field(
        default_factory=lambda: ["all"], description="Chaos profiles that the scenario is run under; `all` means every one."
    )
    effect_budget: EffectBudget = Field(default_factory=EffectBudget, description="How much a plan may do.")
    recovery: RecoveryPolicy = Field(default_factory=RecoveryPolicy, description="What is done about failures that may pass.")
    deadline_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = Field(
        default=None, description="Milliseconds after which a run is stopped; absent: none."
    )
    artifacts: dict[str, str] = Field(
        default_factory=dict, description="Names that plans use in `expected_artifacts`, to files beneath the run's workspace."
    )
    sandbox: Annotated[SandboxPolicy | None, BeforeValidator(_long_form)] = Field(
        default=None,
        description="Sandbox in which all commands, scripts and code of its plans run; a mode alone is required.",
        json_schema_extra=_or_a_mode,
    )
    reference_plan: str = Field(description="File with a plan that solves the scenario.")
