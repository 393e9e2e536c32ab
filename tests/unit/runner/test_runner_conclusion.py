"""How a disturbed run counts."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import FaultRecord
from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.verdict import Attribution, Layer, Verdict
from pytest_execgo.runner.conclusion import conclude
from pytest_execgo.runner.ending import Ending

HIT = FaultRecord(0, "kill", "runtime", True, fired_ns=1, hit=True)
SPARED = FaultRecord(0, "kill", "runtime", False)
VALID = HistoryVerdict(outcome="valid")
UNKNOWN = HistoryVerdict(outcome="unknown", reasons=["nothing was accepted"])
BROKEN = HistoryVerdict(outcome="invalid", violations=[Violation(check="lost", message="task a was accepted, and is gone")])


def profile(expectation: str = "should_recover", code: str | list[str] | None = None, layer: str | None = None) -> ChaosProfile:
    document = {"id": "p", "description": "x", "recovery_expectation": expectation, "expected_code": code, "expected_layer": layer}
    return ChaosProfile.model_validate(document)


def failed(code: str = "stage_timeout", layer: Layer = "kernel") -> Ending:
    return Ending("failed", Attribution(layer=layer, code=code, message="too slow"), verdict=Verdict(passed=False, reasons=["no"]))


def concluded(ending: Ending, chosen: ChaosProfile, *, fault: FaultRecord = HIT, **other: Any) -> Ending:
    doubts, history = other.get("doubts", []), other.get("history", VALID)
    return conclude(ending, chosen, [fault], doubts, history, 42)


def test_a_run_that_got_over_its_faults_passes_and_one_that_did_not_fails() -> None:
    assert concluded(Ending("passed"), profile()).outcome == "passed"
    assert concluded(failed(), profile()).outcome == "failed"


def test_an_expected_failure_passes_and_keeps_its_explanation() -> None:
    ending = concluded(failed(), profile("expected_failure", "stage_timeout", "kernel"))
    assert ending.outcome == "passed"
    assert ending.attribution is not None
    assert ending.attribution.code == "stage_timeout"
    assert ending.verdict == Verdict(passed=True, reasons=["failed as profile 'p' expects: too slow"])


def test_of_several_expected_codes_any_will_do_and_no_other() -> None:
    either = profile("expected_failure", ["stage_timeout", "exit_nonzero"])
    assert concluded(failed(), either).outcome == "passed"
    assert concluded(failed("exit_nonzero", "runtime"), either).outcome == "passed"
    other = concluded(failed("binding_missing", "binding"), either)
    assert other.outcome == "failed"
    assert "expects the run to fail with stage_timeout or exit_nonzero, but" in str(other.verdict)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending("passed"), "but it passed"),
        (failed("binding_missing", "binding"), "but it failed with binding_missing in the layer binding"),
        (failed("stage_timeout", "runtime"), "but it failed with stage_timeout in the layer runtime"),
    ],
)
def test_any_other_end_than_the_expected_one_is_a_failure_that_names_both(ending: Ending, said: str) -> None:
    judged = concluded(ending, profile("expected_failure", "stage_timeout", "kernel"))
    assert judged.outcome == "failed"
    assert judged.verdict is not None
    assert "expects the run to fail with stage_timeout in the layer kernel" in judged.verdict.reasons[0]
    assert said in judged.verdict.reasons[0]


@pytest.mark.parametrize("ending", [Ending("passed"), failed()])
@pytest.mark.parametrize("fault", [HIT, SPARED])
@pytest.mark.parametrize("expectation", ["should_recover", "expected_failure", "not_applicable"])
def test_a_broken_promise_fails_the_run_whatever_else_is_true(ending: Ending, fault: FaultRecord, expectation: str) -> None:
    judged = concluded(ending, profile(expectation, "stage_timeout"), fault=fault, history=BROKEN, doubts=["never fired"])
    assert judged.outcome == "failed"
    assert judged.verdict is not None
    assert judged.verdict.reasons[0] == "lost: task a was accepted, and is gone"
    assert judged.attribution is not None
    assert (judged.attribution.code, judged.attribution.evidence) == ("history_lost", [42])


@pytest.mark.parametrize("expectation", ["should_recover", "expected_failure", "not_applicable"])
@pytest.mark.parametrize("ending", [Ending("passed"), failed()])
def test_a_fault_that_hit_nothing_proves_nothing(ending: Ending, expectation: str) -> None:
    judged = concluded(ending, profile(expectation, "stage_timeout"), doubts=["fault 0 never fired", "fault 1 hit nothing"])
    assert (judged.outcome, judged.error) == ("inconclusive", "fault 0 never fired; fault 1 hit nothing")


def test_a_run_that_every_fault_spared_counts_as_an_undisturbed_one() -> None:
    assert concluded(Ending("passed"), profile("expected_failure", "x"), fault=SPARED).outcome == "passed"
    assert concluded(failed(), profile("expected_failure", "stage_timeout"), fault=SPARED).outcome == "failed"


def test_recovery_needs_a_history_and_an_expected_failure_does_not() -> None:
    judged = concluded(Ending("passed"), profile(), history=UNKNOWN)
    assert (judged.outcome, judged.error) == ("inconclusive", "the history proves nothing: nothing was accepted")
    assert concluded(failed(), profile("expected_failure", "stage_timeout"), history=UNKNOWN).outcome == "passed"
    assert concluded(failed(), profile(), history=UNKNOWN).outcome == "failed", "that it did not recover is sure without one"


@pytest.mark.parametrize("ending", [Ending("error", error="x"), Ending("skipped"), Ending("inconclusive", interrupted=True)])
def test_what_could_not_be_concluded_stays_so(ending: Ending) -> None:
    assert concluded(ending, profile(), history=BROKEN, doubts=["never fired"]) is ending
