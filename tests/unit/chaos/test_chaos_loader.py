"""Chaos profiles: found, loaded, refused, with everything that is wrong with them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.loader import discover_profiles, load_profile, load_profile_file
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError

PROFILE = """\
id: storm
description: Kills and slows.
recovery_expectation: should_recover
faults:
  - action: kill
    target: runtime
    trigger: {phase: runtime, event: task_observed, occurrence: 2}
  - action: network_latency
    target: client-kernel
    parameters: {ms: 50}
    trigger:
      phase: poll
    probability: 0.5
    duration_ms: 1000
"""


@pytest.fixture
def storm(tmp_path: Path) -> Path:
    """Good profile file `<tmp>/chaos/storm.yaml`."""
    file = tmp_path / "chaos" / "storm.yaml"
    file.parent.mkdir()
    file.write_text(PROFILE)
    return file


def test_a_good_profile(storm: Path) -> None:
    profile = load_profile("storm", [storm.parent])
    assert [fault.action for fault in profile.faults] == ["kill", "network_latency"]
    assert (profile.faults[0].trigger.occurrence, profile.faults[1].probability) == (2, 0.5)
    assert profile.recovery_expectation == "should_recover"


def test_none_is_built_in_and_disturbs_nothing() -> None:
    profile = load_profile("none", [bundled("chaos")])
    assert (profile.id, profile.faults, profile.recovery_expectation) == ("none", [], "not_applicable")


def test_every_built_in_profile_loads() -> None:
    found = discover_profiles([bundled("chaos")])
    assert {name: load_profile_file(file).id for name, file in found.items()} == {name: name for name in found}


def test_names_in_earlier_folders_win(storm: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    for name in ("storm.toml", "calm.yml", "notes.md", ".hidden.yaml"):
        (later / name).write_text("")
    (later / "folder.yaml").mkdir()
    assert discover_profiles([storm.parent, tmp_path / "missing", later]) == {"calm": later / "calm.yml", "storm": storm}
    assert discover_profiles([later, storm.parent])["storm"] == later / "storm.toml"


def test_two_files_of_one_name(storm: Path) -> None:
    storm.with_suffix(".json").write_text("{}")
    with pytest.raises(UsageError, match=r"chaos: holds storm\.json and storm\.yaml"):
        discover_profiles([storm.parent])


def test_an_unknown_profile_offers_the_nearest(storm: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown chaos profile 'strom'\n.*did you mean 'storm'\? allowed: .*none, .*storm, "):
        load_profile("strom", [storm.parent, bundled("chaos")])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("id: storm", "id: strom", 1, "$.id: found the text \"strom\"; allowed: the name of the file, 'storm'"),
        ("action: kill", "acton: kill", 5, "$.faults[0].acton: unknown field 'acton'; did you mean 'action'?"),
        (
            "phase: poll",
            "phase: pol",
            12,
            "$.faults[1].trigger.phase: found the text \"pol\"; did you mean 'poll'? allowed: plan, submit",
        ),
        ("occurrence: 2", "occurrence: 0", 7, "$.faults[0].trigger.occurrence: found the number 0; allowed: at least 1"),
        ("probability: 0.5", "probability: 1.5", 13, "$.faults[1].probability: found the number 1.5; allowed: at most 1"),
        ("duration_ms: 1000", "duration_ms: -1", 14, "$.faults[1].duration_ms: found the number -1; allowed: at least 0"),
        (
            "should_recover",
            "should_recove",
            3,
            "$.recovery_expectation: found the text \"should_recove\"; did you mean 'should_recover'?",
        ),
    ],
)
def test_problems_with_their_lines(storm: Path, old: str, new: str, line: int, words: str) -> None:
    storm.write_text(PROFILE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_profile_file(storm)
    assert caught.value.code == "invalid_chaos_profile"
    assert f"\n  {storm}:{line}: {words}" in caught.value.message


def test_all_problems_at_once(storm: Path) -> None:
    storm.write_text(PROFILE.replace("id: storm", "id: x").replace("phase: poll", "phase: 3").replace("description", "descripton"))
    with pytest.raises(UsageError) as caught:
        load_profile_file(storm)
    assert "(4 problems)" in caught.value.message
    lines = [line.split(":")[1] for line in caught.value.message.splitlines()[1:]]
    assert lines == ["1", "1", "2", "12"]


def test_all_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("id: all\ndescription: x\n")
    with pytest.raises(UsageError, match="'all' stands for every chaos profile"):
        load_profile_file(tmp_path / "all.yaml")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("action: kill", "action: kil", 5, "$.faults[0].action: unknown action 'kil'; did you mean 'kill'? allowed: "),
        (
            "target: runtime",
            "target: run",
            6,
            "$.faults[0].target: kill can't be done to the text \"run\"; did you mean 'runtime'? allowed: fixtures, kernel,",
        ),
        (
            "{ms: 50}",
            "{ms: 50, jiter_ms: 5}",
            10,
            "$.faults[1].parameters.jiter_ms: unknown field 'jiter_ms'; did you mean 'jitter_ms'?",
        ),
        ("{ms: 50}", "{ms: 0}", 10, "$.faults[1].parameters.ms: found the number 0; allowed: at least 1"),
        ("event: task_observed", "event: task_seen", 7, "$.faults[0].trigger.event: unknown event 'task_seen'; "),
        ("phase: runtime", "phase: submit", 7, "$.faults[0].trigger.phase: task_observed belongs to the phase runtime"),
        ("phase: poll", "phase: verify", 11, "$.faults[1].trigger: faults are lifted before the run is judged"),
        ("action: kill", "action: pause", 5, "$.faults[0].duration_ms: pause needs a duration of at least 1 ms"),
        (
            "should_recover",
            "expected_failure",
            3,
            "$.recovery_expectation: expected_failure needs expected_code",
        ),
        ("should_recover", "should_recover\nexpected_code: x", 4, "$.expected_code: expected_code goes with"),
        ("should_recover", "expected_failure\nexpected_code: ''", 4, '$.expected_code: found the text ""; allowed: the code'),
        ("should_recover", "expected_failure\nexpected_code: [a, '']", 4, "$.expected_code: found a list"),
        ("should_recover", "expected_failure\nexpected_code: []", 4, "$.expected_code: found a"),
        ("should_recover", "expected_failure\nexpected_code: 5", 4, "$.expected_code: found the number 5; allowed: text or a list"),
        (
            "should_recover",
            "expected_failure\nexpected_code: x\nexpected_layer: kernal",
            5,
            "$.expected_layer: unknown layer 'kernal'; did you mean 'kernel'?",
        ),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(storm: Path, old: str, new: str, line: int, words: str) -> None:
    storm.write_text(PROFILE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_profile_file(storm)
    (said,) = caught.value.message.splitlines()[1:]
    assert said.startswith(f"  {storm}:{line}: {words}")


@pytest.mark.parametrize("expected", ["should_recover", "expected_failure\nexpected_code: x"])
def test_an_expectation_without_a_fault_makes_no_sense(tmp_path: Path, expected: str) -> None:
    file = tmp_path / "calm.yaml"
    file.write_text(f"id: calm\ndescription: x\nrecovery_expectation: {expected}\n")
    with pytest.raises(UsageError, match="without any fault"):
        load_profile_file(file)


def test_problems_of_shape_hide_no_problems_of_sense(storm: Path) -> None:
    storm.write_text(
        PROFILE.replace("action: kill", "action: kil").replace("{ms: 50}", "{}").replace("description", "descripton")
        + "  - action: pause\n"
    )
    with pytest.raises(UsageError) as caught:
        load_profile_file(storm)
    places = sorted(line.split(": ")[1] for line in caught.value.message.splitlines()[1:])
    assert places == [
        "$.description",
        "$.descripton",
        "$.faults[0].action",
        "$.faults[1].parameters.ms",
        "$.faults[2].target",
        "$.faults[2].trigger",
    ]


def test_the_model_has_one_fault_at_a_time(storm: Path) -> None:
    fault = "  - {action: model_fault, target: model, trigger: {phase: plan, event: run_started}, parameters: {fault: dropped}}\n"
    storm.write_text(PROFILE + fault)
    load_profile_file(storm)
    storm.write_text(PROFILE + fault * 2)
    with pytest.raises(UsageError, match="the scripted model has one fault at a time, and fault 2 is one"):
        load_profile_file(storm)


def test_two_faults_that_the_fixtures_service_can_not_tell_apart(storm: Path) -> None:
    fault = (
        "  - {{action: fixture_error, target: fixtures, trigger: {{phase: poll}}, parameters: {{error_mode: {}, routes: [{}]}}}}\n"
    )
    storm.write_text(PROFILE + fault.format("drop", "/effects") + fault.format("garbage", "/advisories"))
    with pytest.raises(UsageError) as caught:
        load_profile_file(storm)
    said = [line.split("$.")[1] for line in caught.value.message.splitlines()[1:]]
    assert [sentence.split(" has one ")[0] for sentence in said] == ["faults[3].parameters: the fixtures service"] * 2
    assert [sentence.split(" has one ")[1].split()[0] for sentence in said] == ["routes", "error_mode"]
    storm.write_text(PROFILE + fault.format("drop", "/effects") * 2)
    assert len(load_profile_file(storm).faults) == 4


def test_actions_of_ones_own_count(storm: Path) -> None:
    storm.write_text(PROFILE.replace("action: kill", "action: tickle"))
    own = {**ACTIONS, "tickle": ACTIONS["kill"]}
    assert load_profile_file(storm, own).faults[0].action == "tickle"
    assert load_profile("storm", [storm.parent], own).faults[0].action == "tickle"
    with pytest.raises(UsageError, match="unknown action 'tickle'"):
        load_profile("storm", [storm.parent])
