"""What a submission may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.runtime.models import Command, Script, TaskRequest, parse_task


def problems(document: Any) -> dict[str, str]:
    with pytest.raises(HttpError) as caught:
        parse_task(document)
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")
    return {problem["path"]: problem["message"] for problem in caught.value.details["problems"]}


def command(**fields: Any) -> dict[str, Any]:
    return {"execution": {"kind": "command", "program": "true", **fields}}


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ([], "$", "object"),
        (None, "$", "object"),
        ({}, "$.execution", "required"),
        ({"execution": None}, "$.execution", "required"),
        ({"execution": {}}, "$.execution.kind", "kind"),
        ({"execution": {"kind": "teleport"}}, "$.execution.kind", "'teleport'"),
        ({"execution": {"kind": []}}, "$.execution.kind", "kind"),
        ({"execution": {"kind": "command"}}, "$.execution.program", "required"),
        ({"execution": {"kind": "command", "program": ""}}, "$.execution.program", "at least 1"),
        ({"execution": {"kind": "script"}}, "$.execution.script", "required"),
        ({"execution": {"kind": "script", "script": "x" * 200_000}}, "$.execution.script", "longer than"),
        (command(args="ls"), "$.execution.args", "list"),
        (command(args=["a", 1]), "$.execution.args[1]", "string"),
        (command(timeout_ms=True), "$.execution.timeout_ms", "integer"),
        (command(timeout_ms=1.5), "$.execution.timeout_ms", "integer"),
        (command(timeout_ms=0), "$.execution.timeout_ms", "greater"),
        (command(timeout_ms=10**30), "$.execution.timeout_ms", "less"),
        (command(env={"A": []}), "$.execution.env.A", "string"),
        (command(env={"A": None}), "$.execution.env.A", "string"),
        (command(env={"A=B": "x"}), '$.execution.env["A=B"]', "'='"),
        (command(env={"": "x"}), '$.execution.env[""]', "empty"),
        ({**command(), "limits": {"memory_bytes": -1}}, "$.limits.memory_bytes", "greater"),
        ({**command(), "limits": {"stdout_max_bytes": 2**40}}, "$.limits.stdout_max_bytes", "less"),
        ({**command(), "limits": []}, "$.limits", "object"),
        ({**command(), "task_id": 7}, "$.task_id", "string"),
        ({**command(), "task_id": ".."}, "$.task_id", "address"),
        ({**command(), "task_id": "a\nb"}, "$.task_id", "printed"),
        ({**command(), "task_id": "x" * 1025}, "$.task_id", "1024"),
        ({**command(), "control_context": {"owner": 1}}, "$.control_context.owner", "string"),
    ],
)
def test_a_bad_field_is_named_by_its_path(document: Any, path: str, said: str) -> None:
    found = problems(document)
    assert list(found) == [path]
    assert said in found[path]


def test_every_problem_is_listed_at_once() -> None:
    document = {
        "execution": {"kind": "command", "args": [1], "timeout_ms": "5"},
        "limits": {"pids_max": 0},
        "metadata": 3,
    }
    assert sorted(problems(document)) == [
        "$.execution.args[0]",
        "$.execution.program",
        "$.execution.timeout_ms",
        "$.limits.pids_max",
        "$.metadata",
    ]


def test_null_and_unknown_fields_count_as_absent() -> None:
    request = parse_task(
        {
            "task_id": None,
            "limits": None,
            "sandbox": None,
            "future": 1,
            "execution": {"kind": "command", "program": "x", "args": None, "env": None, "cwd": None, "timeout_ms": None},
        }
    )
    assert request == parse_task({"execution": {"kind": "command", "program": "x"}})


def test_numbers_and_booleans_become_json_text_in_the_environment() -> None:
    request = parse_task(command(env={"A": 1, "B": True, "C": 1.5, "D": "d"}))
    assert isinstance(request.execution, Command)
    assert request.execution.env == {"A": "1", "B": "true", "C": "1.5", "D": "d"}


@pytest.mark.parametrize(
    ("fields", "argv"),
    [
        ({}, ["sh", "-c", "S"]),
        ({"interpreter": ""}, ["sh", "-c", "S"]),
        ({"interpreter": "/bin/bash", "args": ["1"]}, ["/bin/bash", "-c", "S", "bash", "1"]),
        ({"interpreter": "python3", "args": ["1"]}, ["python3", "-c", "S", "1"]),
        ({"interpreter": "perl"}, ["perl", "-e", "S"]),
    ],
)
def test_a_script_becomes_its_interpreters_command_line(fields: dict[str, Any], argv: list[str]) -> None:
    execution = parse_task({"execution": {"kind": "script", "script": "S", **fields}}).execution
    assert isinstance(execution, Script)
    assert execution.argv() == argv


@pytest.mark.parametrize(
    ("own", "wall", "effective"), [(None, None, 300_000), (50, None, 50), (50, 40, 40), (50, 60, 50), (None, 7, 7)]
)
def test_the_smaller_time_limit_counts(own: int | None, wall: int | None, effective: int) -> None:
    assert parse_task({**command(timeout_ms=own), "limits": {"wall_time_ms": wall}}).wall_limit_ms() == effective


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TaskRequest.model_fields, "x"]), inner),
    max_leaves=8,
)
_EXECUTION = st.dictionaries(
    st.sampled_from(["kind", "program", "script", "args", "env", "cwd", "timeout_ms", "payload", "delay_ms", "code"]),
    _JSON | st.sampled_from(["command", "script", "emit", "sleep", "fail"]),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(TaskRequest.model_fields)), _JSON), _EXECUTION)
def test_any_document_is_taken_or_refused_with_paths(document: dict[str, Any], execution: dict[str, Any]) -> None:
    refused: HttpError | None = None
    try:
        request = parse_task({**document, "execution": execution})
    except HttpError as error:
        refused = error
    if refused is None:
        assert request.execution.kind == execution["kind"]
    else:
        assert refused.status == 400
        assert all(problem["path"].startswith("$") for problem in refused.details["problems"])
        json.dumps(refused.details, allow_nan=False)
