"""GET /openapi.json: the kernel's HTTP surface as an OpenAPI 3.1 document.

One row of `OPERATIONS` describes one method of one path; the shapes that rows name are in `openapi_shapes`. Whoever adds a
route adds its row (a test compares the rows with the routes). A row that names a `capability` is an extension: ExecGo has
no such route or parameter, GET /health lists the capability, and a kernel with `--compat` serves and describes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.kernel.api.openapi_shapes import SHAPES, Shape, array, ref, text, whole_number
from pytest_execgo.kernel.task import TaskStatus

_ERRORS = {
    400: "The request breaks a rule; the message says which",
    401: "A token is set and the request doesn't bear it",
    404: "There is nothing of that name",
    409: "An id exists already, with other content",
    413: "The body is too large",
    421: "The Host header names none of the hosts that the kernel was told to serve",
    500: "What was stored is damaged",
    503: "The kernel can't take it now",
}
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter; with a `capability`, an extension."""

    name: str
    schema: Shape
    description: str
    capability: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: what it takes, what it answers when all is well, and which errors it knows besides 401."""

    method: str
    path: str
    summary: str
    status: int
    answer: Shape | None
    answer_says: str
    body: str = ""
    errors: tuple[int, ...] = ()
    also: Mapping[int, str] = field(default_factory=dict)  # other good statuses, with the same answer
    query: tuple[Parameter, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)  # of the good answer: name, and the component that describes it
    capability: str = ""
    open: bool = False


_DURATION = text(pattern=r"^(0|([0-9]+(\.[0-9]*)?(ns|us|ms|s|m|h))+)$", examples=["500ms", "5s"])

OPERATIONS = (
    Operation("GET", "/health", "Tell that the kernel runs", 200, ref("Health"), "It runs", open=True),
    Operation("GET", "/metrics", "Count tasks", 200, ref("Metrics"), "The counts since the start"),
    Operation("GET", "/openapi.json", "Describe the API", 200, {"type": "object"}, "This document"),
    Operation(
        "POST",
        "/tasks",
        "Submit a task graph",
        202,
        ref("Submitted"),
        "All of it was taken; a task that is there already, with the same content, is the same task",
        body="TaskGraph",
        errors=(400, 409, 413, 503),
    ),
    Operation(
        "GET",
        "/tasks",
        "List tasks",
        200,
        array(ref("Task")),
        "The tasks, oldest first",
        errors=(400, 500),
        query=(
            Parameter("limit", whole_number(1, 10_000), "how many at most", "paging"),
            Parameter("after", whole_number(0), "where the page begins: X-Next-After of the one before", "paging"),
            Parameter("status", text(enum=list(TaskStatus)), "only tasks that stand so", "paging"),
        ),
        headers={"X-Next-After": "NextAfter"},
    ),
    Operation(
        "GET",
        "/tasks/{id}",
        "Show a task",
        200,
        ref("Task"),
        "The task",
        errors=(400, 404, 500, 503),
        query=(Parameter("wait", _DURATION, "hold the answer until the task has ended, this long at most", "wait"),),
    ),
    Operation("DELETE", "/tasks/{id}", "Remove a task, and end what runs of it", 204, None, "It is gone", errors=(404, 503)),
    Operation(
        "POST",
        "/tasks/wait",
        "Wait for several tasks",
        200,
        ref("Waited"),
        "How they stand, once all (or any) have ended or the time is over",
        body="Wait",
        errors=(400, 413, 500, 503),
        capability="wait",
    ),
    Operation(
        "POST",
        "/tasks/{id}/cancel",
        "End a task",
        200,
        ref("Task"),
        "It has ended",
        also={202: "It is being ended"},
        errors=(404, 500, 503),
        capability="cancel",
    ),
    Operation(
        "GET",
        "/history",
        "Show what happened to tasks",
        200,
        ref("History"),
        "The next events, oldest first, as many as go into an answer",
        errors=(400, 404, 503),
        query=(Parameter("after", whole_number(0), "where to go on: `next` of the answer before", "history"),),
        capability="history",
    ),
    Operation("GET", "/mcp/tools", "List mcp tools", 200, ref("McpTools"), "The tools", errors=(503,)),
    Operation(
        "POST", "/mcp/call", "Call an mcp tool", 202, ref("McpHandle"), "It was taken", body="McpCall", errors=(400, 413, 503)
    ),
    Operation("GET", "/mcp/tasks/{id}", "Show how a call stands", 200, ref("McpHandle"), "The call", errors=(404, 503)),
    Operation(
        "GET", "/adapters/capabilities", "Tell what kinds of actions there are", 200, ref("AdapterCapabilities"), "The kinds"
    ),
    Operation("GET", "/adapters/tools", "List actions as an agent's tools", 200, ref("AdapterTools"), "The tools"),
    Operation(
        "POST",
        "/adapters/translate",
        "Translate an action into a task graph",
        200,
        ref("ActionAnswer"),
        "The graph; nothing was submitted",
        body="ActionRequest",
        errors=(400, 413),
    ),
    Operation(
        "POST",
        "/adapters/actions",
        "Translate an action and submit its graph",
        202,
        ref("ActionAnswer"),
        "The graph, as it was submitted",
        body="ActionRequest",
        errors=(400, 409, 413, 503),
    ),
)


def document(version: str, *, compat: bool = False) -> str:
    """Return the document's JSON. `version` is the one that /health tells; with `compat` extensions are left out."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        if not (compat and operation.capability):
            paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, compat)
    return json.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "ExecGo kernel of pytest-execgo",
                "version": version,
                "description": "ExecGo's HTTP API, and its extensions (marked x-capability). HEAD is answered wherever GET is.",
            },
            "paths": paths,
            "components": {
                "schemas": SHAPES,
                "headers": {
                    "TraceID": {
                        "description": "The request's X-Trace-ID, or one that was made for it",
                        "schema": text(minLength=1, maxLength=256),
                    },
                    "NextAfter": {
                        "description": "Where the next page begins; missing on the last one",
                        "schema": whole_number(0),
                    },
                },
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{}, {"token": []}],
        }
    )


def _described(operation: Operation, compat: bool) -> dict[str, Any]:
    name = f"{operation.method.lower()}-{operation.path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}"
    described: dict[str, Any] = {"operationId": name, "summary": operation.summary}
    if operation.capability:
        described["x-capability"] = operation.capability
    parameters = [_query_parameter(parameter) for parameter in operation.query if not (compat and parameter.capability)]
    if "{id}" in operation.path:
        parameters.insert(0, {"name": "id", "in": "path", "required": True, "schema": text(minLength=1)})
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content = {"application/json": {"schema": ref(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.open:
        described["security"] = []
    good = {operation.status: operation.answer_says, **operation.also}
    headers = {} if compat else operation.headers
    answers = {status: _answer(says, operation.answer, headers) for status, says in good.items()}
    refusals = (*operation.errors, 421, *(() if operation.open else (401,)))
    answers |= {status: _answer(_ERRORS[status], ref("Error")) for status in refusals}
    described["responses"] = {str(status): answers[status] for status in sorted(answers)}
    return described


def _answer(says: str, schema: Shape | None, headers: Mapping[str, str] = _NO_HEADERS) -> dict[str, Any]:
    named = {"X-Trace-ID": "TraceID", **headers}
    described = {name: {"$ref": f"#/components/headers/{component}"} for name, component in named.items()}
    answer: dict[str, Any] = {"description": says, "headers": described}
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    described = {"name": parameter.name, "in": "query", "schema": parameter.schema, "description": parameter.description}
    return {**described, "x-capability": parameter.capability} if parameter.capability else described
