"""Copies of the kept sweep, to be moved, bent and broken by each test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.cli import main

GOLDEN = Path(__file__).parents[2] / "data" / "golden_sweep" / "runs"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Runs:
    """A folder of runs."""

    path: Path

    @property
    def runs(self) -> list[Path]:
        """The folders of runs that have a result."""
        return sorted(file.parent for file in self.path.glob("*/result.json"))

    def of(self, framework: str) -> list[Path]:
        """The runs of one framework."""
        return [run for run in self.runs if f"-{framework}-" in run.name]

    @property
    def sweep_id(self) -> str:
        """The sweep of the first run."""
        return str(self.result(self.runs[0])["sweep_id"])

    def result(self, run: Path) -> dict[str, Any]:
        """A run's result as it stands in its file."""
        value: dict[str, Any] = json.loads((run / "result.json").read_text())
        return value

    def change(self, run: Path, **values: Any) -> None:
        """Change fields of a run's result."""
        (run / "result.json").write_text(json.dumps(self.result(run) | values))

    def summary(self, place: str = ".") -> dict[str, Any]:
        """The summary in a folder beneath this one."""
        value: dict[str, Any] = json.loads((self.path / place / "benchmark-summary.json").read_text())
        return value

    def rename(self, sweep_id: str) -> None:
        """Give the sweep another id, as if it had been run for itself."""
        before = self.sweep_id
        for run in self.runs:
            for name in ("result.json", "run.json"):
                (run / name).write_text((run / name).read_text().replace(before, sweep_id))
        own = self.path / "sweeps" / before
        for file in own.iterdir():
            file.write_text(file.read_text().replace(before, sweep_id))
        own.rename(own.with_name(sweep_id))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Runs]:
    """Copy the kept sweep to a new folder of that name."""

    def copy(name: str) -> Runs:
        shutil.copytree(GOLDEN, tmp_path / name)
        return Runs(tmp_path / name)

    return copy


@pytest.fixture
def runs(copied: Callable[[str], Runs]) -> Runs:
    """Return a copy of the kept sweep."""
    return copied("runs")


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call `report` with these words."""

    def call(*words: object) -> Answer:
        capsys.readouterr()
        code = main(["report", *map(str, words)])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call
