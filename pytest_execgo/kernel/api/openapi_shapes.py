"""The shapes of what the kernel takes and answers, as JSON Schema (2020-12, as OpenAPI 3.1 has it).

Answers are described strictly, no field more than there is. Requests are described as they are read: unknown fields are
ignored, null counts as absent, and rules that bind several fields (a graph's edges, an action's input) are the kernel's to check.
"""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]
HISTORY_EVENTS = "boot accept start spawn end persist skip cancel delete recover stop".split()
_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}


def ref(name: str) -> Shape:
    """Return a reference to a shape of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(**more: Any) -> Shape:
    """Return a string."""
    return {"type": "string", **more}


def whole_number(least: int, most: int = 2**63 - 1) -> Shape:
    """Return an integer."""
    return {"type": "integer", "minimum": least, "maximum": most}


def array(items: Shape) -> Shape:
    """Return an array."""
    return {"type": "array", "items": items}


def answered(required: str, optional: str = "", **fields: Shape) -> Shape:
    """Return an object of an answer: exactly these fields. Names without a shape of their own are strings."""
    names = [*required.split(), *optional.split()]
    properties = {name: fields.get(name, text()) for name in names}
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


def given(required: str = "", **fields: Shape) -> Shape:
    """Return an object of a request: these fields, and whatever else."""
    shape: Shape = {"type": "object", "properties": fields}
    return {**shape, "required": required.split()} if required else shape


def or_null(shape: Shape) -> Shape:
    """Return a shape that may also be null."""
    if "type" in shape and isinstance(shape["type"], str):
        return {**shape, "type": [shape["type"], "null"]}
    return {"anyOf": [shape, {"type": "null"}]}


def _strings() -> Shape:
    return array(text())


def _string_map() -> Shape:
    return {"type": "object", "additionalProperties": text()}


def _time() -> Shape:
    return text(format="date-time")


_count = {"type": "integer", "minimum": 0}
_number = {"type": "integer", **_INT64}
_any: Shape = {}
_object_schema = {"type": "object"}

_submitted_task = given(
    "id type",
    id=text(minLength=1),
    type=text(minLength=1, description="an os tool (shell file dns tcp sleep noop http), os, runtime, mcp or cli-skills"),
    params=_any,
    tool_name=or_null(text()),
    input=_any,
    depends_on=or_null(_strings()),
    retry=or_null({**_number, "description": "further attempts after the first"}),
    timeout=or_null({**_number, "description": "milliseconds for each attempt; 0: no limit"}),
    annotations=or_null(_string_map()),
)

SHAPES: dict[str, Shape] = {
    "Error": answered("error"),
    "Health": answered(
        "status version uptime",
        "capabilities limits store",
        status={"const": "ok"},
        capabilities=_strings(),
        limits={"type": "object", "additionalProperties": _count},
        store=answered(
            "status reason",
            "moved_to kept lost",
            status=text(enum=["damaged", "replaced"]),
            kept=_count,
            lost=_count,
        ),
    ),
    "Metrics": answered(
        "tasks_total tasks_running tasks_succeeded tasks_failed by_type",
        tasks_total=_count,
        tasks_running=_count,
        tasks_succeeded=_count,
        tasks_failed=_count,
        by_type={"type": "object", "additionalProperties": _count},
    ),
    "TaskGraph": given("tasks", tasks={**array(_submitted_task), "minItems": 1}),
    "Submitted": answered("accepted task_ids", accepted=_count, task_ids=_strings()),
    "RunError": answered("code message", "retryable source details", retryable={"type": "boolean"}, details=_any),
    "Run": answered(
        "status",
        "handle_id output started_at finished_at duration_ms attempt details error",
        output=_any,
        started_at=_time(),
        finished_at=_time(),
        duration_ms=_number,
        attempt=_number,
        details=_any,
        error=ref("RunError"),
    ),
    "Task": answered(
        "id type status created_at updated_at",
        "params tool_name input execution_category depends_on retry timeout annotations run_status handle_id progress "
        "result runtime error",
        params=_any,
        input=_any,
        depends_on=_strings(),
        retry=_number,
        timeout=_number,
        annotations=_string_map(),
        status=text(enum=["pending", "running", "success", "failed", "skipped"]),
        progress=array(ref("Progress")),
        result=_any,
        runtime=ref("Run"),
        created_at=_time(),
        updated_at=_time(),
    ),
    "Wait": given(
        "task_ids",
        task_ids={**_strings(), "minItems": 1},
        timeout=or_null(text(description="a duration (500ms, 5s); how long to wait at most")),
        until=or_null(text(description="all or any")),
    ),
    "Waited": answered("done tasks missing", done={"type": "boolean"}, tasks=array(ref("Task")), missing=_strings()),
    "History": answered("events next", events=array(ref("HistoryEvent")), next=_count),
    "HistoryEvent": answered(
        "seq boot_id monotonic_ns wall process type f task attempt digest value",
        seq={"type": "integer", "minimum": 1},
        monotonic_ns=_count,
        wall=_time(),
        process={"const": "kernel"},
        type={"const": "event"},
        f=text(enum=HISTORY_EVENTS),
        task=or_null(text()),
        attempt=or_null(_count),
        digest=or_null(text()),
        value={"type": "object"},
    ),
    "Progress": answered("timestamp", "message data", timestamp=_time(), data={"type": "object"}),
    "McpTools": answered("tools", tools=array(answered("name category", "description input_schema", input_schema=_object_schema))),
    "McpCall": given(
        id=or_null(text()),
        tool_name=or_null(text()),
        input=_any,
        timeout=or_null(_number),
    ),
    "McpHandle": answered(
        "status handle_id progress started_at",
        "task_id output finished_at duration_ms",
        status=text(enum=["accepted", "running", "success", "failed", "cancelled"]),
        progress=array(ref("Progress")),
        output=_any,
        started_at=_time(),
        finished_at=_time(),
        duration_ms=_number,
    ),
    "AdapterCapabilities": answered(
        "schema_version profiles action_kinds compatibility_notes",
        profiles=_strings(),
        action_kinds=_strings(),
        compatibility_notes=_strings(),
    ),
    "AdapterTools": answered(
        "schema_version tools",
        tools=array(
            answered(
                "name action_kind category",
                "description input_schema aliases",
                input_schema=_object_schema,
                aliases=_strings(),
            )
        ),
    ),
    "ActionRequest": given(
        "action",
        adapter=or_null(text()),
        agent_id=or_null(text()),
        session_id=or_null(text()),
        action_id=or_null(text()),
        action=given(
            "kind",
            kind=text(minLength=1, description="one of GET /adapters/capabilities, or an alias of GET /adapters/tools"),
            tool_name=or_null(text()),
            input=_any,
            depends_on=or_null(_strings()),
            retry=or_null(_number),
            timeout=or_null(_number),
        ),
        metadata=or_null(_string_map()),
    ),
    "TranslatedTask": answered(
        "id type status created_at updated_at",
        "params tool_name input execution_category depends_on retry timeout annotations run_status handle_id progress "
        "result runtime error",
        params=_any,
        input=_any,
        depends_on=_strings(),
        retry=_number,
        timeout=_number,
        annotations=_string_map(),
        progress=_any,
        result=_any,
        runtime=ref("Run"),
        created_at=_time(),
        updated_at=_time(),
    ),
    "ActionAnswer": answered(
        "accepted task_ids task_graph translation_trace",
        accepted=_count,
        task_ids=_strings(),
        task_graph=answered("tasks", tasks=array(ref("TranslatedTask"))),
        translation_trace=answered(
            "action_id adapter agent_id normalized_kind schema_version session_id source_kind task_ids",
            task_ids=_strings(),
        ),
    ),
}
