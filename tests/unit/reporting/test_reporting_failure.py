"""What a failing cell prints: everything that helps, each thing once, in at most 50 lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.result import ArtifactManifest, FaultReport
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.reporting.failure import failure_text

Make = Callable[..., Any]
RERUN = "python -m pytest --execgo-cell 0123456789abcdef"


def test_a_failing_cell(make_result: Make, timeline: list[dict[str, Any]]) -> None:
    assert failure_text(make_result(), timeline, RERUN).splitlines() == [
        "tests: 2 of 5 failed",
        "cell         codegen_exec[langgraph-replay-none-0], backend embedded",
        "attribution  runtime: exit_nonzero (seen by #3)",
        "             exit status 1",
        "events       #1  +0.00 ms  run_started: seed=7",
        "             #2  +10.0 ms  stage_submitted build: accepted=1",
        "             #3  +35.5 ms  task_observed build/compile failed [exit_nonzero]: exit status 1",
        "             #4  +40.0 ms  stage_finished build failed",
        "             #5  +41.0 ms  run_finished failed: wall_time_ms=41.0",
        "artifacts    var/runs/run-1",
        f"run again    {RERUN}",
    ]


def test_an_error_without_verdict_attribution_or_timeline(make_result: Make) -> None:
    result = make_result(outcome="error", verdict=None, attribution=None, error="kernel died\n  hint: see kernel.log")
    assert failure_text(result, [], RERUN).splitlines() == [
        "error: kernel died",
        "  hint: see kernel.log",
        "cell         codegen_exec[langgraph-replay-none-0], backend embedded",
        "artifacts    var/runs/run-1",
        f"run again    {RERUN}",
    ]


TRACEBACK = """\
command failed: exit status 1: Traceback (most recent call last):
  File "run.py", line 9, in <module>
    main()
  File "run.py", line 6, in main
    return sum(row['ammount'] for row in rows)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "run.py", line 6, in <genexpr>
    return sum(row['ammount'] for row in rows)
               ~~~^^^^^^^^^^^
