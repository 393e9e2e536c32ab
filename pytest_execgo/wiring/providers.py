"""Whose model plans: the provider that the settings name, made of the environment that is handed in."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.provider import Provider
from pytest_execgo.providers.catalogue import load_providers
from pytest_execgo.wiring.settings import Settings


def make_provider(settings: Settings, environ: Mapping[str, str], fixtures_url: str) -> Provider:
    """Make the provider of live planning; only for sweeps with live cells.

    `environ` is where keys come from, `fixtures_url` the stack's fixtures service. `UsageError` when no provider was named, for an
    unknown one, and for whatever it lacks; there is no default, because a scripted model must never pass for a real one.
    """
    if settings.provider is None:
        raise UsageError(
            "provider_missing",
            "live planning needs a provider, and none was named",
            "add --execgo-provider openai (a real model; its key in OPENAI_API_KEY) or --execgo-provider mock (a scripted model)",
        )
    factories = load_providers()
    if settings.provider not in factories:
        raise UsageError.unknown("provider", settings.provider, factories)
    return factories[settings.provider](settings.model, environ, fixtures_url)


def check_provider(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise what `make_provider` would, before there is a stack."""
    make_provider(settings, environ, "")
