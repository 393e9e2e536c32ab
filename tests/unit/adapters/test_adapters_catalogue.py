"""Frameworks come from here, from other packages, and from a plugin's hook; names are taken once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pytest

from pytest_execgo.adapters.catalogue import BUILT_IN, ENTRY_POINT_GROUP, load_adapters
from pytest_execgo.adapters.replay import ReplayAdapter
from pytest_execgo.core.errors import UsageError


@dataclass
class EntryPoint:
    name: str
    loaded: object
    value: str = "their_package.adapter:adapter"

    def load(self) -> object:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def adapter(name: str) -> ReplayAdapter:
    return ReplayAdapter(name, name, name, lambda raw: None)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*entries: EntryPoint) -> None:
        def entry_points(**only: Any) -> list[EntryPoint]:
            assert only == {"group": ENTRY_POINT_GROUP}
            return list(entries)

        monkeypatch.setattr(metadata, "entry_points", entry_points)

    return install


def test_the_three_frameworks_are_there_in_their_order() -> None:
    adapters = load_adapters()
    assert tuple(adapters)[:3] == BUILT_IN == ("langgraph", "crewai", "autogen")
    assert {name: adapters[name].framework for name in BUILT_IN} == {name: name for name in BUILT_IN}


def test_entry_points_and_then_a_plugins_own_are_added(installed: Callable[..., None]) -> None:
    theirs, ours = adapter("theirs"), adapter("ours")
    installed(EntryPoint("theirs", theirs))
    adapters = load_adapters({"ours": ours})
    assert tuple(adapters) == (*BUILT_IN, "theirs", "ours")
    assert adapters["theirs"] is theirs
    assert adapters["ours"] is ours


def test_a_taken_name_is_refused_wherever_it_comes_from(installed: Callable[..., None]) -> None:
    installed(EntryPoint("crewai", adapter("crewai")))
    with pytest.raises(UsageError, match="'crewai' is added twice"):
        load_adapters()
    installed(EntryPoint("mine", adapter("mine")), EntryPoint("mine", adapter("mine")))
    with pytest.raises(UsageError, match="'mine' is added twice") as refused:
        load_adapters()
    assert refused.value.code == "framework_twice"
    installed(EntryPoint("mine", adapter("mine")))
    with pytest.raises(UsageError, match="'mine' is added twice"):
        load_adapters({"mine": adapter("mine")})


@pytest.mark.parametrize("name", ["my framework", "../x", "", "a/b"])
def test_a_name_that_could_not_stand_in_a_runs_id_is_refused(installed: Callable[..., None], name: str) -> None:
    installed(EntryPoint(name, adapter("x")))
    with pytest.raises(UsageError, match="can't be used as a name"):
        load_adapters()


def test_an_entry_point_that_can_not_be_loaded_is_named_with_the_reason(installed: Callable[..., None]) -> None:
    installed(EntryPoint("broken", ImportError("No module named 'their_package'")))
    with pytest.raises(UsageError) as refused:
        load_adapters()
    assert refused.value.code == "framework_unloadable"
    assert refused.value.message == (
        "framework 'broken' (their_package.adapter:adapter): ImportError(\"No module named 'their_package'\")"
    )


def test_loading_them_imports_no_framework() -> None:
    heavy = {"langgraph", "langchain_core", "crewai", "autogen_agentchat", "autogen_core", "requests"}
    load = "from pytest_execgo.adapters.catalogue import load_adapters; load_adapters()"
    code = f"import sys; {load}; print({heavy!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
