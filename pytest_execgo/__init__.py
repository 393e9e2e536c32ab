"""pytest-execgo: scenarios as test cases for the plans that agents make.

What verifiers and conftest files need is here, imported when it is first used: for verifiers `Verdict`, `VerifierContext`,
`TaskOutcome`, `StandardPlan`; for frameworks `Adapter`, `AdapterCapabilities`, `PlannedRun`; `ExecGoError`, `VerificationFailed`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_execgo.core.errors import ExecGoError, VerificationFailed
    from pytest_execgo.plan.adapter import Adapter, AdapterCapabilities, PlannedRun
    from pytest_execgo.plan.model import StandardPlan
    from pytest_execgo.plan.verdict import TaskOutcome, Verdict, VerifierContext

__all__ = [
    "Adapter",
    "AdapterCapabilities",
    "ExecGoError",
    "PlannedRun",
    "StandardPlan",
    "TaskOutcome",
    "Verdict",
    "VerificationFailed",
    "VerifierContext",
]

_HOMES = {
    "Adapter": "pytest_execgo.plan.adapter",
    "AdapterCapabilities": "pytest_execgo.plan.adapter",
    "PlannedRun": "pytest_execgo.plan.adapter",
    "ExecGoError": "pytest_execgo.core.errors",
    "VerificationFailed": "pytest_execgo.core.errors",
    "StandardPlan": "pytest_execgo.plan.model",
    "TaskOutcome": "pytest_execgo.plan.verdict",
    "Verdict": "pytest_execgo.plan.verdict",
    "VerifierContext": "pytest_execgo.plan.verdict",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
