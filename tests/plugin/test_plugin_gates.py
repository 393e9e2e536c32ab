"""Baselines and gates of real sweeps: what passes, what makes the run fail, what is told before anything runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BAD = """\
from pytest_execgo import Verdict


def verify(context):
    return Verdict.of(["not good enough"])
"""
DEADLY = """\
import os, signal


def verify(context):
    os.kill(os.getpid(), signal.SIGKILL)
"""
SLOW = """\
import time
from pathlib import Path


def verify(context):
    Path("waiting").touch()
    time.sleep(60)
"""


def gates(project: Any) -> dict[str, bool]:
    return {gate["condition"]: gate["passed"] for gate in project.summary()["gates"]}


def test_gates_that_are_met_leave_the_run_as_it_is(project: Any) -> None:
    project.scenario("more")
    result = project.run("--execgo-gate", "pass_rate>=1,cells>=2,errors<=0", "--execgo-gate", "wall_time_ms.max<=600000")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["pass rate 100% (95% interval *% to 100%)", "gate PASS  pass_rate>=1  (1)", "gate PASS  cells>=2  (2)"]
    )
    assert gates(project) == dict.fromkeys(["pass_rate>=1", "cells>=2", "errors<=0", "wall_time_ms.max<=600000"], True)
    page = (project.path / "var/runs/benchmark-summary.md").read_text()
    assert "| pass_rate&gt;=1 | PASS | 1 |  |" in page


def test_a_gate_that_is_not_met_fails_a_run_whose_tests_all_passed(project: Any) -> None:
    result = project.run("--execgo-gate", "wall_time_ms.p50<=0.001")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gate FAIL  wall_time_ms.p50<=0.001  (*)", "    hello[[]langgraph-replay-none-0[]]: * ms"])
    (gate,) = project.summary()["gates"]
    assert gate["value"] > 0.001


def test_what_cant_be_measured_fails_too(project: Any) -> None:
    result = project.run("--execgo-gate", "recovery_time_ms.p95<=1000,pass_hat_1>=0.1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "gate FAIL  recovery_time_ms.p95<=1000  (n/a)",
            "    no run that came to a verdict has a recovery_time_ms",
            "gate FAIL  pass_hat_1>=0.1  (n/a)",
            "    pass^1 needs 2 repetitions of every cell; one of them ran 1 times",
        ]
    )


def test_a_gate_that_is_met_hides_no_failure(project: Any) -> None:
    project.scenario("bad", verifier=BAD)
    result = project.run("--execgo-gate", "pass_rate>=0.5")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gates(project) == {"pass_rate>=0.5": True}


def test_repetitions_are_summed_up(project: Any) -> None:
    project.run("--execgo-repeat=4", "--execgo-gate", "pass_hat_2>=1,flake_rate<=0,determinism_drift<=0").assert_outcomes(passed=4)
    statistics = project.summary()["statistics"]
    assert statistics["pass_hat_k"] == {"1": 1.0, "2": 1.0}
    assert (statistics["flake_rate"], statistics["determinism_drift"], statistics["infra_error_rate"]) == (0.0, 0.0, 0.0)
    bounds = {bound["what"]: (bound["found"], bound["looked"]) for bound in statistics["bounds"]}
    assert bounds.keys() >= {"lost", "duplicated", "orphan"}
    assert set(bounds.values()) == {(0, 4)}
    assert all(gates(project).values())


def test_a_regression_against_a_baseline_fails_and_is_explained(project: Any) -> None:
    project.scenario("more")
    saved = project.run("--execgo-baseline", "save=kept/base.json")
    saved.assert_outcomes(passed=2)
    saved.stdout.fnmatch_lines(["baseline saved: *kept/base.json"])
    same = project.run("--execgo-baseline=compare=kept/base.json", "--execgo-gate=regression<=0")
    assert same.ret == pytest.ExitCode.OK
    same.stdout.fnmatch_lines(["compared with 20*: 2 pairs, 0 regressions, 0 improvements", "gate PASS  regression<=0  (0)"])

    project.scenario("more", verifier=BAD)
    worse = project.run("--execgo-baseline=compare=kept/base.json", "--execgo-gate=regression<=0")
    worse.assert_outcomes(passed=1, failed=1)
    worse.stdout.fnmatch_lines(
        [
            "compared with 20*: 2 pairs, 1 regression, 0 improvements",
            "  regression: more[[]langgraph-replay-none-0[]]: passed -> failed",
            "      now: not good enough",
            "  all pairs: 2/2 passed before, 1/2 now; McNemar p 1; power 0% to see a drop of 10 points",
            "gate FAIL  regression<=0  (1)",
            "    more[[]langgraph-replay-none-0[]]: passed -> failed: not good enough",
        ]
    )
    assert project.summary()["comparison"]["regressions"] == 1


def test_a_known_failure_is_no_regression_and_its_end_an_improvement(project: Any) -> None:
    project.scenario("more", verifier=BAD)
    project.run("--execgo-baseline=save=base.json").assert_outcomes(passed=1, failed=1)
    project.run("--execgo-baseline=compare=base.json", "--execgo-gate=regression<=0").assert_outcomes(passed=1, failed=1)
    assert gates(project) == {"regression<=0": True}
    project.scenario("more")
    better = project.run("--execgo-baseline=compare=base.json", "--execgo-gate=improvement<=0")
    better.assert_outcomes(passed=2)
    assert better.ret == pytest.ExitCode.TESTS_FAILED
    better.stdout.fnmatch_lines(["    more[[]langgraph-replay-none-0[]]: failed -> passed: not good enough"])


def test_a_part_of_the_cells_is_no_regression_and_the_rest_is_counted(project: Any) -> None:
    project.scenario("more")
    project.run("--execgo-baseline=save=base.json")
    part = project.run("--execgo-baseline=compare=base.json", "--execgo-gate=regression<=0", "-k", "hello")
    part.assert_outcomes(passed=1, deselected=1)
    assert part.ret == pytest.ExitCode.OK
    part.stdout.fnmatch_lines(["  note: not run this time, which is no regression: 1 cell of the baseline"])


def test_a_sweep_that_failed_a_gate_replaces_no_baseline(project: Any) -> None:
    project.scenario("more")
    project.run("--execgo-baseline=save=base.json")
    before = (project.path / "base.json").read_text()
    project.scenario("more", verifier=BAD)
    both = project.run("--execgo-baseline=compare=base.json,save=base.json", "--execgo-gate=regression<=0")
    both.stdout.fnmatch_lines(["baseline not saved: failed regression<=0"])
    assert (project.path / "base.json").read_text() == before


def test_a_sweep_that_was_broken_off_passes_no_gate_and_is_no_baseline(project: Any) -> None:
    project.scenario("again", verifier=BAD)  # before `hello`
    stopped = project.run("-x", "--execgo-gate=cells>=1", "--execgo-baseline=save=base.json")
    stopped.assert_outcomes(failed=1)
    stopped.stdout.fnmatch_lines(
        [
            "gate FAIL  complete  (n/a)",
            "    the sweep was broken off: 1 of 2 cells were run to their end",
            "gate PASS  cells>=1  (1)",
            "baseline not saved: the sweep was broken off: 1 of 2 cells were run to their end",
        ]
    )
    assert not (project.path / "base.json").exists()
    assert gates(project) == {"complete": False, "cells>=1": True}
    assert project.run("--execgo-resume", "--execgo-gate=cells>=2").parseoutcomes() == {"failed": 1, "passed": 1}
    assert gates(project) == {"cells>=2": True}


def test_a_sweep_whose_last_cell_stops_it_is_at_its_end(project: Any) -> None:
    project.scenario("zz", verifier=BAD)  # after `hello`
    stopped = project.run("-x", "--execgo-gate=cells>=2")
    assert stopped.parseoutcomes() == {"passed": 1, "failed": 1}
    assert gates(project) == {"cells>=2": True}
    stopped.stdout.no_fnmatch_line("*--execgo-resume*")


def test_an_interrupted_sweep_passes_no_gate(project: Any) -> None:
    project.scenario("zz", verifier=SLOW)
    command = [sys.executable, "-m", "pytest", "--execgo-matrix", "--execgo-framework=langgraph", "-p", "no:cacheprovider"]
    command += ["--execgo-gate=pass_rate>=0"]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while not (project.path / "waiting").exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "gate FAIL  complete" in said
    assert gates(project)["complete"] is False
    assert (project.summary()["totals"]["inconclusive"], project.summary()["statistics"]["infra_error_rate"]) == (1, 0)
    assert "infrastructure errors" not in said


def test_the_controller_gates_what_its_workers_ran(project: Any) -> None:
    for name in ("a", "b", "c"):
        project.scenario(name)
    project.run("-n2", "--execgo-baseline=save=base.json", "--execgo-gate=cells>=4").assert_outcomes(passed=4)
    assert gates(project) == {"cells>=4": True}
    project.scenario("b", verifier=BAD)
    worse = project.run("-n2", "--execgo-baseline=compare=base.json", "--execgo-gate=regression<=0,cells>=5")
    worse.assert_outcomes(passed=3, failed=1)
    assert gates(project) == {"regression<=0": False, "cells>=5": False}
    assert worse.stdout.str().count("gate FAIL  regression<=0") == 1


def test_a_cell_of_the_baseline_that_is_not_run_is_missing(project: Any) -> None:
    project.scenario("zz")
    project.run("--execgo-baseline=save=base.json").assert_outcomes(passed=2)
    compared = ("--execgo-baseline=compare=base.json", "--execgo-gate=regression<=0,missing<=0")
    assert project.run(*compared).ret == pytest.ExitCode.OK
    part = project.run(*compared, "-k", "hello")
    assert part.ret == pytest.ExitCode.TESTS_FAILED
    assert gates(project) == {"regression<=0": True, "missing<=0": False}
    part.stdout.fnmatch_lines(
        ["gate FAIL  missing<=0  (1)", "    zz[[]langgraph-replay-none-0[]]: passed in the baseline, not run*"]
    )
    refused = project.run("--execgo-gate=missing<=0")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: gate 'missing<=0' needs a baseline to compare with"])


def test_a_worker_that_died_passes_no_gate(project: Any) -> None:
    project.scenario("deadly", verifier=DEADLY)
    died = project.run("-n1", "--execgo-gate=pass_rate>=0.5,violations<=0", "--execgo-baseline=save=base.json")
    died.assert_outcomes(passed=1, failed=1)
    assert gates(project)["complete"] is False
    died.stdout.fnmatch_lines(
        ["gate FAIL  complete  (n/a)", "    1 of 2 cells were run to their end", "baseline not saved: 1 of 2 *"]
    )
    assert not (project.path / "base.json").exists()


OWN = """\
import os, signal

