"""The service itself: health, headers, and how answers are written."""

from __future__ import annotations

import re
from typing import Any

import pytest

JSON_ROUTES = [
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/tasks"),
    ("GET", "/mcp/tools"),
    ("GET", "/adapters/capabilities"),
    ("GET", "/adapters/tools"),
]


def test_health(subject: Any) -> None:
    answer = subject.call("GET", "/health")
    assert answer.status == 200
    # fields of our own may follow
    assert re.match(r'\{"status":"ok","version":"v\d+\.\d+\.\d+","uptime":"(\d+h)?(\d+m)?\d+s"[,}]', answer.text)


def test_health_has_nothing_but_execgos_fields(subject: Any) -> None:
    if subject.name == "strict":
        pytest.skip("without --compat the extensions are told of")
    assert list(subject.call("GET", "/health").json) == ["status", "version", "uptime"]


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_answers_are_json_with_a_line_end(subject: Any, method: str, path: str) -> None:
    answer = subject.call(method, path)
    assert (answer.status, answer.headers["content-type"], answer.text[-1]) == (200, "application/json", "\n")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/health", None), ("GET", "/tasks/§none", None), ("POST", "/tasks", b""), ("DELETE", "/tasks/§none", None)],
)
def test_every_answer_has_a_trace_id(subject: Any, method: str, path: str, body: bytes | None) -> None:
    assert subject.call(method, path, body, X_Trace_ID="my trace").headers["x-trace-id"] == "my trace"
    made = {subject.call(method, path, body).headers["x-trace-id"] for _ in range(2)}
    assert len(made) == 2
    assert all(re.fullmatch(r"[0-9a-f]{16}", trace_id) for trace_id in made)


@pytest.mark.parametrize("task_id", ["none", "a b", "中文", 'q"<', "%41"])
def test_an_unknown_task(subject: Any, task_id: str) -> None:
    from urllib.parse import quote

    answer = subject.call("GET", f"/tasks/{subject.prefix}{quote(task_id)}")
    assert (answer.status, answer.json) == (404, {"error": f"task not found: {subject.prefix}{task_id}"})
