"""Does a profile make sense? Every fault against its action, every trigger against the events, and the profile as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pytest_execgo.chaos.catalogue import targets_of
from pytest_execgo.chaos.trigger import trigger_problems
from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.chaos import ChaosProfile, Fault
from pytest_execgo.plan.fault import Action, PlanAction
from pytest_execgo.plan.problems import Problem, Suggester
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.plan.verdict import Layer
from pytest_execgo.plan.view import listed

Actions = Mapping[str, Action | PlanAction]
_PLACED = re.compile(r"((?:parameters|trigger|duration_ms|target)\S*): (.*)", re.DOTALL)


def check_profile(document: Any, actions: Actions) -> tuple[ChaosProfile | None, list[Problem]]:
    """Return the profile (None if it has no proper shape) and everything that is wrong with it.

    Problems of shape don't hide others: each fault that is well-formed is checked for sense.
    """
    profile, clean, problems = check_shape(ChaosProfile, document)
    suggest = Suggester()
    for index, raw in enumerate(listed(clean.get("faults") if isinstance(clean, dict) else None)):
        fault = check_shape(Fault, raw)[0]
        if fault is not None:
            problems += _check_fault(fault, f"$.faults[{index}]", actions, suggest)
    if isinstance(clean, dict):
        problems += _contradictions(clean, suggest)
    if profile is not None:
        problems += _crowded(profile)
    return profile, problems


def _check_fault(fault: Fault, path: str, actions: Actions, suggest: Suggester) -> Iterator[Problem]:
    yield from trigger_problems(fault.trigger, f"{path}.trigger", suggest)
    action = actions.get(fault.action)
    if action is None:
        yield Problem(f"{path}.action", "unknown_action", suggest.unknown("action", fault.action, sorted(actions)))
        return
    targets = targets_of(action)
    if fault.target not in targets:
        said = f"{fault.action} can't be done to {describe(fault.target)}; {suggest.allowed(fault.target, sorted(targets))}"
        yield Problem(f"{path}.target", "bad_target", said)
    for sentence in action.problems(fault):
        placed = _PLACED.fullmatch(sentence)
        where, said = (f".{placed[1]}", placed[2]) if placed else ("", sentence)
        yield Problem(f"{path}{where}", "bad_fault", said)


def _contradictions(document: Mapping[str, Any], suggest: Suggester) -> Iterator[Problem]:
    """Find expectations that can't be meant."""
    expected = document.get("recovery_expectation")
    code, layer = document.get("expected_code"), document.get("expected_layer")
    if expected in ("should_recover", "expected_failure") and document.get("faults", []) == []:
        what = f"{expected} without any fault: there is nothing to recover from, or to fail of; allowed: not_applicable"
        yield Problem("$.recovery_expectation", "contradiction", what)
    if expected == "expected_failure" and code is None:
        what = "expected_failure needs expected_code: any failure would do otherwise; write the code that the run must end with"
        yield Problem("$.recovery_expectation", "contradiction", what)
    if expected != "expected_failure":
        for name, value in (("expected_code", code), ("expected_layer", layer)):
            if value is not None:
                what = f"{name} goes with recovery_expectation: expected_failure, and with no other"
                yield Problem(f"$.{name}", "contradiction", what)
    if isinstance(layer, str) and layer not in get_args(Layer):
        yield Problem("$.expected_layer", "unknown_layer", suggest.unknown("layer", layer, get_args(Layer)))
    if code in ("", []) or (isinstance(code, list) and "" in code):
        what = f"found {describe(code)}; allowed: the code of a failure, or a list of such codes"
        yield Problem("$.expected_code", "bad_value", what)


def _crowded(profile: ChaosProfile) -> Iterator[Problem]:
    """Find faults that the fixtures service can't tell apart: two kinds of error, different routes, two of its model."""
    first: dict[str, tuple[int, Any]] = {}
    misled: list[int] = []
    for index, fault in enumerate(profile.faults):
        if fault.action == "model_fault":
            if misled:
                what = f"the scripted model has one fault at a time, and fault {misled[0]} is one"
                yield Problem(f"$.faults[{index}].action", "contradiction", what)
            misled.append(index)
        if fault.action not in ("fixture_error", "fixture_latency"):
            continue
        kinds = [("routes", fault.parameters.get("routes"))]
        if fault.action == "fixture_error":
            kinds.append(("error_mode", fault.parameters.get("error_mode")))
        for kind, value in kinds:
            earlier, other = first.setdefault(kind, (index, value))
            if other != value:
                what = f"the fixtures service has one {kind} for all of its faults, and fault {earlier} has another"
                yield Problem(f"$.faults[{index}].parameters", "contradiction", what)
