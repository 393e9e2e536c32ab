"""POST /tasks: what is refused, in which words, which rule comes first; what is answered to what is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

AVAILABLE = "(available: cli-skills, mcp, os, runtime)"


def graph(*tasks: Any) -> bytes:
    return json.dumps({"tasks": tasks}, ensure_ascii=False).encode()


def task(task_id: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "noop", "depends_on": list(depends_on), **more}


def wrong(found: str, where: str, kind: str) -> str:
    return f"invalid JSON: json: cannot unmarshal {found} into Go {where} of type {kind}"


REFUSED: dict[str, tuple[bytes, str]] = {
    # 1. JSON of the right types
    "json-empty-body": (b"", "invalid JSON: EOF"),
    "json-white-space": (b" \n ", "invalid JSON: EOF"),
    "json-array": (b"[1]", wrong("array", "value", "models.TaskGraph")),
    "json-string": (b'"tasks"', wrong("string", "value", "models.TaskGraph")),
    "json-cut-short": (b'{"tasks":[', "invalid JSON: unexpected EOF"),
    "json-cut-in-a-number": (b'{"tasks":[{"id":"a","retry":' + b"9" * 5000, "invalid JSON: unexpected EOF"),
    "json-no-json": (b"tasks", "invalid JSON: invalid character 'a' in literal true (expecting 'r')"),
    "json-nan": (b'{"tasks":[{"id":"a","params":NaN}]}', "invalid JSON: invalid character 'N' looking for beginning of value"),
    "json-control-character": (b'{"tasks":[{"id":"\x00"}]}', "invalid JSON: invalid character '\\x00' in string literal"),
    "json-byte-order-mark": (b"\xef\xbb\xbf{}", "invalid JSON: invalid character '\u00ef' looking for beginning of value"),
    "json-trailing-comma": (b'{"tasks":[],}', "invalid JSON: invalid character '}' looking for beginning of object key string"),
    "json-single-quotes": (b"{'tasks':[]}", "invalid JSON: invalid character '\\'' looking for beginning of object key string"),
    "json-too-deep": (b'{"a":' * 100_000, "invalid JSON: invalid character '{' exceeded max depth"),
    "types-tasks-number": (b'{"tasks":5}', wrong("number", "struct field TaskGraph.tasks", "[]*models.Task")),
    "types-task-number": (b'{"tasks":[5]}', wrong("number", "struct field TaskGraph.tasks", "models.Task")),
    "types-id-number": (graph({"id": 5}), wrong("number", "struct field Task.tasks.id", "string")),
    "types-type-bool": (graph({"id": "a", "type": True}), wrong("bool", "struct field Task.tasks.type", "string")),
    "types-retry-string": (graph({"id": "a", "retry": "1"}), wrong("string", "struct field Task.tasks.retry", "int")),
    "types-timeout-fraction": (graph({"id": "a", "timeout": 1.5}), wrong("number 1.5", "struct field Task.tasks.timeout", "int64")),
    "types-depends-on-string": (
        graph({"id": "a", "depends_on": "b"}),
        wrong("string", "struct field Task.tasks.depends_on", "[]string"),
    ),
    "types-dependency-number": (
        graph({"id": "a", "depends_on": [1]}),
        wrong("number", "struct field Task.tasks.depends_on", "string"),
    ),
    "types-annotation-number": (
        graph({"id": "a", "annotations": {"x": 1}}),
        wrong("number", "struct field Task.tasks.annotations", "string"),
    ),
    "types-status-number": (
        graph({"id": "a", "status": 1}),
        wrong("number", "struct field Task.tasks.status", "models.TaskStatus"),
    ),
    "types-runtime-status": (
        graph({"id": "a", "runtime": {"status": 1}}),
        wrong("number", "struct field RuntimeResult.tasks.runtime.status", "models.RuntimeStatus"),
    ),
    # 2. something to do
    "empty-object": (b"{}", "task graph is empty"),
    "empty-null": (b"null", "task graph is empty"),
    "empty-tasks-null": (b'{"tasks":null}', "task graph is empty"),
    "empty-tasks": (b'{"tasks":[]}', "task graph is empty"),
    "empty-other-field": (b'{"task":[{"id":"a","type":"noop"}]}', "task graph is empty"),
    # 3. names
    "names-id-missing": (graph({}), "task id is required"),
    "names-id-empty": (graph({"id": "", "type": ""}), "task id is required"),
    "names-type-missing": (graph({"id": 'a"\n'}), 'task "a\\"\\n": type is required'),
    "names-type-null": (graph({"id": "a", "type": None}), 'task "a": type is required'),
    "names-duplicate": (graph(task("a"), task("a")), 'duplicate task id: "a"'),
    # 4. dependencies
    "dependency-unknown": (graph(task("a", "é<")), 'task "a" depends on unknown task "é<"'),
    "dependency-itself": (graph(task("a", "a")), 'task "a" cannot depend on itself'),
    "dependency-null": (graph({**task("a"), "depends_on": [None]}), 'task "a" depends on unknown task ""'),
    # 5. cycles
    "cycle-of-two": (graph(task("a", "b"), task("b", "a")), "cycle detected in task graph"),
    "cycle-behind-a-chain": (graph(task("a"), task("b", "a", "d"), task("c", "b"), task("d", "c")), "cycle detected in task graph"),
    # 6. types
    "type-unknown": (graph({"id": "b", "type": "<x&y>"}), f"unknown task type: <x&y> {AVAILABLE}"),
    "type-in-capitals": (graph({"id": "b", "type": "Noop"}), f"unknown task type: Noop {AVAILABLE}"),
    "type-with-space": (graph({"id": "b", "type": " os"}), f"unknown task type:  os {AVAILABLE}"),
    # which comes first
    "order-json-before-names": (graph({"id": ""}, {"id": 1}), wrong("number", "struct field Task.tasks.id", "string")),
    "order-first-wrong-type": (graph({"id": 1, "type": 2}), wrong("number", "struct field Task.tasks.id", "string")),
    "order-type-before-duplicate": (graph(task("a"), {"id": "a"}), 'task "a": type is required'),
    "order-task-by-task": (graph({"id": "b"}, {"id": ""}), 'task "b": type is required'),
    "order-names-before-dependencies": (graph(task("a", "nope"), {"id": "b"}), 'task "b": type is required'),
    "order-dependency-by-dependency": (graph(task("a", "a", "nope")), 'task "a" cannot depend on itself'),
    "order-unknown-then-itself": (graph(task("a", "nope", "a")), 'task "a" depends on unknown task "nope"'),
    "order-dependencies-before-cycle": (
        graph(task("a", "b"), task("b", "a"), task("c", "x")),
        'task "c" depends on unknown task "x"',
    ),
    "order-cycle-before-type": (graph(task("a", "b"), task("b", "a"), {"id": "c", "type": "what"}), "cycle detected in task graph"),
    "order-first-unknown-type": (graph(task("a"), task("b", type="x"), task("c", type="y")), f"unknown task type: x {AVAILABLE}"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_submission_is_refused(subject: Any, case: str) -> None:
    body, error = REFUSED[case]
    answer = subject.call("POST", "/tasks", body)
    assert (answer.status, answer.json) == (400, {"error": error})
    assert answer.headers["content-type"] == "application/json"


def test_a_null_task_is_refused(subject: Any) -> None:
    if subject.name == "given":
        pytest.skip("the real service hangs up")
    answer = subject.call("POST", "/tasks", b'{"tasks":[null]}')
    assert (answer.status, answer.json) == (400, {"error": "task id is required"})


def test_of_a_refused_graph_nothing_is_kept(subject: Any) -> None:
    tasks = [task("§good"), task("§bad", type="what")]
    assert subject.call("POST", "/tasks", {"tasks": tasks}).status == 400
    assert subject.call("GET", "/tasks/§good").status == 404


def test_errors_leave_with_html_characters_escaped(subject: Any) -> None:
    answer = subject.call("POST", "/tasks", REFUSED["type-unknown"][0])
    assert answer.text.startswith('{"error":"unknown task type: \\u003cx\\u0026y\\u003e (available')


ACCEPTED: dict[str, tuple[bytes, str]] = {
    "one": ('{"tasks":[{"id":"§a","type":"noop"}]}'.encode(), '{"accepted":1,"task_ids":["§a"]}\n'),
    "in-order": (
        '{"tasks":[{"id":"§b","type":"noop","depends_on":["§a"]},{"id":"§a","type":"noop"}]}'.encode(),
        '{"accepted":2,"task_ids":["§b","§a"]}\n',
    ),
    "dependency-twice": (
        '{"tasks":[{"id":"§a","type":"noop"},{"id":"§b","type":"noop","depends_on":["§a","§a"]}]}'.encode(),
        '{"accepted":2,"task_ids":["§a","§b"]}\n',
    ),
    "field-names-in-any-case": ('{"TASKS":[{"Id":"§a","tYpe":"noop"}]}'.encode(), '{"accepted":1,"task_ids":["§a"]}\n'),
    "what-follows-is-ignored": ('{"tasks":[{"id":"§a","type":"noop"}]} and {so on'.encode(), '{"accepted":1,"task_ids":["§a"]}\n'),
    "unknown-fields": ('{"x":1,"tasks":[{"id":"§a","type":"noop","y":[{}]}]}'.encode(), '{"accepted":1,"task_ids":["§a"]}\n'),
    "nulls": (
        '{"tasks":[{"id":"§a","type":"noop","params":null,"input":null,"depends_on":null,"retry":null,"timeout":null}]}'.encode(),
        '{"accepted":1,"task_ids":["§a"]}\n',
    ),
    "id-escaped": ('{"tasks":[{"id":"§<é\\u003e","type":"noop"}]}'.encode(), '{"accepted":1,"task_ids":["§\\u003cé\\u003e"]}\n'),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_submission_is_taken(subject: Any, case: str) -> None:
    body, text = ACCEPTED[case]
    answer = subject.call("POST", "/tasks", body)
    assert (answer.status, answer.text) == (202, subject.own(text))
    assert answer.headers["content-type"] == "application/json"
    for task_id in answer.json["task_ids"]:
        assert subject.ended(task_id)["status"] == "success"
