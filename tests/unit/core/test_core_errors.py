"""Errors say what, where and what would be right, and survive the way from one process to another."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pytest_execgo.client.kernel import KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import ExecGoError, MissingDependency, StackError, Unsupported, UsageError, VerificationFailed
from pytest_execgo.plan.problems import PlanInvalid, Problem


@pytest.mark.parametrize("kind", [ExecGoError, UsageError, MissingDependency, Unsupported, StackError, KernelUnreachable])
def test_an_error_survives_pickling(kind: type[ExecGoError]) -> None:
    error: Any = pickle.loads(pickle.dumps(kind("some_code", "what is wrong", "what is right")))
    assert type(error) is kind
    assert (error.code, error.message, error.hint) == ("some_code", "what is wrong", "what is right")
    assert str(error) == "what is wrong\n  hint: what is right"
    assert error.args == ("what is wrong",)


def test_what_a_subclass_adds_survives_pickling_too() -> None:
    refused: Any = pickle.loads(pickle.dumps(KernelRefused("refused", "no", "why", status_code=404)))
    assert (type(refused), refused.status_code, refused.message) == (KernelRefused, 404, "no")
    invalid: Any = pickle.loads(pickle.dumps(PlanInvalid([Problem("$.a", "missing", "is missing")])))
    assert invalid.problems == (Problem("$.a", "missing", "is missing"),)
    assert "$.a: is missing" in str(invalid)


def test_notes_survive_pickling() -> None:
    error = UsageError("c", "m")
    error.add_note("while starting")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while starting"]


def test_without_a_hint_only_the_message_is_shown() -> None:
    assert str(ExecGoError("c", "only this")) == "only this"


def test_an_unknown_name_gets_the_nearest_and_the_allowed_ones() -> None:
    error = UsageError.unknown("chaos profile", "non", {"none", "latency"})
    assert error.code == "unknown_chaos_profile"
    assert error.message == "unknown chaos profile 'non'"
    assert error.hint == "did you mean 'none'? allowed: latency, none"
    far = UsageError.unknown("framework", "zzz", ["crewai"])
    assert far.hint == "allowed: crewai"
    assert UsageError.unknown("framework", "x", []).hint == "allowed: none"


def test_a_users_mistake_and_our_failure_have_different_exit_codes() -> None:
    assert (UsageError.exit_code, ExecGoError.exit_code, StackError.exit_code) == (2, 3, 3)


def test_a_verdict_is_an_assertion_and_none_of_our_errors() -> None:
    assert issubclass(VerificationFailed, AssertionError)
    assert not issubclass(VerificationFailed, ExecGoError)
