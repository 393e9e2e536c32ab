"""What a job of GitHub Actions shows: commands that no text can break out of, a summary that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.statistics import GateResult, Interval, SweepStatistics
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.github import annotation, step_summary, workflow_commands

Make = Callable[..., Any]
FILES = {"codegen_exec": "scenarios/codegen_exec/scenario.yaml"}


def unescaped(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_an_annotation_names_its_place_and_escapes_what_would_end_it() -> None:
    said = annotation("error", "100%\r\nnext: a, b", title="failed: x, y", file="a,b:c/scenario.yaml")
    assert said == "::error file=a%2Cb%3Ac/scenario.yaml,line=1,title=failed%3A x%2C y::100%25%0D%0Anext: a, b"
    assert annotation("warning", "m", title="t") == "::warning title=t::m"


def test_no_text_breaks_out_of_an_annotation(hostile: str) -> None:
    for text in (hostile, f"{hostile}::error::x", "%0A::error::x", "a\n::error::x"):
        said = annotation("error", text, title=text, file=text)
        assert "\n" not in said
        assert "\r" not in said
        head, _, data = said[2:].partition("::")
        assert unescaped(data) == text
        shown = dict(pair.split("=", 1) for pair in head.removeprefix("error ").split(","))
        assert {name: unescaped(value) for name, value in shown.items()} == {"file": text, "line": "1", "title": text}


def test_failing_cells_and_unmet_gates_are_errors_and_all_skips_one_warning(make_result: Make, make_summary: Make) -> None:
    runs = [
        make_result(outcome="inconclusive", verdict=None, attribution=None, error="nothing was hit"),
        make_result(outcome="skipped", verdict=None, error="no crewai"),
        make_result(outcome="skipped", verdict=None, error="no crewai"),
        make_result(outcome="skipped", verdict=None, error="no docker"),
        make_result(outcome="passed"),
        make_result(scenario_id="built_in", verdict=Verdict(passed=False, reasons=["one\n  two", "other"])),
        make_result(verdict=Verdict(passed=False, reasons=["fine"]), run_id="wanted"),
    ]
    gates = [GateResult(condition="pass_rate>=0.9", passed=False, value=0.5, because=["a cell"])]
    summary = make_summary([], runs, cells=7, skipped=3).model_copy(update={"gates": gates})
    assert workflow_commands(summary, FILES, fine=["wanted"]) == [
        "::error title=Gate not met%3A pass_rate>=0.9::gate FAIL  pass_rate>=0.9  (0.5)%0A    a cell",
        "::error title=failed%3A built_in[langgraph-replay-none-0]::one%0Atwo",
        "::error file=scenarios/codegen_exec/scenario.yaml,line=1,"
        "title=inconclusive%3A codegen_exec[langgraph-replay-none-0]::nothing was hit",
        "::warning title=3 cells skipped::2 cells: no crewai%0A1 cell: no docker",
    ]
    assert workflow_commands(make_summary([], [make_result(outcome="passed")], cells=1, passed=1), FILES) == []


def test_of_many_errors_the_tenth_says_how_many_there_are(make_result: Make, make_summary: Make) -> None:
    ten = workflow_commands(make_summary([], [make_result()] * 10, cells=10, failed=10), FILES)
    assert len(ten) == 10
    assert all("2 of 5 failed" in line for line in ten)
    many = workflow_commands(make_summary([], [make_result()] * 15, cells=15, failed=15), FILES)
    assert len(many) == 10
    assert many[-1] == "::error title=15 cells%3A 15 failed::… and 6 more errors"


@pytest.fixture
def summary(make_result: Make, make_summary: Make) -> Any:
    runs = [
        make_result(outcome="error", verdict=None, attribution=None, error="no stack", scenario_id="built_in"),
        make_result(),
        make_result(outcome="passed"),
        make_result(outcome="skipped", verdict=None, error="no crewai"),
    ]
    rate = SweepStatistics(runs=3, pass_rate=1 / 3, pass_interval=Interval(low=0.1, high=0.8))
    gates = [GateResult(condition="lost<=0", passed=True, value=0)]
    made = make_summary([], runs, cells=4, passed=1, failed=1, error=1, skipped=1)
    return made.model_copy(update={"statistics": rate, "gates": gates})


def test_the_step_summary_tells_of_runs_without_their_sandbox(make_result: Make, make_summary: Make) -> None:
    run = make_result(outcome="passed", sandbox=SandboxUse(requested="wasm", reason="no *wasmtime*"))
    text = step_summary(make_summary([], [run], cells=1, passed=1), files={}, files_url=None, artifacts="var/runs")
    assert "\n- 1 run asked for the sandbox wasm and ran without it: no \\*wasmtime\\*\n" in text


def test_the_step_summary(summary: Any) -> None:
    url = "https://github.com/o/r/blob/c0ffee"
    assert step_summary(summary, files=FILES, files_url=url, artifacts="var/runs").splitlines() == [
        "## execgo: 4 cells: 1 passed, 1 failed, 1 error, 1 skipped",
        "",
        "- in 8.20 s",
        "- pass rate 33.3% (95% interval 10.0% to 80.0%)",
        "",
        "| Gate | Value | Passed |",
        "|---|---:|---|",
        "| lost&lt;=0 | 0 | ✅ |",
        "",
        "| Cell | Outcome | Attribution | Why |",
        "|---|---|---|---|",
        f"| [codegen_exec\\[langgraph-replay-none-0\\]]({url}/scenarios/codegen_exec/scenario.yaml) | failed "
        "| runtime: exit_nonzero | tests: 2 of 5 failed |",
        "| built_in\\[langgraph-replay-none-0\\] | error | n/a | no stack |",
        "",
        "| Skipped | Why |",
        "|---:|---|",
        "| 1 | no crewai |",
        "",
        "Artifacts: var/runs",
    ]
    assert "](" not in step_summary(summary, files=FILES, files_url=None, artifacts="var/runs")


def test_hostile_reasons_stay_in_their_row(hostile: str, make_result: Make, make_summary: Make) -> None:
    runs = [make_result(verdict=Verdict(passed=False, reasons=[f"x {hostile} y"]))]
    text = step_summary(make_summary([], runs, cells=1, failed=1), files={}, files_url=None, artifacts=hostile)
    rows = [line for line in text.splitlines() if line.startswith("| codegen")]
    assert len(rows) == 1
    assert len(rows[0].replace("\\|", "").split("|")) == 6
    assert "<" not in text
    text.encode()


def test_what_is_too_long_is_cut_by_lines_and_said(make_result: Make, make_summary: Make) -> None:
    runs = [make_result(verdict=Verdict(passed=False, reasons=["größe " * 80])) for _ in range(3_000)]
    summary = make_summary([], runs, cells=3_000, failed=3_000)
    text = step_summary(summary, files=FILES, files_url=None, artifacts="var/runs")
    assert 1_000_000 < len(text.encode()) <= 1024 * 1024
    lines = text.rstrip().splitlines()
    assert lines[-1] == "… cut here; benchmark-summary.md tells all"
    assert all(line.endswith(" |") for line in lines[6:-2])
    small = step_summary(summary, files=FILES, files_url=None, artifacts="var/runs", most_bytes=200)
    assert len(small.encode()) <= 200
    assert small.startswith("## execgo: 3000 cells")
    for room in (60, 10, 0, -5):
        assert step_summary(summary, files=FILES, files_url=None, artifacts="var/runs", most_bytes=room) == ""
