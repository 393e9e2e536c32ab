"""The scripted model of the stack's fixtures service: the same plans for the same seed, no key, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.provider import ModelAccess, ModelChoice

NAME = "mock"
MODEL = "scripted-planner"
PLAIN = "plain"
FORMS = ("langgraph", "crewai", "autogen")
"""Frameworks whose form of speech the scripted model knows; it speaks `plain` with any other."""


@dataclass(frozen=True, slots=True)
class MockProvider:
    """The scripted model behind the fixtures service at `fixtures_url`."""

    choice: ModelChoice
    fixtures_url: str
    name: str = NAME
    label: str = f"{NAME} (a scripted model; no language model is asked)"

    def access(self, scenario: str, framework: str, seed: int) -> ModelAccess:
        """Tell where the scripted planner of one scenario, framework and seed is."""
        form = framework if framework in FORMS else PLAIN
        url = f"{self.fixtures_url.rstrip('/')}/model/{quote(scenario, safe='')}/{form}/{seed}/v1"
        return ModelAccess(url, self.choice.profile(NAME, MODEL, seed))


def mock_provider(choice: ModelChoice, environ: Mapping[str, str], fixtures_url: str) -> MockProvider:
    """Make the provider; a model's name other than its own is a `UsageError`."""
    if choice.model not in ("", MODEL):
        said = f"model {choice.model!r} does not go with provider 'mock', whose one model is {MODEL!r}"
        raise UsageError("option_conflict", said, "leave --execgo-model out, or use --execgo-provider openai")
    return MockProvider(choice, fixtures_url)
