"""How a run that was disturbed counts: what its chaos profile expects, what really hit, and what its history proves."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import FaultRecord
from pytest_execgo.plan.history import HistoryVerdict
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.runner.ending import Ending


def conclude(
    ending: Ending,
    profile: ChaosProfile,
    faults: Sequence[FaultRecord],
    doubts: Sequence[str],
    history: HistoryVerdict | None,
    seq: int,
) -> Ending:
    """Return how the run ends, all things considered.

    A broken promise in the history fails it whatever else is true. `doubts` say why nothing can be concluded about the
    faults. An expected failure passes only with the expected code and layer. `seq` is the timeline's event of the history.
    """
    if ending.outcome in ("skipped", "error") or ending.interrupted:
        return ending
    if history is not None and history.outcome == "invalid":
        return _convicted(ending, history, seq)
    if not any(fault.drawn for fault in faults):
        return ending  # nothing was to strike: an undisturbed run
    if doubts:
        return Ending("inconclusive", ending.attribution, "; ".join(doubts))
    if profile.recovery_expectation == "expected_failure":
        return _expected(ending, profile)
    if (
        ending.outcome == "passed"
        and history is not None
        and history.outcome == "unknown"
        and profile.recovery_expectation == "should_recover"
    ):
        return Ending("inconclusive", ending.attribution, f"the history proves nothing: {'; '.join(history.reasons)}")
    return ending


def _convicted(ending: Ending, history: HistoryVerdict, seq: int) -> Ending:
    reasons = [f"{violation.check}: {violation.message}" for violation in history.violations]
    first = history.violations[0]
    attribution = Attribution(layer="kernel", code=f"history_{first.check}", message=reasons[0], evidence=[seq])
    before = ending.verdict.reasons if ending.verdict is not None else []
    return Ending("failed", attribution, verdict=Verdict(passed=False, reasons=[*reasons, *before]))


def _expected(ending: Ending, profile: ChaosProfile) -> Ending:
    wanted = " or ".join(profile.expected_codes) or "a failure"
    where = f" in the layer {profile.expected_layer}" if profile.expected_layer else ""
    found = ending.attribution
    if ending.outcome != "failed" or found is None:
        said = f"profile {profile.id!r} expects the run to fail with {wanted}{where}, but it {ending.outcome}"
        attribution = Attribution(layer="plan", code="failure_expected", message=said)
        return Ending("failed", attribution, verdict=Verdict(passed=False, reasons=[said]))
    if found.code not in profile.expected_codes or profile.expected_layer not in (None, found.layer):
        said = (
            f"profile {profile.id!r} expects the run to fail with {wanted}{where}, "
            f"but it failed with {found.code} in the layer {found.layer}: {found.message}"
        )
        return Ending("failed", found, verdict=Verdict(passed=False, reasons=[said]))
    said = f"failed as profile {profile.id!r} expects: {found.message}"
    return Ending("passed", found, verdict=Verdict(passed=True, reasons=[said]))
