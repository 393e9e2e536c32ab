"""The sandbox that a scenario asks for: a mode, or the long form; anything else is told with its place."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from pytest_execgo.plan.sandbox import MODES, SandboxPolicy
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.schema import schema_of
from pytest_execgo.plan.shape import check_shape

SPEC = {
    "id": "a",
    "description": "d",
    "seed": 1,
    "objective": "o",
    "verifier": "v.py:v",
    "allowed_tools": ["runtime.code"],
    "reference_plan": "plan.json",
}


def fits_schema(document: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(schema_of("scenario")).is_valid(document)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_alone_is_required(mode: str) -> None:
    document = {**SPEC, "sandbox": mode}
    spec, _, problems = check_shape(ScenarioSpec, document)
    assert problems == []
    assert spec is not None
    assert spec.sandbox == SandboxPolicy(mode=mode, required=True, network_enabled=False)  # type: ignore[arg-type]
    assert fits_schema(document)


def test_the_long_form_and_none_at_all() -> None:
    document = {**SPEC, "sandbox": {"mode": "native", "required": False, "network_enabled": True}}
    spec, _, problems = check_shape(ScenarioSpec, document)
    assert (problems, spec and spec.sandbox) == ([], SandboxPolicy(mode="native", required=False, network_enabled=True))
    assert fits_schema(document)
    for absent in ({**SPEC, "sandbox": None}, SPEC):
        spec, _, problems = check_shape(ScenarioSpec, absent)
        assert (problems, spec and spec.sandbox) == ([], None)
        assert fits_schema(absent)


@pytest.mark.parametrize(
    ("sandbox", "place", "words"),
    [
        ("nativ", "$.sandbox", "did you mean 'native'? allowed: docker, native, wasm"),
        ({"mode": "dokcer"}, "$.sandbox.mode", "did you mean 'docker'?"),
        ({"required": True}, "$.sandbox.mode", "required field 'mode' is missing"),
        ({"mode": "wasm", "reqired": True}, "$.sandbox.reqired", "did you mean 'required'?"),
        ({"mode": "wasm", "required": 1}, "$.sandbox.required", "allowed: true or false"),
        (True, "$.sandbox", "found true"),
    ],
)
def test_what_is_no_sandbox(sandbox: object, place: str, words: str) -> None:
    document = {**SPEC, "sandbox": sandbox}
    spec, _, (problem,) = check_shape(ScenarioSpec, document)
    assert spec is None
    assert problem.path == place
    assert words in problem.message
    assert not fits_schema(document)
