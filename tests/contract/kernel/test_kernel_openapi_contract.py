"""GET /openapi.json is true: whatever a client makes of it, the kernel answers as it says, and never with a server error."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator, ValidationError
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from pytest_execgo.kernel.api.openapi import OPERATIONS, Operation
from pytest_execgo.kernel.api.openapi_shapes import SHAPES, ref

CHECKED = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)


def name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.fixture(scope="session")
def schema(service: tuple[str, str]) -> Any:
    url, which = service
    if which == "given":
        pytest.skip("only our kernel describes itself")
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def strict_only(service: tuple[str, str]) -> None:
    if service[1] != "strict":
        pytest.skip("without --compat there is all of this, and more")


def answers_as_it_says(url: str, schema: Any, operation: Operation, mode: GenerationMode, examples: int) -> None:
    """Send what schemathesis makes of an operation; it raises what doesn't conform."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[operation.path][operation.method].as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(base_url=url, checks=CHECKED)

    check()


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_what_is_allowed_is_answered_as_described(schema: Any, service: tuple[str, str], operation: Operation) -> None:
    strict_only(service)
    examples = 15 if operation.body or "{" in operation.path else 3
    answers_as_it_says(service[0], schema, operation, GenerationMode.POSITIVE, examples)


@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation.body], ids=name)
def test_what_is_not_allowed_is_answered_as_described(schema: Any, service: tuple[str, str], operation: Operation) -> None:
    strict_only(service)
    answers_as_it_says(service[0], schema, operation, GenerationMode.NEGATIVE, 15)


def test_every_kind_of_ending_is_as_described(subject: Any, schema: Any) -> None:
    subject.run(
        {"id": "§n", "type": "noop", "params": {"message": "x"}, "annotations": {"a": "b"}},
        {"id": "§f", "type": "shell", "params": {"command": "no"}, "retry": 1},
        {"id": "§s", "type": "noop", "depends_on": ["§f"]},
        {"id": "§t", "type": "sleep", "params": {"duration_ms": 9999}, "timeout": 1},
        {"id": "§m", "type": "mcp", "tool_name": "t", "input": [1]},
        {"id": "§c", "type": "cli-skills", "input": {"command": "true"}},
    )
    described = {**ref("Task"), "components": {"schemas": SHAPES}}
    validator = Draft202012Validator(described, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for task_id in "nfstmc":
        task = subject.task(f"§{task_id}")
        validator.validate(task)
        with pytest.raises(ValidationError):
            validator.validate({**task, "more": 1})


def test_compat_describes_no_extension(subject: Any, schema: Any) -> None:
    document = subject.call("GET", "/openapi.json").text
    assert ('"x-capability":' in document) == (subject.name == "strict")