def test_cell(execgo_run):
    execgo_run.raise_for_verdict()

def test_deadly(request):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_took_an_unknown_test_with_it_passes_no_gate(project: Any) -> None:
    project.pytester.makepyfile(test_own=OWN)
    result = project.run_plain("-n1", "--execgo-framework=langgraph", "--execgo-gate=cells>=1", "test_own.py")
    result.assert_outcomes(passed=1, failed=1)
    assert gates(project) == {"complete": False, "cells>=1": True}
    result.stdout.fnmatch_lines(["    a worker died with test_own.py::test_deadly"])


def test_tests_that_cant_be_collected_are_missing_from_the_sweep(project: Any) -> None:
    (project.path / "test_torn.py").write_text("def test_cell(execgo_run:\n")
    demands = ("--execgo-gate=pass_rate>=1", "--execgo-baseline=save=base.json")
    result = project.run("-p", "no:xdist", "--continue-on-collection-errors", *demands, "scenarios", "test_torn.py")
    result.assert_outcomes(passed=1, errors=1)
    assert gates(project) == {"complete": False, "pass_rate>=1": True}
    result.stdout.fnmatch_lines(["baseline not saved: test_torn.py could not be collected"])
    assert not (project.path / "base.json").exists()
    (sweep,) = project.path.glob("var/runs/sweeps/*/sweep.json")
    assert json.loads(sweep.read_text())["finished_at"] is None


