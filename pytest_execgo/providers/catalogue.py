"""Which providers there are: the two built-in ones, and those that other packages add."""

from __future__ import annotations

from importlib import metadata

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import checked_name
from pytest_execgo.plan.provider import ProviderFactory
from pytest_execgo.providers import mock, openai

ENTRY_POINT_GROUP = "pytest_execgo.providers"


def load_providers() -> dict[str, ProviderFactory]:
    """Return what makes each provider, by name: built-in ones first, then entry points of group `pytest_execgo.providers`.

    A name that is taken already, or an entry point that can't be loaded, is a `UsageError` naming it.
    """
    factories: dict[str, ProviderFactory] = {mock.NAME: mock.mock_provider, openai.NAME: openai.openai_provider}
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in factories:
            raise UsageError("provider_twice", f"provider {entry.name!r} is added twice", "give each provider a name of its own")
        try:
            factories[checked_name("provider", entry.name)] = entry.load()
        except UsageError:
            raise
        except Exception as error:
            raise UsageError("provider_unloadable", f"provider {entry.name!r} ({entry.value}): {error!r}") from error
    return factories
