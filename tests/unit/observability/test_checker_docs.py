"""docs/observability.md names every check, event and kind of row."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_execgo.observability.checker import CHECKS
from pytest_execgo.plan import events

PAGE = (Path(__file__).parents[3] / "docs/observability.md").read_text()


def named(heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_every_check_is_in_the_page() -> None:
    assert named("The checks") == list(CHECKS)


def test_every_event_is_in_the_page() -> None:
    kinds = {kind.__name__: kind for kind in events.Event.__subclasses__() if kind.__module__ == events.__name__}
    types = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in kinds}
    assert sorted(named("The timeline")) == sorted(types)
