"""The terminal's table: one line a group, aligned, within its width."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_execgo.chaos.catalogue import unusable
from pytest_execgo.plan.chaos import ChaosProfile, Fault, Trigger
from pytest_execgo.plan.fault import Surroundings
from pytest_execgo.plan.sandbox import SandboxUse
from pytest_execgo.plan.statistics import GateResult
from pytest_execgo.reporting.terminal import sweep_table

Make = Callable[..., Any]


def test_one_line_a_group_and_totals(make_group: Make, make_summary: Make) -> None:
    groups = [make_group(), make_group(scenario_id="vuln_scan", framework="crewai", passed=2, failed=1, wall_time_ms=56.0)]
    lines = sweep_table(make_summary(groups, [], passed=5, failed=1, cells=6))
    assert lines == [
        "scenario      framework  mode    chaos  verdicts                 wall  critical path  overhead",
        "codegen_exec  langgraph  replay  none   3/3 passed             914 ms         321 ms      2.9x",
        "vuln_scan     crewai     replay  none   2/3 passed, 1 failed  56.0 ms         321 ms      2.9x",
        "6 cells: 5 passed, 1 failed in 8.20 s",
    ]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["reference"] * 3 + ["recording"] * 9, ["plans: 3 of the reference plan (no recordings), 9 recordings"]),
        (["reference", "live", "recording", None], ["plans: 1 of the reference plan (no recordings), 1 recording, 1 live"]),
        (["recording", "live", None], []),
    ],
)
def test_plans_that_no_framework_made_are_told(
    sources: list[str | None], said: list[str], make_result: Make, make_summary: Make
) -> None:
    lines = sweep_table(make_summary([], [make_result(outcome="passed", plan_source=source) for source in sources]))
    assert [line for line in lines if "plans:" in line] == said


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"passed": 3}, "3/3 passed"),
        ({"passed": 1, "failed": 1, "errors": 1}, "1/3 passed, 1 failed, 1 error"),
        ({"passed": 0, "errors": 2, "inconclusive": 1}, "0/3 passed, 2 errors, 1 inconclusive"),
        ({"passed": 2, "skipped": 1}, "2/2 passed, 1 skipped"),
        ({"passed": 0, "skipped": 3}, "3 skipped"),
    ],
)
def test_every_outcome_is_counted(counts: dict[str, int], words: str, make_group: Make, make_summary: Make) -> None:
    line = sweep_table(make_summary([make_group(**counts)], []), width=140)[1]
    assert f" {words} " in line


def test_what_does_not_apply_is_said(make_group: Make, make_summary: Make) -> None:
    group = make_group(passed=0, errors=3, wall_time_ms=None, critical_path_ms=None, overhead=None)
    assert sweep_table(make_summary([group], []))[1].split()[-3:] == ["n/a", "n/a", "n/a"]


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({"passed": 1}, "passed"),
        ({"passed": 0, "failed": 1}, "failed"),
        ({"passed": 0, "errors": 1}, "error"),
        ({"passed": 0, "inconclusive": 1}, "inconclusive"),
        ({"passed": 0, "skipped": 1}, "skipped"),
    ],
)
def test_a_single_run_needs_no_counts(counts: dict[str, int], word: str, make_group: Make, make_summary: Make) -> None:
    line = sweep_table(make_summary([make_group(repetitions=1, **counts)], []), width=140)[1]
    assert f"  none   {word}  " in line


@pytest.mark.parametrize("width", [200, 100, 90, 80, 60, 20])
def test_lines_keep_to_the_width_and_names_give_way_before_verdicts(
    width: int, make_group: Make, make_result: Make, make_summary: Make
) -> None:
    skipped = make_result(outcome="skipped", verdict=None, error="because " * 30)
    long = {"scenario_id": "a_scenario_with_a_long_name_" * 3, "chaos_profile": "a_chaos_profile_with_a_long_name"}
    groups = [make_group(**long), make_group(mode="live", framework="crewai")]
    lines = sweep_table(make_summary(groups, [skipped], skipped=1, cells=1), width)
    assert max(map(len, lines)) <= width
    assert len({len(line) for line in lines[:3]}) == 1
    if width >= 80:
        assert "3/3 passed" in lines[1]
        assert lines[1].endswith("2.9x")


def test_what_is_spared_in_a_narrow_terminal(make_group: Make, make_summary: Make) -> None:
    groups = [make_group(repetitions=1, chaos_profile=chaos, passed=1) for chaos in ("none", "kernel_crash_after_accept")]
    summary = make_summary(groups, [])
    assert sweep_table(summary, 96)[0].endswith("wall  overhead"), "no critical path"
    assert sweep_table(summary, 80)[:3] == [
        "every cell: mode replay",
        "scenario      framework  chaos                      verdicts    wall  overhead",
        "codegen_exec  langgraph  none                       passed    914 ms      2.9x",
    ]
    assert sweep_table(summary, 70)[:3] == [
        "every cell: framework langgraph, mode replay",
        "scenario      chaos                      verdicts    wall  overhead",
        "codegen_exec  none                       passed    914 ms      2.9x",
    ]
    assert sweep_table(summary, 60)[3] == "codegen_exec  kernel_crash_afte…  passed    914 ms      2.9x", "the widest name is cut"
    groups[0] = make_group(framework="crewai", mode="live")
    assert sweep_table(make_summary(groups, []), 80)[0].split()[:4] == ["scenario", "framework", "mode", "chaos"]


def test_skips_are_grouped_by_reason_most_frequent_first(make_result: Make, make_summary: Make) -> None:
    def skipped(error: str | None) -> Any:
        return make_result(outcome="skipped", verdict=None, attribution=None, error=error)

    runs = [
        skipped("no docker"),
        skipped("no crewai\n  hint: pip"),
        skipped("no crewai\n  hint: pip"),
        skipped(None),
        make_result(),
    ]
    assert sweep_table(make_summary([], runs, skipped=4, failed=1, cells=5)) == [
        "5 cells: 1 failed, 4 skipped in 8.20 s",
        "skipped 2 cells: no crewai ⏎ hint: pip",
        "skipped 1 cell: no docker",
        "skipped 1 cell: no reason was given",
    ]
    many = sweep_table(make_summary([], [skipped(f"reason {index}") for index in range(13)], skipped=13, cells=13))
    assert len(many) == 12
    assert many[-1] == "skipped for 3 more reasons, in benchmark-summary.md"


def test_runs_without_their_sandbox_are_counted_with_the_reason(make_result: Make, make_summary: Make) -> None:
    def ran(outcome: str = "passed", **use: Any) -> Any:
        return make_result(outcome=outcome, sandbox=SandboxUse(**use))

    missing = {"requested": "wasm", "reason": "wasmtime is not installed\n  hint: install it"}
    runs = [
        ran(requested="docker", effective="native", reason="no engine"),
        *(ran(outcome, **missing) for outcome in ("passed", "failed", "skipped")),
        ran(requested="native", effective="native"),
        make_result(outcome="passed"),
    ]
    assert sweep_table(make_summary([], runs, passed=4, failed=1, cells=6), 120)[1:3] == [
        "2 runs asked for the sandbox wasm and ran without it: wasmtime is not installed ⏎ hint: install it",
        "1 run asked for the sandbox docker and ran in native instead: no engine",
    ]
    assert max(map(len, sweep_table(make_summary([], runs), 40))) <= 40


def test_one_reason_with_several_chaos_profiles_is_told_once(make_result: Make, make_summary: Make) -> None:
    def skipped(profile: str, reason: str = "no model here (say so)") -> Any:
        fault = Fault(action="model_fault", target="model", trigger=Trigger(phase="submit"))
        refusing: Any = SimpleNamespace(unusable=lambda *_: reason)
        nowhere = Surroundings(frozenset(), {"stages": []}, frozenset(), local=False)
        error = unusable(ChaosProfile(id=profile, description="x", faults=[fault]), {"model_fault": refusing}, nowhere)
        return make_result(outcome="skipped", verdict=None, attribution=None, chaos_profile=profile, error=error)

    runs = [skipped(f"llm_{number}") for number in (1, 2, 2, 3, 4, 5)] + [skipped("oom", "no limits"), skipped("oom", "no limits")]
    assert sweep_table(make_summary([], runs, skipped=8, cells=8), 120)[1:] == [
        "skipped 6 cells: no model here (say so) (chaos profiles llm_1, llm_2, llm_3 and 2 more)",
        "skipped 2 cells: no limits (chaos profile 'oom', fault 0: model_fault model)",
    ]


def test_a_large_sweep_tells_of_its_profiles_and_of_what_did_not_pass(make_group: Make, make_summary: Make) -> None:
    good = [make_group(scenario_id=f"s{number}", chaos_profile="storm", recovery_time_ms=40.0) for number in range(40)]
    bad = make_group(scenario_id="bad", chaos_profile="calm", passed=1, failed=2, violations=3)
    skipped = make_group(scenario_id="skipped", chaos_profile="calm", passed=0, skipped=3)
    idle = make_group(chaos_profile="idle", passed=0, skipped=3)
    lines = sweep_table(make_summary([*good, bad, skipped, idle], []), 120)
    assert lines[0].split() == ["chaos", "cells", "wall", "recovery", "violations"]
    assert lines[1].split() == ["storm", "120", "passed", "914", "ms", "40.0", "ms", "0"]
    assert lines[2].startswith("calm   1 passed, 2 failed, 3 skipped")
    assert lines[2].endswith(" 3")
    assert [line.split()[0] for line in lines[4:6]] == ["scenario", "bad"]
    assert len(lines) == 7, "the two tables without what never ran, a blank line between them, and the totals"


def test_no_folded_line_is_an_order_to_a_runner(make_group: Make, make_summary: Make) -> None:
    because = f"hello[x-0]: failed: {'x' * 50} ::error::owned and ##[error]more"
    gate = GateResult(condition="failed<=0", passed=False, value=1, because=[because])
    lines = sweep_table(make_summary([make_group()], []).model_copy(update={"gates": [gate]}), width=60)
    assert any("owned" in line for line in lines)
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in lines)
