"""Chaos profiles: found in the user's folder and among the built-in ones, loaded with everything that is wrong listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.profile_check import check_profile
from pytest_execgo.core.document import SUFFIXES, read_document
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import describe
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import Action, PlanAction
from pytest_execgo.plan.problems import Problem, invalid_file, located


def discover_profiles(folders: Sequence[Path]) -> dict[str, Path]:
    """Return profile ids (names of files without suffix) to files, sorted by id; a name in an earlier folder wins.

    A folder that does not exist holds no profiles. `UsageError` for two files of one name in one folder.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        here: dict[str, Path] = {}
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.suffix not in SUFFIXES or file.name.startswith(".") or not file.is_file():
                continue
            if file.stem in here:
                raise UsageError("ambiguous_profile", f"{folder}: holds {here[file.stem].name} and {file.name}", "keep one of them")
            here[file.stem] = file
        found = here | found
    return dict(sorted(found.items()))


def load_profile(profile_id: str, folders: Sequence[Path], actions: Mapping[str, Action | PlanAction] = ACTIONS) -> ChaosProfile:
    """Load one profile; `UsageError` for an unknown id (with the nearest one), or listing what is wrong with its file."""
    files = discover_profiles(folders)
    if profile_id not in files:
        raise UsageError.unknown("chaos profile", profile_id, files)
    return load_profile_file(files[profile_id], actions)


def load_profile_file(file: Path, actions: Mapping[str, Action | PlanAction] = ACTIONS) -> ChaosProfile:
    """Load a profile's file, checked as a whole before anything of it is ever injected.

    `UsageError` lists every problem with its line, its place, and what is allowed. `actions` are those that faults may use.
    """
    source = read_document(file)
    profile, problems = check_profile(source.data, actions)
    name = source.data.get("id")
    if isinstance(name, str) and name != file.stem:
        problems.append(Problem("$.id", "id_mismatch", f"found {describe(name)}; allowed: the name of the file, {file.stem!r}"))
    if file.stem == "all":
        problems.append(Problem("$.id", "reserved", "'all' stands for every chaos profile; choose another name"))
    if profile is None or problems:
        raise invalid_file("chaos profile", located(source, problems))
    return profile
