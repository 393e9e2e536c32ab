"""Chaos profiles: found, loaded, refused; and what can't be injected."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.chaos.loader import discover_profiles, load_profile, load_profile_file, require_injectable
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import Unsupported, UsageError

PROFILE = """\
id: storm
description: Kills and slows.
recovery_expectation: should_recover
faults:
  - action: kill
    target: runtime
    trigger: {phase: runtime, event: task_started, occurrence: 2}
  - action: latency
    parameters: {delay_ms: 50}
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
    assert [fault.action for fault in profile.faults] == ["kill", "latency"]
    assert (profile.faults[0].trigger.occurrence, profile.faults[1].probability) == (2, 0.5)
    assert profile.recovery_expectation == "should_recover"


def test_none_is_built_in_and_disturbs_nothing() -> None:
    profile = load_profile("none", [bundled("chaos")])
    assert (profile.id, profile.faults, profile.recovery_expectation) == ("none", [], "not_applicable")
    require_injectable(profile, ())


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
    with pytest.raises(UsageError, match=r"unknown chaos profile 'strom'\n.*did you mean 'storm'\? allowed: none, storm"):
        load_profile("strom", [storm.parent, bundled("chaos")])


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("id: storm", "id: strom", 1, "$.id: found the text \"strom\"; allowed: the name of the file, 'storm'"),
        ("action: kill", "acton: kill", 5, "$.faults[0].acton: unknown field 'acton'; did you mean 'action'?"),
        (
            "phase: poll",
            "phase: pol",
            11,
            "$.faults[1].trigger.phase: found the text \"pol\"; did you mean 'poll'? allowed: plan, submit",
        ),
        ("occurrence: 2", "occurrence: 0", 7, "$.faults[0].trigger.occurrence: found the number 0; allowed: at least 1"),
        ("probability: 0.5", "probability: 1.5", 12, "$.faults[1].probability: found the number 1.5; allowed: at most 1"),
        ("duration_ms: 1000", "duration_ms: -1", 13, "$.faults[1].duration_ms: found the number -1; allowed: at least 0"),
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
    assert lines == ["1", "1", "2", "11"]


def test_all_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("id: all\ndescription: x\n")
    with pytest.raises(UsageError, match="'all' stands for every chaos profile"):
        load_profile_file(tmp_path / "all.yaml")


def test_what_cannot_be_injected_is_named(storm: Path) -> None:
    profile = load_profile_file(storm)
    require_injectable(profile, {"kill", "latency", "pause"})
    with pytest.raises(Unsupported) as caught:
        require_injectable(profile, ["pause"])
    assert "'storm'" in caught.value.message
    assert caught.value.message.endswith(": kill, latency")
    assert caught.value.hint == "actions that can be injected: pause"
    with pytest.raises(Unsupported, match="here: latency"):
        require_injectable(profile, ["kill"])
