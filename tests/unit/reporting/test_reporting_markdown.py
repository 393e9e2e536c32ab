"""The Markdown summaries: what they say, and that no string in a run can break their tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult, BenchmarkSummary, RunMetrics
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.reporting.markdown import escape, run_summary, sweep_summary

Make = Callable[..., Any]
CODE = " " * 6
"""What begins a block of code in a list's item."""
UNESCAPED_PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")


def tables(text: str) -> list[list[str]]:
    """Return each table's lines: runs of neighbouring lines that begin with a pipe."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def columns(line: str) -> int:
    return len(UNESCAPED_PIPE.findall(line)) - 1


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def assert_well_formed(text: str) -> None:
    """Every table keeps its columns, and nothing in the text is HTML, a fence, or a heading that no template wrote."""
    assert len(text.splitlines()) == text.count("\n")
    for table in tables(text):
        assert len(table) >= 2
        assert {columns(line) for line in table} == {columns(table[1])}
        assert set(table[1]) <= set("|-:")
        assert not any("-" in line and set(line) <= set("|-: ") for line in table[2:])
    in_item = False
    for line in text.splitlines():
        in_item = line.startswith("- ") or (in_item and (not line or line.startswith(CODE)))
        if in_item and line.startswith(CODE):
            continue  # a block of code: nothing in it means anything
        assert not line.startswith("    ")
        assert not re.search(r"(?<!\\)[<`]", line)
        assert not re.match(r"- (?:[-+#=>*]|\d+[.)])(?:\s|$)", line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a | b", "a \\| b"),
        ("a\nb", "a ⏎ b"),
        ("`x`", "\\`x\\`"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("back\\", "back\\\\"),
        ("\\|", "\\\\\\|"),
        ("[a](b)", "\\[a\\](b)"),
        ("*a* ~b~ $c$", "\\*a\\* \\~b\\~ \\$c\\$"),
        ("codegen_exec", "codegen_exec"),
        ("_a_ __b__", "\\_a\\_ \\_\\_b\\_\\_"),
        ("# a", "\\# a"),
        ("#12", "#12"),
        ("- a", "\\- a"),
        ("---", "\\---"),
        ("+12.3 ms", "+12.3 ms"),
        ("1. a", "1\\. a"),
        ("12.3 ms", "12.3 ms"),
        (None, "n/a"),
        (0, "0"),
    ],
)
def test_escape(text: object, expected: str) -> None:
    assert escape(text) == expected


@settings(deadline=None)
@given(st.text(st.characters(), max_size=200) | st.text("|\\`<>&_*[]#-+=1. \n", max_size=40))
def test_an_escaped_text_is_one_cell(text: str) -> None:
    cell = escape(text)
    assert not UNESCAPED_PIPE.search(cell)
    assert not re.search("[<>\n\r]", cell)
    assert not re.search(r"(?<!\\)(?:\\\\)*`", cell)
    # no odd backslash at the end: it would escape the pipe that follows
    assert (len(cell) - len(cell.rstrip("\\"))) % 2 == 0


def test_a_run_says_what_ran_how_it_ended_and_why(make_result: Make, timeline: list[dict[str, Any]]) -> None:
    text = run_summary(make_result(), timeline)
    assert_well_formed(text)
    assert text.startswith("# codegen_exec: failed\n")
    assert "| Cell | codegen_exec\\[langgraph-replay-none-0\\] |" in text
    assert "- tests: 2 of 5 failed" in section(text, "Verdict")
    attribution = section(text, "Attribution")
    assert "| runtime | exit_nonzero | no | exit status 1 |" in attribution
    assert "| 3 | +35.5 ms | task_observed build/compile failed \\[exit_nonzero\\]: exit status 1 |" in attribution
    metrics = section(text, "Metrics")
    for row in ("| wall_time_ms | 120 ms |", "| overhead | 2.0x |", "| plan_validity | 100% |", "| retry_count | 0 |"):
        assert row in metrics
    assert "| recovery_success | n/a |" in metrics
    assert "| build | failed | 1 | 30.0 ms |" in section(text, "Stages")
    assert "| build | compile | failed | 2 | \\[exit_nonzero\\] exit status 1 |" in section(text, "Tasks")
    assert "The last 5 of 5 events." in section(text, "Last events")
    assert f"| plan.json | {'aa' * 32} |" in section(text, "Artifacts")
    assert "Folder: var/runs/run-1" in text


def test_a_run_without_evidence_leaves_out_what_it_lacks(make_result: Make) -> None:
    result = make_result(
        outcome="error",
        verdict=None,
        attribution=None,
        error="no plan\n  hint: install it",
        artifacts=ArtifactManifest(run_dir="d"),
    )
    text = run_summary(result, [])
    assert_well_formed(text)
    assert "The verifier did not judge this run." in text
    assert "- no plan\n\n      hint: install it\n" in text
    for absent in ("## Attribution", "## Stages", "## Tasks", "## Last events", "| File |"):
        assert absent not in text


def test_a_reason_of_several_lines_is_a_block_that_keeps_them(make_result: Make) -> None:
    said = "expected | *this*:\n  a: <1>\n\n  ```\ngot:\n\ta: 1"
    text = run_summary(make_result(verdict=Verdict(passed=False, reasons=[said, "second"])), [])
    block = "\n".join(["        a: <1>", "", "        ```", "      got:", "              a: 1"])
    assert f"- expected \\| \\*this\\*:\n\n{block}\n- second\n" in text
    assert_well_formed(text)


def test_of_many_lines_the_first_and_the_last_are_in_the_summary(make_result: Make) -> None:
    lines = "\n".join(f"line {number}" for number in range(100))
    text = run_summary(make_result(verdict=Verdict(passed=False, reasons=[f"first\n{lines}", "x " * 5_000])), [])
    assert "\n      line 18\n      … 61 more lines, in result.json\n      line 80\n" in text
    assert "\n      line 99\n- x x" in text


@pytest.mark.parametrize(
    ("said", "outcome", "passed", "expected"),
    [
        ([], "failed", False, "The verifier was not asked: the run failed before."),
        (["failed"], "failed", False, "The verifier's judgement: failed."),
        (["ok"], "passed", True, "The verifier's judgement: passed."),
        (["ok"], "failed", False, "The verifier's judgement: passed; the run failed all the same."),
        ([], "passed", True, "The verifier was not asked: the run failed before."),
        (["failed", None], "failed", False, "The verifier was not asked: the run failed before."),
        ([], "error", None, "The verifier did not judge this run."),
    ],
)
def test_what_the_verifier_said_is_its_own_word(
    said: list[str | None], outcome: str, passed: bool | None, expected: str, make_result: Make, make_event: Make
) -> None:
    """It is not asked when a stage failed; a broken promise overrules it; a resumed run asks it anew."""
    verdict = None if passed is None else Verdict(passed=passed, reasons=["so it is"])
    rows = [make_event(1, 0, "run_started")]
    rows += [make_event(2, 1, "verdict_reached", status=word) if word else make_event(3, 2, "run_resumed") for word in said]
    text = run_summary(make_result(outcome=outcome, verdict=verdict), [*rows, make_event(4, 3, "run_finished")])
    assert section(text, "Verdict").strip().splitlines()[0] == expected


def test_a_verdict_without_a_reason_says_so(make_result: Make) -> None:
    text = run_summary(make_result(verdict=Verdict(passed=False)), [])
    assert "- the verifier gave no reason" in text
    assert "gave no reason" not in run_summary(make_result(outcome="passed", verdict=Verdict(passed=True)), [])


def test_no_string_of_a_run_breaks_its_summary(hostile: str, make_result: Make, make_event: Make) -> None:
    result: BenchmarkResult = make_result(
        verdict=Verdict(passed=False, reasons=[hostile, hostile]),
        attribution=Attribution(layer="plan", code=hostile, message=hostile, evidence=[1, 2]),
        error=hostile,
        artifacts=ArtifactManifest(run_dir=hostile, files={hostile: hostile}),
        backend=hostile,
        versions={hostile: hostile},
        started_at=hostile,
        cell_id=hostile,
    )
    names = {"stage_id": hostile, "task_id": hostile, "status": hostile, "error_code": hostile}
    rows = [
        make_event(1, 0, "stage_submitted", stage_id=hostile, metadata={"accepted": hostile}),
        make_event(2, 1, "task_observed", **names, metadata={"error": hostile, "attempt": hostile}),
        make_event(3, 2, hostile, **names, metadata={hostile: hostile, "reasons": [hostile]}),
    ]
    assert_well_formed(run_summary(result, rows))


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"seq": [1], "monotonic_ns": "soon", "event_type": None, "metadata": "text"},
        {"event_type": "task_observed", "stage_id": ["s"], "task_id": {"x": 1}},
        {"event_type": "stage_submitted", "stage_id": "s", "metadata": None},
        {"event_type": "stage_finished", "stage_id": "unknown", "status": 3},
    ],
)
def test_a_foreign_row_is_no_error(row: dict[str, Any], make_result: Make, timeline: list[dict[str, Any]]) -> None:
    text = run_summary(make_result(), [*timeline, row])
    assert_well_formed(text)
    assert "The last 6 of 6 events." in text


def test_huge_runs_are_cut_and_say_so(make_result: Make, make_event: Make) -> None:
    rows = [make_event(0, 0, "stage_submitted", stage_id="s", metadata={"accepted": 1000})]
    rows += [make_event(n, n, "task_observed", stage_id="s", task_id=f"t{n}", status="success") for n in range(1, 1001)]
    reasons = ["x" * 5000] + [f"reason {index}" for index in range(99)]
    text = run_summary(make_result(verdict=Verdict(passed=False, reasons=reasons)), rows)
    assert "… and 800 more tasks, in timeline.jsonl" in text
    assert "… (+3000 characters)" in text
    assert "- … and 50 more, in result.json" in text
    assert "The last 12 of 1001 events." in text
    assert "| s | unfinished | 1000 | n/a |" in text
    assert text.count("\n") < 400


def test_a_stage_that_was_submitted_again_is_shown_twice(make_result: Make, make_event: Make) -> None:
    rows = [
        make_event(1, 0, "stage_submitted", stage_id="s", metadata={"accepted": 2}),
        make_event(2, 5, "stage_finished", stage_id="s", status="failed"),
        make_event(3, 6, "stage_submitted", stage_id="s", metadata={"accepted": 2}),
        make_event(4, 8, "stage_finished", stage_id="s"),
        make_event(5, 9, "submit_refused", stage_id="late", metadata={"reason": "cycle"}),
    ]
    stages = section(run_summary(make_result(), rows), "Stages")
    assert "| s | failed | 2 | 5.0 ms |\n| s | ok | 2 | 2.0 ms |\n| late | refused | 0 | n/a |" in stages


def test_a_sweep_lists_groups_failures_and_skips(make_result: Make, make_group: Make, make_summary: Make) -> None:
    passed = make_result(outcome="passed", verdict=Verdict(passed=True), attribution=None)
    skipped = make_result(outcome="skipped", verdict=None, attribution=None, error="crewai is not installed")
    lost = make_result(outcome="error", verdict=None)
    groups = [
        make_group(),
        make_group(framework="crewai", passed=1, failed=1, inconclusive=1, pass_rate=1 / 3, determinism_drift=None),
    ]
    runs = [passed, make_result(), skipped, skipped, lost]
    text = sweep_summary(make_summary(groups, runs, passed=1, failed=1, error=1, skipped=2, cells=5))
    assert_well_formed(text)
    assert "5 cells: 1 passed, 1 failed, 1 error, 2 skipped in 8.20 s" in text
    cells = section(text, "Cells")
    assert "| codegen_exec | langgraph | replay | none | 3/3 passed | 100% | 914 ms | 321 ms | 2.9x | 0% |" in cells
    assert "| crewai | replay | none | 1/3 passed, 1 failed, 1 inconclusive | 33.3% |" in cells
    failing = section(text, "What did not pass")
    assert "| failed | runtime | exit_nonzero | tests: 2 of 5 failed | var/runs/run-1 |" in failing
    assert "| error | runtime | exit_nonzero | exit status 1 | var/runs/run-1 |" in failing
    assert len(tables(failing)[0]) == 4
    assert "| 2 | crewai is not installed |" in section(text, "Skipped")


def test_no_string_of_a_sweep_breaks_its_summary(hostile: str, make_result: Make, make_group: Make, make_summary: Make) -> None:
    bad = {"verdict": None, "error": hostile, "artifacts": ArtifactManifest(run_dir=hostile)}
    attribution = Attribution(layer="plan", code=hostile, message=hostile)
    runs = [make_result(outcome="error", attribution=attribution, **bad), make_result(outcome="skipped", attribution=None, **bad)]
    summary: BenchmarkSummary = make_summary([make_group()], runs, error=1, skipped=1, cells=2)
    assert_well_formed(sweep_summary(summary.model_copy(update={"started_at": hostile})))


def test_an_empty_sweep_and_a_great_one(make_result: Make, make_summary: Make) -> None:
    empty = sweep_summary(make_summary([], []))
    assert "0 cells: nothing ran" in empty
    assert tables(empty) == []
    great = sweep_summary(make_summary([], [make_result()] * 500, failed=500, cells=500))
    assert "… and 300 more runs, in benchmark-summary.json" in great


def test_runs_without_their_sandbox_are_told_of(make_result: Make, make_summary: Make) -> None:
    run = make_result(outcome="passed", verdict=Verdict(passed=True), sandbox=SandboxUse(requested="wasm", reason="no `wasmtime`"))
    text = sweep_summary(make_summary([], [run], passed=1, cells=1))
    assert_well_formed(text)
    assert "\n\n- 1 run asked for the sandbox wasm and ran without it: no \\`wasmtime\\`\n" in text
    assert "sandbox" not in sweep_summary(make_summary([], [make_result()], failed=1, cells=1))


def test_every_metric_is_in_the_table(make_result: Make) -> None:
    figures: dict[str, Any] = {name: 3 if "count" in name or "tokens" in name else 0.5 for name in RunMetrics.model_fields}
    (table,) = tables(section(run_summary(make_result(metrics=RunMetrics(**figures)), []), "Metrics"))
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == list(RunMetrics.model_fields)
    assert not any("n/a" in line for line in table)
