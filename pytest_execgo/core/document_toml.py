"""TOML text with the line of every statement.

`tomllib` tells no positions, so each statement is found by giving it ever more lines until it parses by itself.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import Part, path_text

_POSITION = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)\Z", re.DOTALL)
_LONGEST_STATEMENT = 200  # lines; finding the end of one costs the square of its length


def parse_toml(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the value and the line of each JSONPath that a statement sets; `UsageError` where the text is no TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.match(str(error))
        end = text.count("\n") + 1
        line, column = (int(found[2]), int(found[3])) if found and found[2] else (end, 1)
        raise UsageError.malformed(path, line, column, found[1] if found else str(error), "the file must be TOML 1.0") from error
    except ValueError as error:  # an integer of thousands of digits
        raise UsageError.malformed(path, 1, 1, str(error), "write a number that fits a double") from error
    return data, _locate(text)


def _locate(text: str) -> dict[str, int]:
    lines = {"$": 1}
    table: tuple[Part, ...] = ()
    counts: dict[tuple[Part, ...], int] = {}
    for number, statement in _statements(text):
        keys = _only_path(tomllib.loads(statement))
        header = statement.lstrip().startswith("[")
        if header:
            table = _table(keys, counts, is_array=statement.lstrip().startswith("[["))
            keys = ()
        for depth in range(len(keys) + 1):
            lines.setdefault(path_text((*table, *keys[:depth])), number)
    return lines


def _statements(text: str) -> list[tuple[int, str]]:
    """Split valid TOML into statements, each with its first line; what follows one that is too long is left out."""
    found = []
    pending: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending.append(line)
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            if len(pending) > _LONGEST_STATEMENT:
                break
            continue
        found.append((number - len(pending) + 1, statement))
        pending = []
    return found


def _only_path(value: Any) -> tuple[str, ...]:
    """Return the keys down to where a single statement's value begins to branch."""
    keys: list[str] = []
    while True:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and not value[0]:
            return tuple(keys)
        if not isinstance(value, dict) or len(value) != 1:
            return tuple(keys)
        ((key, value),) = value.items()
        keys.append(key)


def _table(keys: tuple[str, ...], counts: dict[tuple[Part, ...], int], *, is_array: bool) -> tuple[Part, ...]:
    """Return the path of the table that a header opens; `counts` knows how many elements each array of tables has."""
    place: tuple[Part, ...] = ()
    for depth, key in enumerate(keys):
        place = (*place, key)
        if is_array and depth == len(keys) - 1:
            counts[place] = counts.get(place, 0) + 1
        if place in counts:
            place = (*place, counts[place] - 1)
    return place
