"""Which frameworks there are: the three built-in ones, and those that other packages add."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module, metadata

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import checked_name
from pytest_execgo.plan.adapter import Adapter

BUILT_IN = ("langgraph", "crewai", "autogen")
ENTRY_POINT_GROUP = "pytest_execgo.frameworks"


def load_adapters(added: Mapping[str, Adapter] | None = None) -> dict[str, Adapter]:
    """Return every adapter by framework name: built-in ones first, then entry points, then `added` (a plugin's hook).

    An entry point of group `pytest_execgo.frameworks` is an object that satisfies `Adapter`. A name that is taken already or
    can't stand in a run's id, or an entry point that can't be loaded, is a `UsageError` naming it.
    """
    adapters: dict[str, Adapter] = {name: import_module(f"pytest_execgo.adapters.{name}").adapter for name in BUILT_IN}
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            adapter = entry.load()
        except Exception as error:
            raise UsageError("framework_unloadable", f"framework {entry.name!r} ({entry.value}): {error!r}") from error
        _add(adapters, entry.name, adapter)
    for name, adapter in (added or {}).items():
        _add(adapters, name, adapter)
    return adapters


def _add(adapters: dict[str, Adapter], name: str, adapter: Adapter) -> None:
    if name in adapters:
        raise UsageError("framework_twice", f"framework {name!r} is added twice", "give each framework a name of its own")
    adapters[checked_name("framework", name)] = adapter
