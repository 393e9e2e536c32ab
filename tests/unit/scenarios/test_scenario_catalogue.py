"""The catalogue: which scenarios there are, and which of two wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.validate import check_plan
from pytest_execgo.scenarios.catalogue import Catalogue, discover
from pytest_execgo.scenarios.verifiers import load_verifier

Make = Callable[..., Path]


def test_names_in_earlier_folders_win(make_scenario: Make, tmp_path: Path) -> None:
    own, other, extra = make_scenario("words"), make_scenario("words", within="later"), make_scenario("more", within="later")
    (tmp_path / "later" / "no_scenario").mkdir()
    (tmp_path / "later" / "file.yaml").write_text("")
    folders = [tmp_path / "scenarios", tmp_path / "missing", tmp_path / "later"]
    assert discover(folders) == {"more": extra, "words": own}
    assert discover(folders[::-1]) == {"more": extra, "words": other}
    catalogue = Catalogue(folders)
    assert catalogue.ids == ("more", "words")
    assert catalogue.load("words").file == own


def test_an_unknown_id_offers_the_nearest(make_scenario: Make, tmp_path: Path) -> None:
    make_scenario("words")
    with pytest.raises(UsageError, match=r"unknown scenario 'wrods'\n.*did you mean 'words'\? allowed: words"):
        Catalogue([tmp_path / "scenarios"]).load("wrods")


def test_two_files_in_one_folder(make_scenario: Make, tmp_path: Path) -> None:
    file = make_scenario("words")
    file.with_suffix(".json").write_text("{}")
    with pytest.raises(UsageError, match=r"words: holds scenario\.yaml and scenario\.json"):
        discover([tmp_path / "scenarios"])


@pytest.mark.parametrize("suffix", [".yml", ".json", ".toml"])
def test_every_format_is_found(make_scenario: Make, tmp_path: Path, suffix: str) -> None:
    file = make_scenario("words")
    file.rename(file.with_suffix(suffix))
    assert discover([tmp_path / "scenarios"]) == {"words": file.with_suffix(suffix)}


def test_the_users_scenarios_come_before_the_built_in_ones(make_scenario: Make, tmp_path: Path) -> None:
    own = make_scenario("codegen_exec")
    catalogue = Catalogue.with_builtin([tmp_path / "scenarios"])
    assert catalogue.files["codegen_exec"] == own
    assert set(discover([bundled("scenarios")])) <= set(catalogue.ids)


def test_built_in_scenarios_load_and_their_reference_plans_are_valid() -> None:
    catalogue = Catalogue.with_builtin([])
    assert catalogue.ids
    for name in catalogue.ids:
        scenario = catalogue.load(name)
        limits = scenario.spec.effect_budget
        assert check_plan(scenario.reference_plan, allowed_tools=scenario.spec.allowed_tools, max_tasks=limits.max_tasks) == [], (
            name
        )
        assert callable(load_verifier(scenario, {}))