def test_tests_of_ones_own_are_gated_too(project: Any) -> None:
    project.pytester.makepyfile(test_own="def test_cell(execgo_run): execgo_run.raise_for_verdict()\n\n\ndef test_plain(): pass\n")
    arguments = ("--execgo-framework=langgraph", "test_own.py")
    failed = project.run_plain(*arguments, "--execgo-gate=cells>=2")
    failed.assert_outcomes(passed=2)
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    workers = project.run_plain(*arguments, "--execgo-gate=cells>=2", "-n1")
    assert workers.ret == pytest.ExitCode.TESTS_FAILED
    assert project.run_plain(*arguments, "--execgo-gate=cells>=1").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("extra", [(), ("-n1",)], ids=["alone", "workers"])
def test_a_run_without_any_cell_does_not_pass_a_gate(project: Any, extra: tuple[str, ...]) -> None:
    project.pytester.makepyfile(test_own="def test_plain(): pass\n")
    result = project.run_plain("--execgo-gate=failed<=0", "test_own.py", *extra)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["gate FAIL  failed<=0  (n/a)", "    nothing ran"])
    assert "summary:" not in result.stdout.str()


def test_gates_of_the_project_do_not_concern_its_other_tests(project: Any) -> None:
    project.pytester.makeini("[pytest]\nexecgo_gate = cells>=1")
    project.pytester.makepyfile(test_own="def test_plain(): pass\n\n\ndef test_cell(execgo_run): pass\n")
    assert project.run_plain("test_own.py", "-k", "plain").ret == pytest.ExitCode.OK
    assert project.run_plain("test_own.py", "-k", "plain", "--execgo-matrix").ret == pytest.ExitCode.TESTS_FAILED
    project.run("--collect-only", "-q").stdout.no_fnmatch_line("*gate*")
    assert project.run().ret == pytest.ExitCode.OK
    assert gates(project) == {"cells>=1": True}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--execgo-gate=pass_rat>=0.9"], ["unknown metric 'pass_rat'", "did you mean 'pass_rate'?"]),
        (["--execgo-gate=regression<=0"], ["needs a baseline", "--execgo-baseline compare=FILE"]),
        (["--execgo-baseline=compare=gone.json"], ["gone.json", "No such file"]),
    ],
)
@pytest.mark.parametrize("matrix", [True, False], ids=["matrix", "own"])
def test_what_cant_be_used_is_one_usage_error_before_collection(
    project: Any, arguments: list[str], parts: list[str], matrix: bool
) -> None:
    project.pytester.makepyfile(test_own="print('collected')\ndef test_cell(execgo_run): pass\n")
    result = project.run_plain(*arguments, *(["--execgo-matrix"] if matrix else ["test_own.py"]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = " ".join(line.strip() for line in result.errlines)
    for part in parts:
        assert part in text
    assert "Traceback" not in text
    assert "collected" not in result.stdout.str()
    assert not (project.path / "var").exists()


def test_files_are_where_pytest_was_called_or_beneath_the_project(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.pytester.makeini("[pytest]")  # pytest's root, wherever it is called
    (project.path / "deep").mkdir()
    monkeypatch.chdir(project.path / "deep")
    project.run("--execgo-baseline=save=here.json").assert_outcomes(passed=1)
    assert (project.path / "deep/here.json").is_file()
    monkeypatch.setenv("PYTEST_EXECGO_BASELINE", "save=there.json,compare=deep/here.json")
    result = project.run()
    assert (project.path / "there.json").is_file()
    result.stdout.fnmatch_lines(["compared with *: 1 pair, *"])


def test_the_hook_is_told_everything_and_the_baseline_holds_what_the_run_came_to(project: Any) -> None:
    project.pytester.makeconftest(
        """
        def pytest_execgo_sweep_finished(config, summary):
            print("told", [gate.condition for gate in summary.gates], summary.statistics.runs)
        """
    )
    result = project.run("--execgo-gate=cells>=1", "--execgo-baseline=save=base.json", "-s")
    assert "told ['cells>=1'] 1" in result.stdout.str()
    document = json.loads((project.path / "base.json").read_text())
    (cell,), (run,) = document["cells"], project.results()
    assert (document["execgo_baseline"], document["backend"]) == (1, "embedded")
    for name in ("cell_id", "outcome", "seed", "plan_digest", "outcome_digest"):
        assert cell[name] == run[name]
    assert cell["wall_time_ms"] == run["metrics"]["wall_time_ms"]


def command(project: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pytest_execgo", "benchmark", "--framework=langgraph", *arguments]
    return subprocess.run(words, cwd=project.path, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line_gates_as_pytest_does(project: Any) -> None:
    saved = command(project, "--baseline=save=base.json", "--gate=cells>=1")
    assert saved.returncode == 0, saved.stderr
    assert "baseline saved: " in saved.stdout
    failed = command(project, "--baseline=compare=base.json", "--gate=cells>=2,regression<=0")
    assert failed.returncode == 1
    assert "gate FAIL  cells>=2  (1)" in failed.stdout
    assert "gate PASS  regression<=0  (0)" in failed.stdout
    refused = command(project, "--gate=regression<=0")
    assert refused.returncode == 2
    assert "add --baseline compare=FILE" in refused.stderr
    refused = command(project, "--baseline=compare=gone.json")
    assert refused.returncode == 2
    assert "No such file" in refused.stderr
    assert len(list(Path(project.path).glob("var/runs/sweeps/*"))) == 2
