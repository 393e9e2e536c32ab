"""`--execgo-resume`: what was judged is shown as it was judged, what was not is run, and the summary has each cell once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BAD = """\
from pytest_execgo import Verdict


def verify(context):
    return Verdict.of(["not good enough"])
"""
BROKEN = "def verify(context):\n    raise ValueError('broken')\n"
DEADLY = """\
import os, signal
from pathlib import Path
from pytest_execgo import Verdict


def verify(context):
    mark = Path(__file__).with_name("died")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Verdict.of([])
"""


def sweeps(project: Any) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in project.path.glob("var/runs/sweeps/*/sweep.json")]
    return sorted(found, key=lambda sweep: str(sweep["started_at"]))


def runs(project: Any) -> list[str]:
    return sorted(path.parent.name for path in project.path.glob("var/runs/*/run.json"))


def outcomes(project: Any) -> dict[str, str]:
    found = {run["scenario_id"]: run["outcome"] for run in project.summary()["runs"]}
    assert len(found) == len(project.summary()["runs"]), "each cell once"
    return found


@pytest.mark.parametrize(
    ("verifier", "how", "outcome"), [(BAD, "failed", "failed"), (BROKEN, "errors", "error")], ids=["failed", "error"]
)
def test_a_sweep_that_stopped_early_goes_on_behind_what_it_had(project: Any, verifier: str, how: str, outcome: str) -> None:
    project.scenario("again", verifier=verifier)  # before `hello`
    project.run("-x").assert_outcomes(**{how: 1})
    assert [sweep["finished_at"] for sweep in sweeps(project)] == [None]
    before = runs(project)
    assert len(before) == 1

    resumed = project.run("--execgo-resume")
    resumed.assert_outcomes(passed=1, **{how: 1})
    resumed.stdout.fnmatch_lines(["execgo: going on with sweep 20* of 20*: 1 runs are finished, 0 were cut short"])
    assert outcomes(project) == {"again": outcome, "hello": "passed"}
    assert [run for run in runs(project) if "-again-" in run] == before
    assert len(runs(project)) == 2
    (sweep,) = sweeps(project)
    assert sweep["finished_at"] is not None
    assert project.summary()["sweep_id"] == sweep["sweep_id"]


def test_with_nothing_to_resume_everything_is_run_in_a_new_sweep(project: Any) -> None:
    first = project.run("--execgo-resume")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["execgo: nothing to resume in *var/runs: this is a new sweep"])
    second = project.run("--execgo-resume")  # the first one is finished, although it could have gone on
    second.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines(["execgo: nothing to resume in *"])
    assert len(runs(project)) == len(sweeps(project)) == 2


def test_without_the_option_nothing_is_resumed(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    hint = "not everything was run: the same command with --execgo-resume goes on from here"
    project.run("-x").stdout.fnmatch_lines([hint])
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line(hint)
    result.stdout.no_fnmatch_line("execgo: going on*")
    assert len(runs(project)) == 3
    assert [sweep["finished_at"] is None for sweep in sweeps(project)] == [True, False]


def test_the_environment_may_ask_for_it(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.scenario("again", verifier=BAD)
    project.run("-x")
    monkeypatch.setenv("PYTEST_EXECGO_RESUME", "false")
    assert len(project.run("-x").parseoutcomes()) == 1
    assert len(sweeps(project)) == 2
    monkeypatch.setenv("PYTEST_EXECGO_RESUME", "true")
    project.run().assert_outcomes(passed=1, failed=1)
    assert len(sweeps(project)) == 2
    assert len(runs(project)) == 3


def test_cells_of_other_axes_are_run_and_those_of_both_keep_their_results(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    project.run("-x")
    resumed = project.pytester.runpytest("--execgo-matrix", "--execgo-framework=crewai,langgraph", "--execgo-resume")
    resumed.assert_outcomes(passed=2, failed=2)
    resumed.stdout.fnmatch_lines(["*; it had other cells, those of both keep their results"])
    assert len(runs(project)) == 4
    assert len(sweeps(project)) == 1


def test_a_part_of_the_sweep_leaves_the_summary_whole(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    project.scenario("more")
    project.run("-x")
    project.run("--execgo-resume", "-k", "hello").assert_outcomes(passed=1, deselected=2)
    assert outcomes(project) == {"again": "failed", "hello": "passed"}


def test_workers_agree_on_the_sweep(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    project.scenario("more")
    project.run("-x")
    before = runs(project)
    resumed = project.run("--execgo-resume", "-n2")
    resumed.assert_outcomes(passed=2, failed=1)
    assert outcomes(project) == {"again": "failed", "hello": "passed", "more": "passed"}
    (sweep,) = sweeps(project)
    assert sweep["finished_at"] is not None
    assert project.summary()["sweep_id"] == sweep["sweep_id"]
    assert len(runs(project)) == 3
    assert set(before) <= set(runs(project))


def test_a_run_whose_worker_died_goes_on_in_another_one(project: Any) -> None:
    project.scenario("hello", verifier=DEADLY)
    died = project.run("-n1")
    died.assert_outcomes(failed=1)
    assert [sweep["finished_at"] for sweep in sweeps(project)] == [None]
    (run,) = runs(project)
    resumed = project.run("-n1", "--execgo-resume")
    resumed.assert_outcomes(passed=1)
    resumed.stdout.fnmatch_lines(["*0 runs are finished, 1 were cut short"])
    assert runs(project) == [run]
    (result,) = project.results()
    assert (result["outcome"], result["resumed"]) == ("passed", 1)


OWN = """\
def test_one(execgo_run):
    execgo_run.raise_for_verdict()

