"""What a `scenario.yaml` holds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pytest_execgo.plan.base import Document, Name


class PromptFiles(Document):
    """Files of the prompt pack, relative to the scenario's folder."""

    system: str
    user: str
    constraints: str | None = None


class EffectBudget(Document):
    """How much a plan may do: tasks it may submit, and effects it may apply in the effect sink."""

    max_tasks: Annotated[int, Field(ge=1)] = 100
    max_effects: Annotated[int, Field(ge=0)] = 0


class ScenarioSpec(Document):
    """One scenario. Paths are relative to its folder.

    `artifacts` maps the names that plans use in `expected_artifacts` to files beneath the run's workspace.
    `verifier` is `file.py:function`, or the name that a plugin registered. `allowed_chaos` takes `all`.
    """

    id: Name
    description: str
    seed: int
    objective: Annotated[str, Field(min_length=1)]
    input: dict[str, Any] = Field(default_factory=dict)
    prompt_pack: PromptFiles
    fixtures: str | None = None
    expected: dict[str, Any] | str = Field(default_factory=dict)
    verifier: str
    allowed_tools: Annotated[list[str], Field(min_length=1)]
    allowed_chaos: list[str] = Field(default_factory=lambda: ["all"])
    effect_budget: EffectBudget = Field(default_factory=EffectBudget)
    artifacts: dict[str, str] = Field(default_factory=dict)
    reference_plan: str
