"""JSON text with the line of every value, and no field twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import step_text

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


def parse_json(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    """Return the value and the line of each JSONPath in it; `UsageError` where the text is no JSON."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError.malformed(path, error.lineno, error.colno, error.msg, "the file must hold one JSON value") from error
    except ValueError as error:  # an integer of thousands of digits
        raise UsageError.malformed(path, 1, 1, str(error), "write a number that fits a double") from error
    return data, _Locator(path, text).locate()


class _Locator:
    """Walks the pieces of text that is known to be valid JSON."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.lines: dict[str, int] = {}
        self.stack: list[tuple[str, dict[str, int]]] = []  # the open containers: JSONPath, lines of the keys so far
        self.indices: list[int | None] = []  # next index of each open container; None for an object
        self.place = "$"  # JSONPath of the value that comes next
        self.line, self.position = 1, 0

    def locate(self) -> dict[str, int]:
        key_next = False
        for match in _TOKEN.finditer(self.text):
            piece = match[0]
            self.line += self.text.count("\n", self.position, match.start())
            self.position = match.start()
            if piece in ("{", "["):
                self._open(piece == "[")
                key_next = piece == "{"
            elif piece in ("}", "]"):
                self.stack.pop()
                self.indices.pop()
                key_next = False
            elif piece == ",":
                key_next = self._next()
            elif piece != ":":
                if key_next:
                    self._key(json.loads(piece))
                else:
                    self.lines.setdefault(self.place, self.line)
                key_next = False
        return self.lines

    def _open(self, is_list: bool) -> None:
        self.lines.setdefault(self.place, self.line)
        self.stack.append((self.place, {}))
        self.indices.append(0 if is_list else None)
        if is_list:
            self.place += "[0]"

    def _next(self) -> bool:
        """Go to the next item of the open list; in an object, tell that a key comes next."""
        index = self.indices[-1]
        if index is None:
            return True
        self.indices[-1] = index + 1
        self.place = f"{self.stack[-1][0]}[{index + 1}]"
        return False

    def _key(self, key: str) -> None:
        around, seen = self.stack[-1]
        if key in seen:
            column = self.position - self.text.rfind("\n", 0, self.position)
            raise UsageError.malformed(
                self.path, self.line, column, f"field {key!r} stands here again; first on line {seen[key]}", "keep one"
            )
        seen[key] = self.line
        self.place = around + step_text(key)
        self.lines[self.place] = self.line
