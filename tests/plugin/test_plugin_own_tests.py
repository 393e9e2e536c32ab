"""A user's own test functions, hooks, and what a run costs that doesn't use us."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest


def test_own_tests_run_cells(project: Any) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.execgo(frameworks="crewai")
        def test_one(execgo_run, execgo_cell, execgo_framework):
            execgo_run.raise_for_verdict()
            assert execgo_framework == execgo_cell.framework == execgo_run.framework == "crewai"

        @pytest.mark.execgo(frameworks=["langgraph", "autogen"], scenarios=["hello"])
        def test_axis(execgo_framework, execgo_scenario, execgo_mode, execgo_chaos):
            assert (execgo_scenario, execgo_mode, execgo_chaos) == ("hello", "replay", "none")

        def test_live(execgo_client, execgo_stack):
            assert execgo_client.health()["status"] == "ok"
            assert all(row.running for row in execgo_stack.status())
        """
    )
    result = project.run_plain("-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*::test_one[[]hello-crewai-replay-none-0[]] PASSED*", "*test_axis[[]hello-langgraph-*"])


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("framework='crewai'", "unknown argument of pytest.mark.execgo 'framework'*did you mean 'frameworks'?"),
        ("frameworks='crew'", "unknown framework 'crew'*did you mean 'crewai'?"),
        ("'crewai'", "takes no positional arguments"),
    ],
)
def test_a_wrong_marker_is_an_error(project: Any, mark: str, said: str) -> None:
    project.pytester.makepyfile(f"import pytest\n\n@pytest.mark.execgo({mark})\ndef test_one(execgo_cell):\n    pass\n")
    result = project.run_plain()
    result.assert_outcomes(errors=1)
    for part in said.split("*"):
        result.stdout.fnmatch_lines([f"*{part.replace('[', '[[]')}*"])


def test_own_tests_are_summarised_under_xdist(project: Any) -> None:
    project.pytester.makepyfile("def test_one(execgo_run):\n    execgo_run.raise_for_verdict()\n")
    result = project.run_plain("-n", "2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["3 cells: 3 passed*"])
    assert project.summary()["totals"]["passed"] == 3


def test_hooks_add_frameworks_verifiers_and_listeners(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text()
    project.scenario("hello", text=text.replace("verifier.py:verify", "strict"))
    project.pytester.makeconftest(
        """
        from dataclasses import replace

        from pytest_execgo import Verdict
        from pytest_execgo.adapters.langgraph import adapter

        def pytest_execgo_frameworks(config):
            return {"mine": replace(adapter, framework="mine", distribution="pytest")}

        def pytest_execgo_verifiers(config):
            return {"strict": lambda context: Verdict.of([] if context.tasks["greet"].status == "success" else ["no"])}

        def pytest_execgo_cell_finished(config, result):
            print("cell", result.framework, result.outcome)

        def pytest_execgo_sweep_finished(config, summary):
            print("sweep", summary.totals["passed"])
        """
    )
    result = project.run_plain("--execgo-matrix", "--execgo-framework=mine", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*cell mine passed*", "*sweep 1*"])


def test_a_marker_may_name_a_built_in_scenario(project: Any) -> None:
    project.pytester.makepyfile(
        "import pytest\n\n@pytest.mark.execgo(scenarios='vuln_scan', frameworks='crewai')\n"
        "def test_one(execgo_cell):\n    assert execgo_cell.scenario == 'vuln_scan'\n"
    )
    project.run_plain().assert_outcomes(passed=1)


def test_a_failing_assertion_after_a_run_says_where_its_artifacts_are(project: Any) -> None:
    project.pytester.makepyfile("def test_one(execgo_run):\n    assert execgo_run.metrics.task_count == 7\n")
    result = project.run_plain("-k", "crewai")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        ["artifacts    */var/runs/*", "run again    pytest 'test_*::test_one[[]hello-crewai-replay-none-0[]]'"]
    )
    assert project.summary()["totals"]["passed"] == 1


def test_a_test_that_runs_no_cell_is_no_cell(project: Any) -> None:
    project.pytester.makepyfile("def test_one(execgo_cell):\n    assert 0\n")
    project.run_plain().assert_outcomes(failed=3)
    assert not (project.path / "var/runs/benchmark-summary.json").exists()


@pytest.mark.parametrize(
    ("body", "said"), [("return ['x']", "returned list"), ("return {'mine': object()}", "'mine' is no adapter")]
)
def test_a_hook_that_returns_nonsense_is_a_usage_error(project: Any, body: str, said: str) -> None:
    project.pytester.makeconftest(f"def pytest_execgo_frameworks(config):\n    {body}\n")
    result = project.run_plain("--execgo-matrix")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*pytest_execgo_frameworks*{said}*"])


def test_a_dry_run_knows_what_conftest_adds(project: Any) -> None:
    project.pytester.makeconftest(
        "from dataclasses import replace\nfrom pytest_execgo.adapters.langgraph import adapter\n\n"
        "def pytest_execgo_frameworks(config):\n    return {'mine': replace(adapter, framework='mine')}\n"
    )
    result = project.run_plain("--execgo-matrix", "--execgo-dry-run", "--execgo-framework=mine")
    result.stdout.fnmatch_lines(["*hello:mine:replay:none:0*runs  (reference plan)"])


HEAVY = ("pydantic", "requests", "yaml", "jinja2", "starlette", "uvicorn", "testcontainers", "hypothesis", "langgraph")


def test_importing_the_entry_point_imports_nothing_heavy() -> None:
    code = f"import sys, pytest_execgo.plugin.entry; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_run_that_does_not_use_us_imports_nothing_of_us_but_the_entry(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.makeconftest(
        f"""
        import sys

        def pytest_unconfigure(config):
            print("loaded", [name for name in {HEAVY} if name in sys.modules and name != "hypothesis"])
        """
    )
    others = [word for name in ("html", "metadata", "hypothesispytest", "anyio", "schemathesis") for word in ("-p", f"no:{name}")]
    result = pytester.runpytest_subprocess(*others, "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*loaded []*"])
