"""Which scenarios there are: the user's own, then the built-in ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.document import SUFFIXES
from pytest_execgo.core.errors import UsageError
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.model import Scenario

FILE_NAMES = tuple(f"scenario{suffix}" for suffix in SUFFIXES)


def discover(folders: Sequence[Path]) -> dict[str, Path]:
    """Return scenario ids (names of folders) to scenario files, sorted by id; a name in an earlier folder wins.

    A folder that does not exist holds no scenarios. `UsageError` for a scenario with two files.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            file = scenario_file(place)
            if file is not None:
                found.setdefault(place.name, file)
    return dict(sorted(found.items()))


def scenario_file(folder: Path) -> Path | None:
    """Return the scenario file in a folder, None if there is none; `UsageError` if there are two."""
    files = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
    if len(files) > 1:
        names = " and ".join(file.name for file in files)
        raise UsageError("ambiguous_scenario", f"{folder}: holds {names}", "keep one of them")
    return files[0] if files else None


class Catalogue:
    """The scenarios in some folders, in order of precedence."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self.files = discover(self.folders)

    @classmethod
    def with_builtin(cls, folders: Sequence[Path]) -> Catalogue:
        """Build the catalogue of the user's folders, with the built-in scenarios after them."""
        return cls([*folders, bundled("scenarios")])

    @property
    def ids(self) -> tuple[str, ...]:
        """All scenario ids, sorted."""
        return tuple(self.files)

    def load(self, scenario_id: str, *, chaos: Collection[str] | None = None) -> Scenario:
        """Load one scenario; `UsageError` for an unknown id (with the nearest one), or listing what is wrong with its files.

        `chaos` as for `load_scenario`.
        """
        if scenario_id not in self.files:
            raise UsageError.unknown("scenario", scenario_id, self.files)
        return load_scenario(self.files[scenario_id], chaos=chaos)
