"""Collection, axes, verdicts: the matrix as pytest users see it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def test_cells_are_tests_with_readable_ids(project: Any) -> None:
    result = project.run_plain("--execgo-matrix", "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [f"scenarios/hello/scenario.yaml::test_plan[[]{name}-replay-none-0[]]" for name in ("langgraph", "crewai", "autogen")]
    )
    assert not (project.path / "var").exists()


def test_a_plain_run_collects_no_scenario(project: Any) -> None:
    project.pytester.makepyfile("def test_own(): pass")
    project.run_plain().assert_outcomes(passed=1)


def test_without_a_path_exactly_the_scenarios_are_collected(project: Any) -> None:
    project.pytester.makepyfile(test_own="def test_own(): pass")
    project.pytester.makeini("[pytest]\ntestpaths = .")
    result = project.run()
    result.assert_outcomes(passed=1)


def test_a_path_is_respected(project: Any) -> None:
    project.scenario("other")
    result = project.run("scenarios/other")
    result.assert_outcomes(passed=1)
    assert [row["scenario_id"] for row in project.results()] == ["other"]


def test_data_of_a_scenario_is_never_collected(project: Any) -> None:
    fixtures = project.path / "scenarios/hello/fixtures"
    fixtures.mkdir()
    (fixtures / "test_broken.py").write_text("def test_broken(): assert False")
    project.run("scenarios").assert_outcomes(passed=1)


def test_nothing_is_hidden_from_runs_that_are_not_ours(project: Any) -> None:
    (project.path / "scenario.json").write_text("{}")
    (project.path / "tests").mkdir()
    (project.path / "tests/test_own.py").write_text("def test_own(): pass")
    project.run_plain().assert_outcomes(passed=1)


def test_what_a_run_leaves_behind_does_not_reach_the_next_one(project: Any, plan: Any) -> None:
    sleeps = [{"id": f"s{i}", "type": "sleep", "params": {"duration_ms": 60_000}} for i in range(10)]
    hog = plan(*sleeps)
    hog["stages"][0]["submit_policy"] = {"poll_interval_ms": 50, "max_attempts": 6}
    project.scenario("a_hog", plan=hog)
    project.run().assert_outcomes(passed=1, failed=1)


def test_a_runtime_that_dies_is_an_error_not_a_failed_plan(project: Any, plan: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("os.file,", "os.file, runtime.command,")
    text += "recovery: {restarts: 0}\n"
    command = {"kind": "command", "program": "sh", "args": ["-c", "touch begun; sleep 60"], "cwd": "${{ workspace }}"}
    project.scenario("hello", text=text, plan=plan({"id": "wait", "type": "runtime", "input": {"execution": command}}))
    project.pytester.makepyfile(
        """
        import threading
        import time
        from pathlib import Path

        from pytest_execgo.plan.stack import Service

        def test_one(execgo_cell, execgo_stack, request):
            def kill():
                while not list(Path("var/runs").glob("*/workspace/begun")):
                    time.sleep(0.05)
                execgo_stack.kill(Service.RUNTIME)

            threading.Thread(target=kill, daemon=True).start()
            request.getfixturevalue("execgo_run")
        """
    )
    project.run_plain("-k", "langgraph")
    (document,) = project.results()
    assert document["outcome"] == "error"
    assert "the runtime service died during the run" in document["error"]
    assert "runtime.log" in document["error"]


def test_a_verifier_that_skips_skips_and_leaves_whole_artifacts(project: Any) -> None:
    project.scenario("hello", verifier="import pytest\n\n\ndef verify(context):\n    pytest.skip('not today')\n")
    project.run().assert_outcomes(skipped=1)
    (document,) = project.results()
    assert document["outcome"] == "inconclusive"
    assert "timeline.jsonl" in document["artifacts"]["files"]


def test_an_interrupted_sweep_says_how_far_it_came(project: Any) -> None:
    stop = "import pytest\n\n\ndef verify(context):\n    raise KeyboardInterrupt\n"
    project.scenario("stop", verifier=stop)
    project.scenario("zz")
    result = project.pytester.runpytest_subprocess("--execgo-matrix", "--execgo-framework=langgraph")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["2 of 3 planned cells: 1 passed, 1 inconclusive*"])
    assert (project.summary()["planned"], project.summary()["totals"]["cells"]) == (3, 2)
    assert not list(project.path.glob("var/runs/*/*.partial"))


def test_a_passing_cell_leaves_its_evidence(project: Any) -> None:
    result = project.run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_plan[[]langgraph-replay-none-0[]] PASSED (* ms)*", "hello * passed *"])
    result.stdout.fnmatch_lines(["report: var/runs/report.html   summary: var/runs/benchmark-summary.md"])
    (run,) = (path for path in (project.path / "var/runs").iterdir() if (path / "result.json").exists())
    assert {path.name for path in run.iterdir()} == {
        "plan.json", "adapter_trace.json", "timeline.jsonl", "execgo_snapshots.jsonl", "history.jsonl", "result.json", "summary.md",
        "workspace", "run.json", "checkpoints.sqlite",
    }  # fmt: skip
    (document,) = project.results()
    assert document["outcome"] == "passed"
    assert document["metrics"]["task_count"] == 1
    assert 0 < document["metrics"]["critical_path_ms"] < document["metrics"]["wall_time_ms"]
    assert document["metrics"]["recovery_success"] is None
    assert project.summary()["totals"]["passed"] == 1


def test_a_plan_that_fails_is_a_failure_with_its_reasons_and_a_command(project: Any, plan: Any) -> None:
    verifier = (project.path / "scenarios/hello/verifier.py").read_text()
    project.scenario("hello", verifier=verifier.replace('== "hello"', '== "bye"'))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*greeting is 'hello'*", "*pytest --execgo-matrix --execgo-cell=hello:langgraph:replay:none:0*"])
    assert "Traceback" not in result.stdout.str()
    assert project.run_plain("--execgo-matrix", "--execgo-cell=hello:langgraph:replay:none:0").parseoutcomes() == {"failed": 1}


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "worker"])
def test_more_v_show_more_of_a_long_reason(project: Any, workers: tuple[str, ...]) -> None:
    said = '"first\\n" + "\\n".join(f"  line {number}" for number in range(99)) + "\\nlast"'
    project.scenario("hello", verifier=f"def verify(context):\n    raise AssertionError({said})\n")
    few = project.run(*workers).stdout.str()
    assert "… 89 more lines, in result.json" in few
    assert "\n  last\n" in few
    whole = project.run(*workers, "-vv").stdout.str()
    assert "\n    line 50\n" in whole
    assert "more lines" not in whole


def test_a_failing_task_is_attributed(project: Any, plan: Any) -> None:
    project.scenario("hello", plan=plan({"id": "look", "type": "shell", "params": {"command": "cat", "args": ["/no/such/file"]}}))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["stage write, task look: command failed: exit status 1", "attribution  kernel: external_failure*"])
    (document,) = project.results()
    assert document["attribution"]["layer"] == "kernel"
    assert document["attribution"]["evidence"]


def test_every_problem_of_a_bad_plan_is_listed(project: Any, plan: Any) -> None:
    bad = plan({"id": "greet", "type": "shelll", "params": {}}, surprise=1)
    bad["stages"][0]["task_graph"]["tasks"][0]["timeout"] = -5
    project.scenario("hello", plan=bad)
    result = project.run()
    result.assert_outcomes(failed=1)
    (document,) = project.results()
    assert document["metrics"]["plan_validity"] == 0.25
    assert document["attribution"]["message"] == "the plan is invalid: 5 problems"
    message = "\n".join(document["verdict"]["reasons"])
    for part in ("$.surprise", "tasks[0].timeout", "greet", "shelll"):
        assert part in message
    assert message.count(f"{project.path}/scenarios/hello/reference_plan.json:1: $.") == 5


def test_a_promised_artifact_that_is_missing_fails_the_plan(project: Any, plan: Any) -> None:
    lies = plan()
    lies["stages"][0]["expected_artifacts"] = ["greeting", "reports/none.json"]
    project.scenario("hello", plan=lies)
    project.run().assert_outcomes(failed=1)
    assert project.results()[0]["attribution"]["code"] == "artifact_missing"


def test_a_verifier_that_raises_is_an_error_not_a_failed_plan(project: Any) -> None:
    project.scenario("hello", verifier="def verify(context):\n    return 1 / 0\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*verifier.py*ZeroDivisionError*"])
    assert project.summary()["totals"]["error"] == 1


def test_a_kernel_that_dies_is_an_error_naming_its_log_and_the_next_cell_runs(project: Any, plan: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text() + "recovery: {restarts: 0}\n"
    once = "cd '${{ workspace }}' && mkdir killed && kill -9 $PPID"  # a restarted kernel runs it again, and lives
    project.scenario("a_killer", text=text, plan=plan({"id": "kill", "type": "shell", "params": {"script": once}}))
    result = project.run("-v")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the kernel died during the run*kernel.log*"])


def test_a_kernel_that_dies_is_brought_back_and_the_run_says_so(project: Any, plan: Any) -> None:
    once = "cd '${{ workspace }}' && mkdir killed && kill -9 $PPID; true"
    project.scenario("hello", plan=plan({"id": "kill", "type": "shell", "params": {"script": once}}))
    project.run().assert_outcomes(passed=1)
    (result,) = project.results()
    assert result["metrics"]["restart_count"] == 1
    (timeline,) = project.path.glob("var/runs/*/timeline.jsonl")
    kinds = [json.loads(line)["event_type"] for line in timeline.read_text().splitlines()]
    assert kinds.index("service_lost") < kinds.index("service_restarted") < kinds.index("verdict_reached")


def test_a_stage_that_outlives_its_budget_fails_and_names_the_task(project: Any, plan: Any) -> None:
    slow = plan({"id": "slow", "type": "sleep", "params": {"duration_ms": 60_000}})
    slow["stages"][0]["submit_policy"] = {"poll_interval_ms": 50, "max_attempts": 4}
    project.scenario("hello", plan=slow)
    project.run().assert_outcomes(failed=1)
    attribution = project.results()[0]["attribution"]
    assert attribution["code"] == "stage_timeout"
    assert "slow" in attribution["message"]


def test_effects_beyond_the_budget_fail_the_plan(project: Any, plan: Any) -> None:
    post = {
        "url": "${{ fixtures_url }}/effects",
        "method": "POST",
        "headers": {"Idempotency-Key": "${{ run_id }}-1", "Content-Type": "application/json"},
        "body": '{"kind": "mail", "payload": {}}',
    }
    project.scenario("hello", plan=plan({"id": "mail", "type": "http", "params": post}))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*applied 1 effects; the scenario's budget is 0*"])
    assert project.results()[0]["metrics"]["invalid_action_count"] == 1


def test_repetitions_measure_drift(project: Any) -> None:
    project.run("--execgo-repeat=3").assert_outcomes(passed=3)
    (group,) = project.summary()["groups"]
    assert (group["repetitions"], group["pass_rate"], group["determinism_drift"]) == (3, 1.0, 0.0)
    assert [row["repetition"] for row in project.summary()["runs"]] == [0, 1, 2]


def test_last_failed_and_keywords_select_cells(project: Any) -> None:
    project.scenario("bad", verifier="from pytest_execgo import Verdict\n\n\ndef verify(context):\n    return Verdict.of(['no'])\n")
    project.run().assert_outcomes(passed=1, failed=1)
    project.run("--lf").assert_outcomes(failed=1)
    project.run("-k", "hello").assert_outcomes(passed=1, deselected=1)


def test_the_seed_reaches_the_run(project: Any) -> None:
    project.run("--execgo-seed=42").assert_outcomes(passed=1)
    (document,) = project.results()
    assert (document["seed"], document["sweep_seed"]) == (42, 42)


def test_two_runs_at_once_in_one_folder_lose_nothing(project: Any) -> None:
    command = [sys.executable, "-m", "pytest", "--execgo-matrix", "--execgo-framework=langgraph", "-q", "-p", "no:cacheprovider"]
    both = [subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(180) for process in both] == [0, 0]
    assert len(project.results()) == 2
    assert len(list((project.path / "var/runs/sweeps").glob("*/benchmark-summary.json"))) == 2
    assert project.summary()["totals"]["passed"] == 1


def test_skips_and_failures_lead_to_the_scenario(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: []")
    project.scenario("hello", text=text)
    project.scenario("bad", verifier="from pytest_execgo import Verdict\n\n\ndef verify(context):\n    return Verdict.of(['no'])\n")
    result = project.pytester.runpytest_subprocess(
        "--execgo-matrix", "--execgo-cell=hello:langgraph:replay:kernel_crash:0,bad:langgraph:replay:none:0", "-rfs"
    )
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*_ bad[[]langgraph-replay-none-0[]] _*", "no", "cell  *"])
    summary = result.outlines[result.outlines.index(next(line for line in result.outlines if "short test summary" in line)) :]
    assert summary[1] == "FAILED scenarios/bad/scenario.yaml::test_plan[langgraph-replay-none-0] - no"
    skipped = [line for line in summary if line.startswith("SKIPPED ")]  # in CI pytest says the whole of a failure before it
    assert len(skipped) == 1
    assert skipped[0].startswith("SKIPPED [1] scenarios/hello/scenario.yaml: scenario 'hello' does not allow chaos profile")


def test_a_skip_while_it_runs_leads_to_the_test(project: Any) -> None:
    project.pytester.makeconftest(
        """
        import pytest
        from pytest_execgo.wiring.sweep import Sweep
        from pytest_execgo.wiring.unrun import not_run

        @pytest.fixture(autouse=True)
        def unrunnable(monkeypatch):
            monkeypatch.setattr(Sweep, "run", lambda self, cell: not_run(cell, "skipped", "not here"))
        """
    )
    result = project.run("-rs", "-p", "no:xdist")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] scenarios/hello/scenario.yaml:1: not here"])
