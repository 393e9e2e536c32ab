"""Options, ini, environment, bad input."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--execgo-scenario=helo", "unknown scenario 'helo'*did you mean 'hello'?*"),
        ("--execgo-framework=langgraf", "unknown framework 'langgraf'*did you mean 'langgraph'?*"),
        ("--execgo-mode=reply", "unknown mode 'reply'*did you mean 'replay'?*"),
        ("--execgo-chaos=non", "unknown chaos profile 'non'*did you mean 'none'?*"),
        ("--execgo-backend=embeded", "unknown backend 'embeded'*did you mean 'embedded'?*"),
        ("--execgo-backend=native", "*needs the kernel's binary*--execgo-bin*"),
        ("--execgo-backend=external", "*needs --execgo-url*"),
        ("--execgo-image=own/image:1", "--execgo-image does not go with backend 'embedded'*--execgo-backend containers*"),
        ("--execgo-base-image=own:1", "--execgo-base-image does not go with backend 'embedded'*--execgo-backend containers*"),
        ("--execgo-backend=docker", "unknown backend 'docker'*did you mean 'containers'?*"),
        ("--execgo-repeat=0", "--execgo-repeat: '0' can't be used*whole number from 1*"),
        ("--execgo-seed=abc", "--execgo-seed: 'abc' can't be used*"),
        ("--execgo-cell=hello:langgraph", "cell 'hello:langgraph' is none of the selected ones*"),
        ("--execgo-cell=hello:langgraf:replay:none:0", "unknown framework 'langgraf'*"),
    ],
)
def test_a_bad_value_is_one_clear_usage_error(project: Any, argument: str, said: str) -> None:
    result = project.run_plain("--execgo-matrix", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = " ".join(line.strip() for line in result.errlines)
    result.stderr.fnmatch_lines([f"ERROR: {said.partition('*')[0] or '*'}*"])
    for part in filter(None, said.split("*")):
        assert part in text
    assert "Traceback" not in text


def test_an_unusable_artifacts_folder_is_said_at_once(project: Any) -> None:
    (project.path / "taken").write_text("a file")
    result = project.run("--execgo-out=taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: can't write to *taken*", "*--execgo-out*"])


def test_ini_and_environment_give_values_and_the_command_line_wins(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    project.pytester.makeini("[pytest]\nexecgo_framework = crewai\nexecgo_matrix = true")
    result = project.run_plain("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_plan[[]crewai-*"])
    monkeypatch.setenv("PYTEST_EXECGO_FRAMEWORK", "autogen")
    project.run_plain("--collect-only", "-q").stdout.fnmatch_lines(["*test_plan[[]autogen-*"])
    result = project.run_plain("--collect-only", "-q", "--execgo-framework=langgraph", "--execgo-framework=crewai")
    assert [line.split("[")[1].split("-")[0] for line in result.outlines if "test_plan" in line] == ["langgraph", "crewai"]


@pytest.mark.parametrize("named", ["scenarios/hello", "scenarios", "scenarios/hello/scenario.yaml"])
def test_scenarios_that_are_named_without_the_matrix_are_not_passed_over_in_silence(project: Any, named: str) -> None:
    result = project.run_plain(named)
    result.assert_outcomes()
    result.stdout.fnmatch_lines([f"execgo: {named} holds scenarios, *--execgo-matrix*"])
    result = project.run_plain(named, "--execgo-matrix", "--collect-only")
    result.stdout.no_fnmatch_line("*holds scenarios*")


def test_a_run_that_names_no_scenario_hears_nothing_of_the_matrix(project: Any) -> None:
    project.pytester.makepyfile(test_own="def test_one():\n    pass\n", scenario="")
    for named in ((), (".",), ("test_own.py::test_one",)):
        result = project.run_plain(*named)
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*execgo: *")


def test_a_base_image_of_the_machine_waits_for_containers(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EXECGO_BASE_IMAGE", "own:1")
    project.run("--execgo-dry-run").stdout.fnmatch_lines(["1 cell: 1 would run, 0 excluded"])


def test_a_misspelt_variable_is_said(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EXECGO_FRAMEWORKS", "crewai")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*PYTEST_EXECGO_FRAMEWORKS*", "*did you mean 'PYTEST_EXECGO_FRAMEWORK'?*"])


def test_a_dry_run_lists_cells_and_exclusions_and_runs_nothing(project: Any) -> None:
    (project.path / "chaos").mkdir()
    (project.path / "chaos" / "idle.yaml").write_text(
        "id: idle\ndescription: x\nfaults:\n"
        "- {action: kill, target: kernel, trigger: {phase: submit, event: stage_started, stage_id: nowhere}}\n"
    )
    result = project.run("--execgo-dry-run", "--execgo-chaos=none,idle")
    assert result.ret == 0
    excluded = "*hello:langgraph:replay:idle:0 *excluded: it waits for stage 'nowhere'*"
    result.stdout.fnmatch_lines(["*hello:langgraph:replay:none:0 *runs  (reference plan)", excluded])
    result.stdout.fnmatch_lines(["2 cells: 1 would run, 1 excluded"])
    assert not (project.path / "var").exists()


def test_all_scenarios_are_the_projects_own_and_built_in_ones_go_by_name(project: Any) -> None:
    listed = project.run("--execgo-dry-run")
    assert [line.split()[1].split(":")[0] for line in listed.outlines if ":replay:" in line] == ["hello"]
    listed = project.run("--execgo-dry-run", "--execgo-scenario=all,vuln_scan")
    assert [line.split()[1].split(":")[0] for line in listed.outlines if ":replay:" in line] == ["hello", "vuln_scan"]


def test_a_dry_run_can_be_asked_for_by_the_environment(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_EXECGO_DRY_RUN", "1")
    project.run().stdout.fnmatch_lines(["1 cell: 1 would run, 0 excluded"])
    assert not (project.path / "var").exists()


def cells_of(listed: Any) -> list[str]:
    """Return the scenario and the framework of every cell that a dry run lists."""
    return [":".join(line.split()[1].split(":")[:2]) for line in listed.outlines if ":replay:" in line]


def test_a_dry_run_takes_paths_and_keywords_as_a_run_does(project: Any) -> None:
    project.scenario("other")
    project.pytester.makepyfile(test_own="def test_one(execgo_cell):\n    pass\n\n\ndef test_two():\n    assert 0\n")
    before = sorted(project.path.rglob("*"))
    listed = project.run_plain("--execgo-dry-run", "scenarios/hello")
    listed.assert_outcomes()
    assert cells_of(listed) == ["hello:langgraph", "hello:crewai", "hello:autogen"]
    assert "<" not in listed.stdout.str(), "pytest's own tree of what it collected is not shown as well"
    listed = project.run_plain("--execgo-dry-run", "-k", "crewai", "-n", "2")
    assert cells_of(listed) == ["hello:crewai", "other:crewai"]
    listed.stdout.fnmatch_lines(["2 cells: 2 would run, 0 excluded"])
    assert cells_of(project.run_plain("--execgo-dry-run", "-q", "test_own.py", "-k", "autogen")) == [
        "hello:autogen",
        "other:autogen",
    ]
    assert [path for path in sorted(project.path.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_dry_run_of_a_path_that_is_not_there_is_pytests_own_error(project: Any) -> None:
    listed = project.run_plain("--execgo-dry-run", "scenarios/helo")
    assert listed.ret == pytest.ExitCode.USAGE_ERROR
    listed.stderr.fnmatch_lines(["ERROR: file or directory not found: scenarios/helo"])
    assert "cells" not in "\n".join(line for line in listed.outlines if not line.startswith("execgo:"))


def test_a_dry_run_needs_nothing_that_a_run_needs(project: Any) -> None:
    listed = project.run("--execgo-dry-run", "--execgo-mode=live,replay")
    assert listed.ret == pytest.ExitCode.OK
    assert cells_of(listed) == ["hello:langgraph"]


def test_paths_are_where_pytest_was_called_and_never_move_its_root(project: Any) -> None:
    (project.path / "here").mkdir()
    result = project.run("--execgo-out", "here")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest takes 'here' after --execgo-out for a test path*", "*--execgo-out=here*"])
    project.run("--execgo-out", "new", "-n", "1").assert_outcomes(passed=1)
    project.run("--execgo-out=here").assert_outcomes(passed=1)
    assert (project.path / "here/benchmark-summary.json").is_file()


def test_a_scenario_file_elsewhere_is_told_where_scenarios_belong(project: Any) -> None:
    stray = project.path / "other/hello"
    stray.mkdir(parents=True)
    (stray / "scenario.yaml").write_text("id: hello")
    result = project.run("other")
    result.stdout.fnmatch_lines(["*scenario.yaml: no scenario of this project*", "*scenarios live in*"])


def storm(project: Any, fault: str) -> None:
    """Give the project a chaos profile `storm` with one fault."""
    (project.path / "chaos").mkdir()
    (project.path / "chaos/storm.yaml").write_text(
        f"id: storm\ndescription: x\nrecovery_expectation: should_recover\nfaults:\n  - {fault}\n"
    )


def test_a_profile_that_could_hit_nothing_skips_its_cells(project: Any) -> None:
    storm(project, "{action: kill, target: kernel, trigger: {phase: submit, event: stage_started, stage_id: nowhere}}")
    result = project.run("--execgo-chaos=none,storm", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*it waits for stage 'nowhere', which the scenario's plan does not have*"])


def test_a_broken_scenario_file_is_a_collection_error_with_every_problem(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text()
    project.scenario("half", text=text.replace("seed: 7", "seed: seven\nsede: 8").replace("reference_plan.json", "gone.json"))
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*scenarios/half/scenario.yaml:3: $.seed:*", "*$.sede*did you mean 'seed'*", "*gone.json*"])
    assert "Traceback" not in result.stdout.str()


def test_missing_fixtures_are_said(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text()
    project.scenario("hello", text=text + "fixtures: gone\n")
    result = project.run()
    result.stdout.fnmatch_lines(["*$.fixtures:*gone*"])


def test_the_plugin_can_be_switched_off(project: Any) -> None:
    result = project.run_plain("-p", "no:execgo", "--execgo-matrix")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --execgo-matrix*"])
