"""A scenario file, collected as a module whose one test is parametrised over the axes."""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plugin.properties import cell_of
from pytest_execgo.wiring.sweep import Sweep


def test_plan(execgo_run: BenchmarkResult) -> None:
    """The plan must do what the scenario asks for."""
    execgo_run.raise_for_verdict()


def _test_at(file: Path) -> types.FunctionType:
    """Return the test as if it stood at the top of a file: pytest's reports and links then lead there, not in here."""
    code = test_plan.__code__.replace(co_filename=str(file), co_firstlineno=1)
    placed = types.FunctionType(code, test_plan.__globals__)
    placed.__doc__ = test_plan.__doc__
    return placed


def amend(report: pytest.TestReport, item: pytest.Item, *, ran: bool) -> None:
    """Name a scenario's test by its cell in the report's headline; let a skip of ours point to the test, not in here.

    A cell that was not run (`ran`) has no outcome yet: its reports say what it counts as.
    """
    cell = cell_of(item)
    if cell is not None and isinstance(item.parent, ScenarioModule):
        report.location = (*report.location[:2], str(cell))
    known = {name for name, _ in item.user_properties}
    if not ran and not report.passed and "execgo.cell_id" in known and "execgo.outcome" not in known:
        outcome = ("execgo.outcome", "skipped" if report.skipped else "error")
        item.user_properties.append(outcome)
        report.user_properties.append(outcome)
    if ran and report.skipped and isinstance(report.longrepr, tuple):
        file, line, _ = item.reportinfo()
        report.longrepr = (str(file), (line or 0) + 1, report.longrepr[2])


class StrayScenario(pytest.File):
    """A scenario file that is not where scenarios are looked for."""

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path) -> Self:
        """Build the node."""
        node: Self = cls.from_parent(parent, path=path)
        return node

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Say where scenarios belong."""
        place = self.config.rootpath / "scenarios"
        raise self.CollectError(f"{self.path}: no scenario of this project\n  hint: scenarios live in {place}/<id>/")


class ScenarioModule(pytest.Module):
    """A module whose object is made from a scenario, not imported."""

    scenario_id: str
    sweep: Sweep

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, scenario_id: str, sweep: Sweep) -> Self:
        """Build the node. A scenario outside of the project gets the id that it would have inside."""
        outside = not path.is_relative_to(parent.config.rootpath) or "site-packages" in path.parts
        nodeid = f"scenarios/{scenario_id}/{path.name}" if outside else None
        module: Self = cls.from_parent(parent, path=path, nodeid=nodeid) if nodeid else cls.from_parent(parent, path=path)
        module.scenario_id = scenario_id
        module.sweep = sweep
        return module

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType(f"execgo_scenario_{self.scenario_id}", self.sweep.scenario(self.scenario_id).spec.description)
        module.__file__ = str(self.path)
        module.test_plan = _test_at(self.path)  # type: ignore[attr-defined]
        module.execgo_scenario_id = self.scenario_id  # type: ignore[attr-defined]
        return module

    def funcnamefilter(self, name: str) -> bool:
        """Collect `test_plan`, whatever `python_functions` says."""
        return name == test_plan.__name__

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Collect the test; a scenario that can't be loaded is a collection error with every problem."""
        try:
            scenario = self.sweep.scenario(self.scenario_id)
            self.sweep.verifier(scenario)
        except UsageError as error:
            raise self.CollectError(str(error)) from error
        return super().collect()
