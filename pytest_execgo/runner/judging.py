"""What a scenario's verifier says of a run, and whether the run kept to its effect budget."""

from __future__ import annotations

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.verdict import Verdict, Verifier, VerifierContext
from pytest_execgo.scenarios.verifiers import judge


def verdict_of(verifier: Verifier, context: VerifierContext) -> Verdict:
    """Return the verifier's verdict; `ExecGoError` when it can't be written down."""
    verdict = judge(verifier, context)
    try:
        verdict.model_dump(mode="json")
    except ValueError as error:
        what = f"the verifier's details can't be written down: {error}"
        raise ExecGoError("verifier_bad_result", what, "details hold JSON values alone") from error
    return verdict


def within_budget(verdict: Verdict, applied: int, allowed: int) -> Verdict:
    """Return the verdict, turned down when the plan applied more effects than the scenario allows."""
    if applied <= allowed:
        return verdict
    reason = f"the plan applied {applied} effects; the scenario's budget is {allowed}"
    return Verdict(passed=False, reasons=[*verdict.reasons, reason], details=verdict.details)
