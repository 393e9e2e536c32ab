"""The tool: JSON in, JSON out, whatever a model sends."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.sandbox import ExecutionRequest, ExecutionResult, SandboxConfig
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.tool import SandboxTool


class Echo:
    """A backend that hands back what it was given."""

    name = "native"
    isolation = {"mode": "native", "rung": "bubblewrap"}  # noqa: RUF012

    def __init__(self) -> None:
        self.seen: list[ExecutionRequest] = []
        self.error: SandboxError | None = None

    def execute(self, request: ExecutionRequest, config: SandboxConfig) -> ExecutionResult:
        self.seen.append(request)
        if self.error:
            raise self.error
        return ExecutionResult(id=request.id, success=True, exit_code=0, stdout="ä\ufffd", stderr="", duration=0.1)

    def cleanup(self) -> None:
        pass


@pytest.fixture
def backend() -> Echo:
    return Echo()


@pytest.fixture
def tool(backend: Echo) -> SandboxTool:
    return SandboxTool(SandboxExecutor(SandboxConfig(mode="native", allowed_languages=["python", "bash"]), backend))


def answer(tool: SandboxTool, arguments: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(tool.execute(arguments))
    return told


@pytest.mark.parametrize("form", ["text", "bytes", "mapping"])
def test_a_result_comes_with_findings_and_isolation(tool: SandboxTool, form: str) -> None:
    arguments: Any = {"id": "r1", "language": "python", "code": "x = 1\neval('1')"}
    if form != "mapping":
        arguments = json.dumps(arguments)
    told = answer(tool, arguments.encode() if form == "bytes" else arguments)
    assert set(told) == {*ExecutionResult.model_fields, "findings", "isolation"}
    assert (told["id"], told["success"], told["stdout"], told["error"]) == ("r1", True, "ä\ufffd", None)
    assert told["findings"] == [{"line": 2, "code": "dynamic_code", "message": "eval runs text as code"}]
    assert told["isolation"] == {"mode": "native", "rung": "bubblewrap"}


def test_an_id_is_made_up_where_there_is_none(tool: SandboxTool, backend: Echo) -> None:
    arguments = {"language": "python", "code": ""}
    first, second = answer(tool, arguments), answer(tool, arguments)
    assert first["id"] != second["id"]
    assert arguments == {"language": "python", "code": ""}
    assert [one.id for one in backend.seen] == [first["id"], second["id"]]


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ("", ["$"]),
        ("{", ["$"]),
        ("null", ["$"]),
        ("[1]", ["$"]),
        ('"text"', ["$"]),
        (b"\xff\xfe", ["$"]),
        ("[" * 100_000, ["$"]),
        ("{}", ["$.language", "$.code"]),
        ('{"language": "python", "code": 1, "args": "x", "more": true}', ["$.args", "$.code", "$.more"]),
        ('{"language": "python", "code": "", "timeout": 0}', ["$.timeout"]),
        ('{"language": "python", "code": "", "timeout": 1e999}', ["$.timeout"]),
        ('{"language": "python", "code": "", "timeout": NaN}', ["$.timeout"]),
        ('{"language": "python", "code": "\\ud800"}', ["$.code"]),
        ('{"language": "go", "code": ""}', ["$.language"]),
        ('{"language": "python", "code": "", "files": {"../a": "", "/b": ""}}', ["$.files['../a']", "$.files['/b']"]),
        ('{"language": "python", "code": "", "timeout": ' + "9" * 5000 + "}", ["$"]),
    ],
)
def test_bad_arguments_are_told_whole(tool: SandboxTool, backend: Echo, arguments: str | bytes, paths: list[str]) -> None:
    error = answer(tool, arguments)["error"]
    assert error["code"] == "bad_request"
    assert sorted(problem["path"] for problem in error["problems"]) == sorted(paths)
    assert all(problem["message"] for problem in error["problems"])
    assert error["hint"]
    assert backend.seen == []


def test_what_can_t_be_confined_is_an_error_object(tool: SandboxTool, backend: Echo) -> None:
    backend.error = SandboxError("sandbox_unavailable", "nothing here can", "install it")
    told = answer(tool, {"language": "python", "code": ""})
    assert told == {"error": {"code": "sandbox_unavailable", "message": "nothing here can", "hint": "install it", "problems": []}}


def test_the_schema_says_what_is_taken(tool: SandboxTool) -> None:
    schema = tool.schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["language", "code"]
    assert schema["properties"]["language"]["enum"] == ["python", "bash"]
    jsonschema.validate({"language": "bash", "code": "ls", "files": {"a": "b"}}, schema)
    for wrong in ({"code": ""}, {"language": "go", "code": ""}, {"language": "bash", "code": "", "other": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    json.dumps(schema)
