"""Runs the code of one JSON document and answers with another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.base import Document
from pytest_execgo.plan.problems import Problem
from pytest_execgo.plan.sandbox import ExecutionRequest, SandboxConfig
from pytest_execgo.plan.shape import check_shape
from pytest_execgo.sandbox.choose import confinement_for, interpreters_of
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.request_check import BadRequest
from pytest_execgo.sandbox.validator import CodeValidator

_MOST = 256 << 20


class RunDocument(Document):
    """What `run` reads: a request, and the configuration to run it in."""

    request: ExecutionRequest
    config: SandboxConfig = SandboxConfig()


def run_document(given: IO[bytes], answer: IO[bytes], *, enable_native: bool, interpreters: Sequence[str] = ()) -> int:
    """Read a document, run its request, write the result; return the exit code to end with.

    0: the sandbox did its job, and the answer is an `ExecutionResult` beside `findings` and `isolation`, whatever the code did.
    Else the answer is `{"error": {"code", "message", "hint", "problems"}}` and nothing has run: 2 for a document that can't be run
    as it is, 3 when the code could not be confined, or its language not run, here.
    """
    try:
        document = _document(given.read(_MOST + 1))
        confinement = confinement_for(document.config.mode, enable_native=enable_native, interpreters=interpreters_of(interpreters))
        with SandboxExecutor(document.config, confinement) as executor:
            result = executor.execute(document.request)
            findings = CodeValidator().validate(document.request.language, document.request.code)
            listed = [finding.model_dump(mode="json") for finding in findings]
            shown: dict[str, Any] = {**result.model_dump(mode="json"), "findings": listed, "isolation": executor.isolation}
            code = 0
    except ExecGoError as error:
        problems = error.problems if isinstance(error, BadRequest) else ()
        listed = [{"path": problem.path, "code": problem.code, "message": problem.message} for problem in problems]
        shown = {"error": {"code": error.code, "message": error.message, "hint": error.hint, "problems": listed}}
        code = error.exit_code
    answer.write(dumps(shown).encode() + b"\n")
    answer.flush()
    return code


def _document(text: bytes) -> RunDocument:
    if len(text) > _MOST:
        raise UsageError("input_too_large", f"the document has more than {_MOST} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest([Problem("$", "malformed_json", f"not JSON: {str(error) or 'nested too deeply'}")]) from None
    document, _, problems = check_shape(RunDocument, value)
    if document is None:
        raise BadRequest(problems)
    return document
