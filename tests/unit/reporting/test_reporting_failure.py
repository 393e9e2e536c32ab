"""What a failing cell prints: everything that helps, in at most 40 lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.result import ArtifactManifest
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.reporting.failure import failure_text

Make = Callable[..., Any]
RERUN = "python -m pytest --execgo-cell 0123456789abcdef"


def test_a_failing_cell(make_result: Make, timeline: list[dict[str, Any]]) -> None:
    assert failure_text(make_result(), timeline, RERUN).splitlines()[1:] == [
        "outcome      failed, codegen_exec[langgraph-replay-none-0], backend embedded",
        "reasons      - tests: 2 of 5 failed",
        "attribution  runtime: exit_nonzero",
        "             exit status 1",
        "evidence     #3  +35.5 ms  task_observed build/compile failed [exit_nonzero]: exit status 1",
        "last events  #1  +0.00 ms  run_started: seed=7",
        "             #2  +10.0 ms  stage_submitted build: accepted=1",
        "             #3  +35.5 ms  task_observed build/compile failed [exit_nonzero]: exit status 1",
        "             #4  +40.0 ms  stage_finished build failed",
        "             #5  +41.0 ms  run_finished failed: wall_time_ms=41.0",
        "artifacts    var/runs/run-1",
        f"run again    {RERUN}",
    ]


def test_an_error_without_verdict_attribution_or_timeline(make_result: Make) -> None:
    result = make_result(outcome="error", verdict=None, attribution=None, error="kernel died\n  hint: see kernel.log")
    assert failure_text(result, [], RERUN).splitlines()[1:] == [
        "outcome      error, codegen_exec[langgraph-replay-none-0], backend embedded",
        "reasons      - kernel died ⏎ hint: see kernel.log",
        "artifacts    var/runs/run-1",
        f"run again    {RERUN}",
    ]


def test_each_reason_begins_anew_and_long_ones_hang(make_result: Make) -> None:
    reasons = ["first " * 30, "second"]
    lines = failure_text(make_result(verdict=Verdict(passed=False, reasons=reasons)), [], RERUN).splitlines()[1:]
    assert [line[:15] for line in lines[1:4]] == ["reasons      - ", " " * 15, " " * 13 + "- "]
    assert lines[3] == " " * 13 + "- second"


def test_only_the_last_eight_events_and_the_first_five_of_the_evidence(make_result: Make, make_event: Make) -> None:
    rows = [make_event(seq, seq, "task_observed") for seq in range(1, 21)]
    attribution = Attribution(layer="kernel", code="lost", message="lost", retryable=True, evidence=list(range(1, 11)))
    lines = failure_text(make_result(attribution=attribution), rows, RERUN).splitlines()[1:]
    assert "attribution  kernel: lost (retryable)" in lines
    start = next(index for index, line in enumerate(lines) if line.startswith("evidence"))
    shown = [line[13:].split()[0] for line in lines[start:]]
    assert shown[:5] == ["#1", "#2", "#3", "#4", "#5"]
    assert lines[start + 5].strip() == "… and 5 more events, in timeline.jsonl"
    assert lines[start + 6].startswith("last events")
    assert shown[6:14] == [f"#{seq}" for seq in range(13, 21)]
    assert lines[start + 14].startswith("artifacts")


@pytest.mark.parametrize("size", [1, 300, 100_000])
def test_it_stays_short_whatever_the_run_left_behind(size: int, hostile: str, make_result: Make, make_event: Make) -> None:
    text = (hostile + " word") * size
    few = min(size, 300)
    result = make_result(
        verdict=Verdict(passed=False, reasons=[text] * few),
        error=text,
        attribution=Attribution(layer="plan", code=text, message=text, evidence=list(range(few))),
        artifacts=ArtifactManifest(run_dir=f"runs/{hostile}"),
        backend=text,
    )
    names = {"stage_id": text, "task_id": text, "status": text, "error_code": text}
    rows = [make_event(seq, seq, text, **names, metadata={"error": text}) for seq in range(few)]
    printed = failure_text(result, rows, f"{RERUN} {hostile}")
    lines = printed.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 160
    assert printed.isprintable() or set(filter(lambda character: not character.isprintable(), printed)) == {"\n"}
    printed.encode()
    assert lines[-1].startswith(f"run again    {RERUN}")
    if size > 1:
        assert " characters)" in printed
        assert f"… and {few - 4} more reasons, in result.json" in printed


def test_cut_text_says_how_much(make_result: Make) -> None:
    reason = "x" * 1_000
    lines = failure_text(make_result(verdict=Verdict(passed=False, reasons=[reason])), [], RERUN).splitlines()[1:]
    shown = sum(line.count("x") for line in lines[1:4])
    assert 200 < shown < 300
    assert lines[3].endswith(f"… (+{1_000 - shown} characters)")


def test_an_event_of_another_clock_has_no_time(make_result: Make, make_event: Make) -> None:
    rows = [make_event(1, 0, "run_started"), make_event(2, -3000, "stage_finished")]
    lines = failure_text(make_result(attribution=None), rows, RERUN).splitlines()[1:]
    assert lines[2].split() == ["last", "events", "#1", "+0.00", "ms", "run_started"]
    assert lines[3].split() == ["#2", "?", "stage_finished"]


def test_the_first_line_is_what_a_short_summary_can_show(make_result: Make) -> None:
    reasons = ["17 of 70 data are lost", "and more"]
    first = failure_text(make_result(verdict=Verdict(passed=False, reasons=reasons)), [], RERUN).splitlines()[0]
    assert first == "failed: 17 of 70 data are lost"
