"""The columns that a cell's report gets in pytest-html."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from pytest_execgo.reporting.junit import PREFIX
from pytest_execgo.reporting.text import duration, one_line

COLUMNS = ("Scenario", "Framework", "Mode", "Chaos", "Verdict", "Wall time")

_SOURCES = ("scenario", "framework", "mode", "chaos", "outcome", "wall_time_ms")
_LIMIT = 200
_FIGURE = re.compile(r"[0-9]{1,15}(\.[0-9]+)?")


def headers() -> list[str]:
    """Return the `<th>` of each column. Wall time is not sortable: pytest-html would sort it as text, and has Duration."""
    return [
        f"<th>{title}</th>" if title == "Wall time" else f'<th class="sortable" data-column-type="{_key(title)}">{title}</th>'
        for title in COLUMNS
    ]


def cells(properties: Sequence[tuple[str, object]]) -> list[str]:
    """Return the `<td>` of each column for a report's `user_properties` (as `junit.properties` wrote them).

    Anybody may write such properties, so every value is escaped. A test that is none of ours gets empty cells.
    """
    found = {name: value for name, value in properties if isinstance(name, str)}
    return [_cell(title, found.get(PREFIX + source)) for title, source in zip(COLUMNS, _SOURCES, strict=True)]


def _cell(title: str, value: object) -> str:
    # pytest-html finds the value to sort by under the first `col-` class, of which it reads only letters, digits and `_`
    key = _key(title)
    shown = "" if value is None else escape(_text(title, value))
    return f'<td class="col-{key} col-{key.replace("_", "-")}">{shown}</td>'


def _key(title: str) -> str:
    return f"execgo_{title.lower().replace(' ', '_')}"


def _text(title: str, value: object) -> str:
    text = one_line(value, _LIMIT)
    return duration(float(text)) if title == "Wall time" and _FIGURE.fullmatch(text) else text
