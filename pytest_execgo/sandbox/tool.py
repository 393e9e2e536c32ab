"""`SandboxTool`: the sandbox as a tool of an agent; JSON in, JSON out, no exception for what a model may get wrong (seed 002)."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.problems import Problem
from pytest_execgo.plan.sandbox import ExecutionRequest
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.request_check import BadRequest
from pytest_execgo.sandbox.validator import CodeValidator

_HINT = "the arguments are one JSON object with language and code, and if needed stdin, args, env_vars, files, timeout"


class SandboxTool:
    """Executes code for an agent. `schema` describes its arguments, `name` and `description` the tool itself."""

    name = "execute_code"
    description = (
        "Run a piece of code in a sandbox and get its exit code, its output, and what ended it early, if anything did. "
        "The files are laid beside the code, in its working folder; nothing is kept between two calls."
    )

    def __init__(self, executor: SandboxExecutor, validator: CodeValidator | None = None) -> None:
        self.executor = executor
        self.validator = validator or CodeValidator()

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments: a request's fields, with the languages that are allowed here; `id` may be left out."""
        schema = copy.deepcopy(ExecutionRequest.model_json_schema())
        schema["required"] = [name for name in schema["required"] if name != "id"]
        schema["properties"]["language"]["enum"] = list(self.executor.config.allowed_languages)
        return schema

    def execute(self, arguments: str | bytes | Mapping[str, Any]) -> str:
        """Run what the arguments ask for and return a JSON object: a result's fields, `findings`, `isolation`; or `error`.

        `error` is an object with `code`, `message`, `hint` and `problems`, a list of everything wrong with the arguments, each with
        its `path`; nothing has run then. A result's own `error` is text, or null.
        """
        try:
            request = _request(arguments)
            result = self.executor.execute(request)
        except BadRequest as error:
            return _refusal(error.code, error.message, _HINT, error.problems)
        except ExecGoError as error:
            return _refusal(error.code, error.message, error.hint)
        findings = self.validator.validate(request.language, request.code)
        shown = {
            **result.model_dump(mode="json"),
            "findings": [finding.model_dump(mode="json") for finding in findings],
            "isolation": self.executor.isolation,
        }
        return dumps(shown)


def _request(arguments: str | bytes | Mapping[str, Any]) -> ExecutionRequest:
    try:
        given = json.loads(arguments) if isinstance(arguments, str | bytes) else dict(arguments)
    except (ValueError, RecursionError) as error:
        said = str(error).partition("\n")[0] or "nested too deeply"
        raise BadRequest([Problem("$", "malformed_json", f"not JSON: {said}")]) from None
    if isinstance(given, dict):
        given.setdefault("id", uuid.uuid4().hex)
    request, _, problems = check_shape(ExecutionRequest, given)
    if request is None:
        raise BadRequest(problems)
    return request


def _refusal(code: str, message: str, hint: str, problems: Iterable[Problem] = ()) -> str:
    listed = [{"path": problem.path, "code": problem.code, "message": problem.message} for problem in problems]
    return dumps({"error": {"code": code, "message": message, "hint": hint, "problems": listed}})
