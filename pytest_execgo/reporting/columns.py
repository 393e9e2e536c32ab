"""The columns that a cell's report gets in pytest-html, and its links."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from pytest_execgo.reporting.junit import PREFIX
from pytest_execgo.reporting.text import duration, one_line, times

COLUMNS = ("Scenario", "Framework", "Mode", "Chaos", "Verdict", "Wall time", "Overhead", "Recovery")

_SOURCES = ("scenario", "framework", "mode", "chaos", "outcome", "wall_time_ms", "overhead", "recovery_time_ms")
_FIGURES = {"Wall time": duration, "Overhead": times, "Recovery": duration}
_LIMIT = 200
_FIGURE = re.compile(r"[0-9]{1,15}(\.[0-9]+)?")
_LINKED = ("summary.md", "result.json", "timeline.jsonl")


def headers() -> list[str]:
    """Return the `<th>` of each column. Figures are not sortable: pytest-html would sort them as text, and has Duration."""
    return [
        f"<th>{title}</th>" if title in _FIGURES else f'<th class="sortable" data-column-type="{_key(title)}">{title}</th>'
        for title in COLUMNS
    ]


def cells(properties: Sequence[tuple[str, object]]) -> list[str]:
    """Return the `<td>` of each column for a report's `user_properties` (as `junit.properties` wrote them).

    Anybody may write such properties, so every value is escaped. A test that is none of ours gets empty cells.
    """
    found = {name: value for name, value in properties if isinstance(name, str)}
    return [_cell(title, found.get(PREFIX + source)) for title, source in zip(COLUMNS, _SOURCES, strict=True)]


def links(run: Path, start: Path) -> list[tuple[str, str]]:
    """Return what of a run's folder can be opened, as names and addresses relative to the folder `start` of a page."""
    files = [(name, run / name) for name in _LINKED if (run / name).is_file()]
    return [(name, address(file, start)) for name, file in files] + [("folder", address(run, start) + "/")]


def address(target: Path, start: Path) -> str:
    """Return the relative URL by which a page in the folder `start` reaches a file, fit for an attribute in quotes."""
    relative = quote(os.path.relpath(target, start), errors="surrogateescape")
    return relative if relative.startswith("..") else f"./{relative}"  # a name with a colon would read as a scheme


def _cell(title: str, value: object) -> str:
    # pytest-html finds the value to sort by under the first `col-` class, of which it reads only letters, digits and `_`
    key = _key(title)
    shown = "" if value is None else escape(_text(title, value))
    return f'<td class="col-{key} col-{key.replace("_", "-")}">{shown}</td>'


def _key(title: str) -> str:
    return f"execgo_{title.lower().replace(' ', '_')}"


def _text(title: str, value: object) -> str:
    text = one_line(value, _LIMIT)
    return _FIGURES[title](float(text)) if title in _FIGURES and _FIGURE.fullmatch(text) else text
