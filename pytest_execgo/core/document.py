"""Files that people write, YAML, JSON or TOML: read as one JSON object, with the line of every value."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import clean_json, describe, parent_path, path_text

SUFFIXES = (".yaml", ".yml", ".json", ".toml")


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document and where its parts stand. `lines` maps a JSONPath to a line, counted from 1."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[str, int]

    def line_of(self, path: str) -> int | None:
        """Return the line of a JSONPath, or of the nearest thing around it that has one."""
        while path not in self.lines:
            around = parent_path(path)
            if around == path:
                return None
            path = around
        return self.lines[path]

    def where(self, path: str) -> str:
        """Name the place for a person: `file:line`, or the file where no line is known."""
        line = self.line_of(path)
        return f"{self.path}:{line}" if line else str(self.path)


def read_document(path: Path) -> SourceDocument:
    """Read a `.yaml`, `.yml`, `.json` or `.toml` file whose root is an object.

    Only JSON values come out: a date stays the text that was written, YAML's scalars follow the 1.2 core schema (`no` and `on`
    are text), its aliases are copied. `UsageError` (`file:line:col: what`) for a file that can't be read, is malformed,
    names a field twice, or holds what JSON can't.
    """
    if path.suffix not in SUFFIXES:
        found = path.suffix or "no suffix"
        raise UsageError("unknown_format", f"{path}: {found} is no known format", f"allowed: {', '.join(SUFFIXES)}")
    data, lines = _parse(path, _read_text(path))
    if not isinstance(data, dict):
        found = "an empty file" if data is None else describe(data)
        raise UsageError.malformed(path, 1, 1, f"found {found}", "the file must hold fields with values (a mapping)")
    document = SourceDocument(path, data, lines)
    clean, faults = clean_json(_dates_as_text(data) if path.suffix == ".toml" else data)
    if faults:
        places = [(path_text(fault.parts), fault.message) for fault in faults]
        text = "\n".join(f"{document.where(place)}: {place}: {message}" for place, message in places)
        raise UsageError("malformed_file", text, "the file must hold what JSON can hold")
    return SourceDocument(path, clean, lines)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        column = error.start - before.rfind(b"\n")
        raise UsageError.malformed(path, before.count(b"\n") + 1, column, "not UTF-8 text", "save the file as UTF-8") from error
    except OSError as error:
        raise UsageError("unreadable_file", f"{path}: {error.strerror or error}") from error


def _parse(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    """Parse by suffix; each parser is imported only when it is used."""
    if path.suffix == ".json":
        from pytest_execgo.core.document_json import parse_json as parse
    elif path.suffix == ".toml":
        from pytest_execgo.core.document_toml import parse_toml as parse
    else:
        from pytest_execgo.core.document_yaml import parse_yaml as parse
    try:
        return parse(path, text)
    except RecursionError as error:
        raise UsageError("malformed_file", f"{path}: nested too deeply", "a file for people has few levels") from error


def _dates_as_text(value: Any) -> Any:
    """Replace TOML's dates and times by their ISO 8601 text, as YAML and JSON have them."""
    if isinstance(value, dict):
        return {key: _dates_as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_dates_as_text(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
