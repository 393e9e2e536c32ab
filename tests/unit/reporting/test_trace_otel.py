"""Runs as OpenTelemetry spans: which there are, what they are called, how they hang together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.observability.clock import parse_rfc3339
from pytest_execgo.observability.stored import StoredRun, load_run
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.reporting.run_trace import run_trace
from pytest_execgo.reporting.spans import Moment, RunTrace, Span
from pytest_execgo.wiring.collector import collector

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install 'pytest-execgo[otel]'")

RUNS = Path(__file__).parents[2] / "data" / "golden_sweep" / "runs"
GOLDEN = sorted(path.parent for path in RUNS.glob("*/result.json"))


def sent(trace: RunTrace) -> list[dict[str, Any]]:
    """Return the spans as the SDK writes them."""
    from pytest_execgo.reporting.otel import spans_of

    return [json.loads(span.to_json()) for span in spans_of(trace, "1.2.3")]


def of_kind(spans: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [span for span in spans if span["attributes"]["execgo.kind"] == kind]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name[17:])
def test_a_kept_run_is_one_trace(path: Path) -> None:
    run = load_run(path)
    spans = sent(run_trace(run))
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    ids = {span["context"]["span_id"]: span for span in spans}
    assert len(ids) == len(spans)
    root, *others = spans
    assert root["parent_id"] is None
    for span in others:
        parent = ids[span["parent_id"]]
        assert span["start_time"] <= span["end_time"]
        assert parent["start_time"] <= span["start_time"]
        assert span["end_time"] <= parent["end_time"]
    kinds = {"run", "plan", "stage", "submit", "wait", "task", "attempt", "conclude"}
    assert {span["attributes"]["execgo.kind"] for span in spans} >= kinds
    assert root["resource"]["attributes"] == {"service.name": "pytest-execgo", "service.version": "1.2.3"}
    assert sent(run_trace(load_run(path))) == spans


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name[17:])
def test_spans_say_which_run_they_are_of(path: Path) -> None:
    run = load_run(path)
    assert run.result is not None
    root, *others = sent(run_trace(run))
    result = run.result
    expected = {
        "execgo.run_id": result.run_id,
        "execgo.sweep_id": result.sweep_id,
        "execgo.cell_id": result.cell_id,
        "execgo.scenario": "relay",
        "execgo.framework": result.framework,
        "execgo.mode": "replay",
        "execgo.chaos": result.chaos_profile,
        "execgo.repetition": 0,
        "execgo.seed": 7,
        "execgo.outcome": result.outcome,
        "execgo.backend": "embedded",
    }
    assert root["attributes"] | expected == root["attributes"]
    assert {span["attributes"]["execgo.run_id"] for span in others} == {result.run_id}
    assert root["status"]["status_code"] == ("OK" if result.outcome == "passed" else "ERROR")
    started = parse_rfc3339(run.timeline[0]["timestamp"])
    assert parse_rfc3339(root["start_time"]) == pytest.approx(started, abs=1_000)  # the SDK prints microseconds
    (task,) = (span for span in of_kind(others, "task") if span["attributes"]["execgo.task_id"] == "draft")
    assert task["name"] == "task draft"
    assert {event["name"] for event in task["events"]} >= {"task started", "task ended"}


def test_a_task_is_linked_to_what_it_waited_for() -> None:
    (path,) = (path for path in GOLDEN if "crewai" in path.name and _chaos(path) == "none")
    spans = sent(run_trace(load_run(path)))
    ids = {span["context"]["span_id"]: span["attributes"].get("execgo.task_id") for span in spans}
    links = {
        (span["attributes"]["execgo.task_id"], ids[link["context"]["span_id"]], link["attributes"]["execgo.link"])
        for span in of_kind(spans, "task")
        for link in span["links"]
    }
    assert links == {("note", "draft", "dependency"), ("announce", "draft", "binding")}


def test_a_fault_is_a_span_of_the_run() -> None:
    (path,) = (path for path in GOLDEN if "crewai" in path.name and _chaos(path) == "runtime_restart")
    root, *others = sent(run_trace(load_run(path)))
    (fault,) = of_kind(others, "fault")
    assert fault["name"] == "restart runtime"
    assert fault["parent_id"] == root["context"]["span_id"]
    named = {"execgo.action": "restart", "execgo.target": "runtime", "execgo.profile": "runtime_restart", "execgo.hit": True}
    assert fault["attributes"] | named == fault["attributes"]


def _chaos(path: Path) -> str:
    return str(json.loads((path / "result.json").read_text())["chaos_profile"])


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("passed", "OK"), ("failed", "ERROR"), ("error", "ERROR"), ("inconclusive", "ERROR"), ("skipped", "UNSET")],
)
def test_outcome_as_status(make_result: Callable[..., BenchmarkResult], outcome: str, code: str) -> None:
    result = make_result(outcome=outcome, verdict=None, error="no <such> thing" if code == "ERROR" else None)
    (root,) = sent(run_trace(StoredRun(Path("run-1"), result=result)))
    assert root["status"]["status_code"] == code
    assert root["status"].get("description") == ("no <such> thing" if code == "ERROR" else None)


def test_a_tasks_span_covers_its_attempts() -> None:
    task = Span("task/x", "task", "x", 50, 60, "ok", "run", {})
    spans = [
        Span("run", "run", "r", 0, 99, "ok", None, {}),
        task,
        *(
            Span(f"attempt/x/{n}", "attempt", f"x #{n}", start, end, "ok", "task/x", {})
            for n, start, end in ((1, 10, 20), (2, 45, 70))
        ),
    ]
    moments = [Moment("seen", 65, "task/x", {"odd": True})]
    trace = RunTrace("run-1", 10**18, {}, spans, moments)
    from pytest_execgo.reporting.otel import spans_of

    sent_task = spans_of(trace, "1")[1]
    assert (sent_task.start_time, sent_task.end_time) == (10**18 + 10, 10**18 + 70)
    told = [(event.name, event.timestamp - 10**18, dict(event.attributes or {})) for event in sent_task.events]
    assert told == [("task started", 50, {}), ("task ended", 60, {}), ("seen", 65, {"execgo.odd": True})]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("https://x.invalid/otlp", "https://x.invalid/otlp/v1/traces"),
        ("https://x.invalid/v1/traces", "https://x.invalid/v1/traces"),
    ],
)
def test_where_traces_are_sent(given: str, url: str) -> None:
    from pytest_execgo.reporting.otel import traces_url

    assert traces_url(collector("--endpoint", given)) == url


@pytest.mark.parametrize("given", ["localhost:4318", "ftp://x", "http://", "http://x:port", "http://x:99999", "http://x?a=1", "x"])
def test_what_is_no_collector(given: str) -> None:
    with pytest.raises(UsageError, match=r"--endpoint.*can't be used") as error:
        collector("--endpoint", given)
    assert "http://localhost:4318" in error.value.hint


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.wiring.collector._NEEDED", ("no_such_package.sdk",))
    with pytest.raises(UsageError, match=r"no_such_package\.sdk is not installed") as error:
        collector("--execgo-otel", "http://localhost:4318")
    assert error.value.hint == "pip install 'pytest-execgo[otel]'"
