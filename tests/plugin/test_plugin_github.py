"""A sweep in a job of GitHub Actions: annotations in the log, and the step's summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FAILING = """\
from pytest_execgo import Verdict


def verify(context):
    return Verdict.of(["50% is\\nwrong: a, b ::error::x | <b>"])
"""


@pytest.fixture
def summary_file(project: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    file: Path = project.path.parent / f"{project.path.name}-step-summary"
    file.write_text("what came before\n")
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(project.path),
        "GITHUB_STEP_SUMMARY": str(file),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_SHA": "c0ffee",
    }.items():
        monkeypatch.setenv(name, value)
    return file


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"], ["-q", "-p", "no:xdist"]], ids=["alone", "xdist", "quiet"])
def test_a_failing_sweep(project: Any, summary_file: Path, mode: list[str]) -> None:
    project.scenario("zz_bad", verifier=FAILING)
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: []")
    project.scenario("hello", text=text)
    matrix = ("--execgo-matrix", "--execgo-framework=langgraph", "--execgo-chaos=none,kernel_restart")
    result = project.pytester.runpytest_subprocess(*matrix, *mode)
    orders = [line for line in result.outlines if line.lstrip().startswith("::")]
    place = "file=scenarios/zz_bad/scenario.yaml,line=1"
    assert sorted(orders) == [
        f"::error {place},title=failed%3A zz_bad[langgraph-replay-kernel_restart-0]::50%25 is%0Awrong: a, b ::error::x | <b>",
        f"::error {place},title=failed%3A zz_bad[langgraph-replay-none-0]::50%25 is%0Awrong: a, b ::error::x | <b>",
        "::warning title=1 cell skipped::1 cell: scenario 'hello' does not allow chaos profile 'kernel_restart' (allowed: none)",
    ]
    text = summary_file.read_text("utf-8")
    before, _, ours = text.partition("\n\n")
    assert before == "what came before"
    assert ours.startswith("## execgo: 4 cells: 1 passed, 2 failed, 1 skipped\n")
    assert "(https://github.com/o/r/blob/c0ffee/scenarios/zz_bad/scenario.yaml) | failed |" in ours
    assert "Artifacts: var/runs" in ours
    assert "<b>" not in ours


def test_a_passing_sweep_annotates_nothing_and_sums_itself_up(project: Any, summary_file: Path) -> None:
    result = project.run("-p", "no:xdist")
    assert "::" not in "\n".join(line for line in result.outlines if "test_plan" not in line)
    assert "## execgo: 1 cell: 1 passed" in summary_file.read_text()


def test_a_test_that_wants_a_plan_to_fail_is_no_error(project: Any, summary_file: Path) -> None:
    project.scenario("hello", verifier=FAILING)
    project.pytester.makepyfile(
        """
        def test_wanted(execgo_run):
            assert execgo_run.outcome == "failed"

        def test_unwanted(execgo_run):
            assert execgo_run.outcome == "passed"
        """
    )
    result = project.run_plain("-p", "no:xdist", "--execgo-framework=langgraph")
    result.assert_outcomes(passed=1, failed=1)
    assert sum(line.startswith("::error") for line in result.outlines) == 1
    assert "2 cells: 2 failed" in summary_file.read_text()


def test_a_summary_that_is_full_or_cannot_be_written(project: Any, summary_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary_file.write_text("x" * (1024 * 1024 - 5))
    project.run("-p", "no:xdist").assert_outcomes(passed=1)
    assert summary_file.stat().st_size == 1024 * 1024 - 5
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    result = project.run("-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["execgo: the step's summary can't be written: *"])


def test_elsewhere_and_turned_off_there_is_nothing(project: Any, summary_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.scenario("hello", verifier=FAILING)
    off = project.run("-p", "no:execgo-github")
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    elsewhere = project.run()
    for result in (off, elsewhere):
        result.assert_outcomes(failed=1)
        assert not [line for line in result.outlines if line.startswith("::")]
    assert summary_file.read_text() == "what came before\n"