def test_other(execgo_run):
    execgo_run.raise_for_verdict()
    assert False, "stop here"

def test_third(execgo_run):
    execgo_run.raise_for_verdict()
"""


def test_tests_of_ones_own_get_as_many_results_as_there_were(project: Any) -> None:
    project.pytester.makepyfile(test_own=OWN)
    arguments = ("--execgo-scenario=hello", "--execgo-framework=langgraph", "test_own.py")
    project.run_plain("-x", *arguments).assert_outcomes(passed=1, failed=1)
    before = runs(project)
    assert len(before) == 2
    project.run_plain("--execgo-resume", *arguments).assert_outcomes(passed=2, failed=1)
    assert len(runs(project)) == 3
    assert set(before) < set(runs(project))
    assert len({result["sweep_id"] for result in project.results()}) == 1


def test_a_dry_run_looks_and_touches_nothing(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    project.run("-x")

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file() and "cache" not in str(path)}

    before = files()
    listed = project.run("--execgo-resume", "--execgo-dry-run", "-k", "again")
    listed.stdout.fnmatch_lines(["1 cell: 1 would run, 0 excluded"])
    assert files() == before
    project.run("--execgo-resume", "--collect-only", "-k", "again")
    assert files() == before


def test_what_a_command_did_not_take_up_is_left_to_the_next_one(project: Any) -> None:
    hint = "not everything was run: the same command with --execgo-resume goes on from here"
    for name in ("again", "never"):
        project.scenario(name, verifier=BAD)
    project.run("-x")
    some = project.run("--execgo-resume", "-k", "hello")
    some.assert_outcomes(passed=1, deselected=2)
    some.stdout.fnmatch_lines([hint])
    rest = project.run("--execgo-resume")
    rest.assert_outcomes(passed=1, failed=2)
    rest.stdout.no_fnmatch_line(hint)
    (sweep,) = sweeps(project)
    assert sweep["finished_at"] is not None
    assert len(runs(project)) == 3


def test_a_sweep_file_that_is_damaged_is_a_usage_error(project: Any) -> None:
    project.scenario("again", verifier=BAD)
    project.run("-x")
    (path,) = project.path.glob("var/runs/sweeps/*/sweep.json")
    path.write_text("{")
    refused = project.run("--execgo-resume")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: *sweep.json:1:2: *"])
