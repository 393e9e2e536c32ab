"""Hooks by which other plugins and conftest files extend pytest-execgo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_execgo.plan.adapter import Adapter
    from pytest_execgo.plan.fault import Action, PlanAction
    from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
    from pytest_execgo.plan.verdict import Verifier


@pytest.hookspec
def pytest_execgo_frameworks(config: pytest.Config) -> Mapping[str, Adapter]:
    """Add frameworks: return adapters by the names that they get on the framework axis."""
    raise NotImplementedError


@pytest.hookspec
def pytest_execgo_verifiers(config: pytest.Config) -> Mapping[str, Verifier]:
    """Add verifiers: return functions by the names that a scenario's `verifier` may use."""
    raise NotImplementedError


@pytest.hookspec
def pytest_execgo_chaos_actions(config: pytest.Config) -> Mapping[str, Action | PlanAction]:
    """Add kinds of faults: return actions by the names that chaos profiles use (docs/chaos.md); no name may be taken already."""
    raise NotImplementedError


@pytest.hookspec
def pytest_execgo_cell_finished(config: pytest.Config, result: BenchmarkResult) -> None:
    """Be told each cell's result, in the process that reports (the controller, under xdist)."""


@pytest.hookspec
def pytest_execgo_sweep_finished(config: pytest.Config, summary: BenchmarkSummary) -> None:
    """Be told the sweep's summary, after its files were written."""
