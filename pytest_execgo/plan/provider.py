"""Who the model of a live planning is, and where: what a provider says, and what it keeps to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, Self

from pytest_execgo.plan.model import ModelProfile

_HIDDEN = "***"


class Secret:
    """A text that shows as `***` wherever it is printed, and can't be pickled or written as JSON. Empty: there is none."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # what copies its holder (dataclasses.asdict) gets no text, either

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled")


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """Where one planning's model is. `base_url` ends where `/chat/completions` is to follow; it has no trailing slash.

    `profile` is what the planner is told of the model; `headers` go with every request, `api_key` as a bearer token (an empty
    one isn't sent).
    """

    base_url: str
    profile: ModelProfile
    api_key: Secret = field(default_factory=Secret)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.profile.model


class Provider(Protocol):
    """Somebody who serves models."""

    @property
    def name(self) -> str:
        """Name of the provider, as in `--execgo-provider`."""

    @property
    def label(self) -> str:
        """What people are told: who answers, with which model. A model that is none says so here."""

    def access(self, scenario: str, framework: str, seed: int) -> ModelAccess:
        """Tell where the model of one planning is."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What was chosen of a model, whoever serves it. `model` is empty when none was named; `timeout_ms` bounds one request."""

    model: str = ""
    temperature: float = 0.0
    max_tokens: int = 4096
    timeout_ms: int = 60_000

    def profile(self, provider: str, model: str, seed: int) -> ModelProfile:
        """Return the profile that a planner gets."""
        return ModelProfile(
            provider=provider,
            model=model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            timeout_ms=self.timeout_ms,
            seed=seed,
        )


ProviderFactory = Callable[[ModelChoice, Mapping[str, str], str], Provider]
"""Makes a provider of the choice, the environment's variables, and the fixtures service's URL (empty before the stack is up).

It raises `UsageError` for what the user must mend, without waiting for anything.
"""