KeyError: 'ammount'"""


def failed(make_result: Make, *reasons: str) -> Any:
    return make_result(verdict=Verdict(passed=False, reasons=list(reasons)), attribution=None)


def test_a_traceback_stands_as_it_was_written_to_its_last_line(make_result: Make) -> None:
    lines = failure_text(failed(make_result, TRACEBACK), [], RERUN).splitlines()
    assert lines[0] == TRACEBACK.splitlines()[0]
    assert lines[1:10] == [f"  {line}" for line in TRACEBACK.splitlines()[1:]]
    assert lines[10].startswith("cell ")


def test_of_a_long_traceback_the_first_and_the_last_lines_are_left(make_result: Make) -> None:
    frames = "".join(f"  File {number}\n    call\n" for number in range(9))
    lines = failure_text(failed(make_result, f"it failed:\n{frames}KeyError: 'ammount'"), [], RERUN).splitlines()
    assert [line[2:] for line in lines[1:13]] == [
        *("  File 0", "    call", "  File 1", "    call", "  File 2"),
        "… 8 more lines, in result.json",
        *("    call", "  File 7", "    call", "  File 8", "    call"),
        "KeyError: 'ammount'",
    ]
    assert lines[13].startswith("cell ")


def test_reasons_keep_their_lines_and_how_deep_they_are(make_result: Make) -> None:
    said = "expected:\n  a: 1\n  b: 2\ngot:\n  a: 1"
    lines = failure_text(failed(make_result, said, f"{said}1"), [], RERUN).splitlines()
    assert lines[:5] == ["expected:", "    a: 1", "    b: 2", "  got:", "    a: 1"]
    beside = ["also         - expected:", *(" " * 15 + line for line in ("  a: 1", "  b: 2", "got:", "  a: 11"))]
    assert lines[6:11] == beside


@pytest.mark.parametrize(("verbosity", "shown"), [(-1, 11), (0, 11), (1, 59), (2, 200), (4, 200)])
def test_pytests_verbosity_shows_more_and_all(verbosity: int, shown: int, make_result: Make) -> None:
    lines = "\n".join(f"line {number}" for number in range(200))
    result = failed(make_result, f"first\n{lines}", *(f"reason {number}" for number in range(300)), f"last\n{lines}")
    text = failure_text(result, [], RERUN, verbosity)
    first, _, rest = text.partition("\ncell ")
    assert first.count("  line ") == shown
    assert ("more line" in text, "more reasons" in text) == (verbosity < 2, verbosity < 2)
    assert rest.count("- reason ") == {1: 35, 2: 300, 4: 300}.get(verbosity, 7)


def test_no_note_stands_in_the_place_of_one_line(make_result: Make) -> None:
    reasons = [f"reason {number}" for number in range(16)]
    assert "more" not in failure_text(failed(make_result, *reasons[:15]), [], RERUN)
    text = failure_text(failed(make_result, *reasons), [], RERUN)
    assert "- reason 13\n             … and 2 more reasons, in result.json" in text
    beneath = "\n".join(f"line {number}" for number in range(12))
    assert "more" not in failure_text(failed(make_result, f"first\n{beneath}"), [], RERUN)


def test_what_reasons_have_said_is_not_said_again(make_result: Make, make_event: Make) -> None:
    said = {"reasons": ["first", "second"]}
    rows = [
        make_event(1, 0, "run_started", metadata={"seed": 7, "cell_id": "c", "workspace": "/w"}),
        make_event(2, 1, "task_observed", task_id="t", metadata={"wire_id": "run:t:1", "attempt": 1}),
        make_event(3, 2, "verdict_reached", status="failed", metadata=said),
        make_event(4, 3, "failure_attributed", status="failed", error_code="verdict_failed", metadata={"message": "first"}),
        make_event(5, 4, "run_finished", status="failed", metadata={"outcome": "failed", "wall_time_ms": 4.0}),
    ]
    attribution = Attribution(layer="verifier", code="verdict_failed", message="first; second", evidence=[3])
    result = make_result(verdict=Verdict(passed=False, reasons=["first", "second"]), attribution=attribution)
    lines = failure_text(result, rows, RERUN).splitlines()
    assert lines[2:8] == [
        "also         - second",
        "attribution  verifier: verdict_failed (seen by #3)",
        "events       #1  +0.00 ms  run_started: seed=7",
        "             #2   +1.0 ms  task_observed t: attempt=1",
        "             #3   +2.0 ms  verdict_reached failed",
        "             #5   +4.0 ms  run_finished failed: wall_time_ms=4.0",
    ]
    assert sum(line.count("first") for line in lines) == 1


def test_each_reason_begins_anew_and_long_ones_hang(make_result: Make) -> None:
    reasons = ["first " * 30, "second " * 30, "third"]
    lines = failure_text(make_result(verdict=Verdict(passed=False, reasons=reasons)), [], RERUN).splitlines()
    assert lines[0] == ("first " * 30).strip()
    assert [line[:15] for line in lines[2:6]] == ["also         - ", " " * 15, " " * 15, " " * 13 + "- "]
    assert lines[5] == " " * 13 + "- third"


def test_the_first_five_of_the_evidence_and_the_last_eight_events_each_once(make_result: Make, make_event: Make) -> None:
    rows = [make_event(seq, seq, "task_observed") for seq in range(1, 21)]
    attribution = Attribution(layer="kernel", code="lost", message="lost", retryable=True, evidence=[*range(1, 4), *range(17, 21)])
    lines = failure_text(make_result(attribution=attribution), rows, RERUN).splitlines()
    assert "attribution  kernel: lost (retryable; seen by #1, #2, #3, #17, #18 and 2 more)" in lines
    start = next(index for index, line in enumerate(lines) if line.startswith("events"))
    shown = [line[13:].split()[0] for line in lines[start:-2]]
    assert shown == ["#1", "#2", "#3", *(f"#{seq}" for seq in range(13, 21))]
    assert lines[start + len(shown)].startswith("artifacts")


@pytest.mark.parametrize("order", ["::error::x", "::add-mask::x", "##[error]x", "  ::error::x"])
def test_the_reader_of_a_log_finds_no_orders(order: str, make_result: Make) -> None:
    reasons = [f"{order}\n{order}", order, f"{'word ' * 27} {order}"]
    attribution = Attribution(layer="plan", code=order, message=f"{'word ' * 20}{order}")
    text = failure_text(make_result(verdict=Verdict(passed=False, reasons=reasons), attribution=attribution), [], RERUN)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    assert text.count("x") >= 4


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
        faults=[FaultReport(fault=n, action=text, target=text, drawn=True, fired=True, error=text) for n in range(10)],
        history=HistoryVerdict(outcome="invalid", violations=[Violation(check=text, message=text)] * 10),
    )
    names = {"stage_id": text, "task_id": text, "status": text, "error_code": text}
    rows = [make_event(seq, seq, text, **names, metadata={"error": text}) for seq in range(few)]
    printed = failure_text(result, rows, f"{RERUN} {hostile}")
    lines = printed.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines[1:])) <= 160
    assert len(lines[0]) <= 340
    assert printed.isprintable() or set(filter(lambda character: not character.isprintable(), printed)) == {"\n"}
    printed.encode()
    assert lines[-1].startswith(f"run again    {RERUN}")
    if size > 1:
        assert " characters)" in printed
        assert re.search(r"… and 2[89]\d more reasons, in result\.json", printed)


def test_cut_text_says_how_much(make_result: Make) -> None:
    reason = "x" * 1_000
    lines = failure_text(make_result(verdict=Verdict(passed=False, reasons=[reason, reason])), [], RERUN).splitlines()
    assert lines[0] == "x" * 300 + "… (+700 characters)"
    beside = sum(line.count("x") for line in lines[2:5])
    assert 200 < beside < 300
    assert lines[4].endswith(f"… (+{1_000 - beside} characters)")


def test_an_event_of_another_clock_has_no_time(make_result: Make, make_event: Make) -> None:
    rows = [make_event(1, 0, "run_started"), make_event(2, -3000, "stage_finished")]
    lines = failure_text(make_result(attribution=None), rows, RERUN).splitlines()
    assert lines[2].split() == ["events", "#1", "+0.00", "ms", "run_started"]
    assert lines[3].split() == ["#2", "?", "stage_finished"]


@pytest.mark.parametrize(("outcome", "prefix"), [("failed", ""), ("error", "error: "), ("inconclusive", "inconclusive: ")])
def test_the_first_line_is_what_a_short_summary_can_show(outcome: str, prefix: str, make_result: Make) -> None:
    """It says `FAILED` itself, but not whether an `ERROR` is ours or nothing could be concluded."""
    reasons = ["17 of 70 data are lost", "and more"]
    result = make_result(outcome=outcome, verdict=Verdict(passed=False, reasons=reasons))
    assert failure_text(result, [], RERUN).splitlines()[0] == f"{prefix}17 of 70 data are lost"
