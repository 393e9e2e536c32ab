"""A broken scenario costs its own cells and no others; a broken chaos profile is told before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

PROBLEMS = [
    "*scenarios/bad_chaos/scenario.yaml:4: $.allowed_chaos[[]0[]]: unknown chaos profile 'kernel_crsh'; did you mean*",
    "*scenarios/bad_verifier/verifier.py:1: *",
    "*scenarios/bad_yaml/scenario.yaml:2:*: *",
]


@pytest.fixture
def mixed(project: Any) -> Any:
    """The project's good scenario, and three that can't be used."""
    folder = project.scenario("bad_yaml")
    (folder / "scenario.yaml").write_text("id: bad_yaml\n  seed: [\n")
    project.scenario("bad_verifier", verifier="def verify(context)\n    pass\n")
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: [kernel_crsh]")
    project.scenario("bad_chaos", text=text.replace("id: hello", "id: bad_chaos"))
    return project


def errors_of(result: pytest.RunResult) -> list[str]:
    """Return which files the errors of a run are about, each as often as it is said."""
    headlines = [line for line in result.outlines if line.startswith("_") and " ERROR " in line]
    return [line.strip("_ ").removeprefix("ERROR collecting ") for line in headlines]


BROKEN = [f"scenarios/{name}/scenario.yaml" for name in ("bad_chaos", "bad_verifier", "bad_yaml")]


@pytest.mark.parametrize("arguments", [("-n", "2"), ("--continue-on-collection-errors",)], ids=["workers", "alone"])
def test_a_broken_scenario_costs_its_own_cells_alone(mixed: Any, arguments: tuple[str, ...]) -> None:
    result = mixed.run(*arguments)
    result.assert_outcomes(passed=1, errors=3)
    assert sorted(errors_of(result)) == BROKEN
    for problem in PROBLEMS:
        result.stdout.fnmatch_lines([problem])
    assert "Traceback" not in result.stdout.str()
    assert [row["outcome"] for row in mixed.results()] == ["passed"]
    assert mixed.summary()["totals"]["cells"] == 1


def test_without_being_told_to_go_on_nothing_runs(mixed: Any) -> None:
    result = mixed.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert sorted(errors_of(result)) == BROKEN
    assert not list(mixed.path.glob("var/runs/*/result.json"))


def test_in_tests_of_ones_own_too(mixed: Any) -> None:
    mixed.pytester.makepyfile(
        "def test_one(execgo_run):\n    execgo_run.raise_for_verdict()\n\n\ndef test_two():\n    pass\n",
    )
    result = mixed.run_plain("-k", "langgraph or test_two", "-p", "no:xdist")
    result.assert_outcomes(passed=2, errors=3, deselected=8)
    for problem in PROBLEMS:
        result.stdout.fnmatch_lines([problem])
    outcomes = {row["scenario_id"]: row["outcome"] for row in mixed.summary()["runs"]}
    assert outcomes == {"hello": "passed", "bad_chaos": "error", "bad_verifier": "error", "bad_yaml": "error"}
    listed = mixed.run_plain("--execgo-dry-run", "-k", "langgraph", "test_in_tests_of_ones_own_too.py")
    listed.stdout.fnmatch_lines(["*bad_yaml:langgraph:* excluded: *scenario.yaml:2:*", "*hello:langgraph:* runs  (reference plan)"])


def test_a_verifier_that_can_not_be_imported_is_said_before_anything_is_started(project: Any) -> None:
    project.scenario("hello", verifier="import nothing_of_that_name\n")
    project.pytester.makepyfile("def test_one(execgo_run):\n    pass\n")
    project.run_plain("-k", "langgraph").assert_outcomes(errors=1, deselected=2)
    assert not (project.path / "var/runs/stacks").exists()


@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("--execgo-dry-run",)], ids=["alone", "workers", "dry"])
def test_a_broken_chaos_profile_is_one_usage_error(project: Any, arguments: tuple[str, ...]) -> None:
    (project.path / "chaos").mkdir()
    fault = "{action: lightning, target: kernel, trigger: {phase: runtime}}"
    (project.path / "chaos/storm.yaml").write_text(f"id: storm\ndescription: x\nfaults:\n  - {fault}\n")
    project.scenario("other")
    result = project.run("--execgo-chaos=none,storm", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: the chaos profile can't be used (1 problem):", "*storm.yaml:4: $.faults[[]0[]].action: *"])
    assert result.stderr.str().count("lightning") == 1
    assert "Traceback" not in result.stderr.str()
    assert not (project.path / "var").exists()


ASSERTING = """\
from pytest_execgo import Verdict


def verify(context):
    found = [context.workspace.name, "greeting.txt"][1:]
    assert len(found) == 3
    return Verdict.of([])
"""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), r"assert 1 == 3 \(.+/verifier.py:6\)\n \+  where 1 = len\(\['greeting.txt'\]\)"),
        (("-n", "1"), r"assert 1 == 3 \(.+/verifier.py:6\)\n \+  where 1 = len\(\['greeting.txt'\]\)"),
        (("--assert=plain",), r"assert len\(found\) == 3 \(.+/verifier.py:6\)"),
    ],
    ids=["alone", "worker", "plain"],
)
def test_an_assertion_of_a_verifier_shows_its_values(project: Any, options: tuple[str, ...], reason: str) -> None:
    folder = project.scenario("hello", verifier=ASSERTING)
    before = sorted(folder.rglob("*"))
    project.pytester.runpytest_subprocess("--execgo-matrix", "--execgo-framework=langgraph", *options).assert_outcomes(failed=1)
    (row,) = project.results()
    (said,) = row["verdict"]["reasons"]
    assert re.fullmatch(reason, said), said
    assert sorted(folder.rglob("*")) == before, "the folder stays clean"
