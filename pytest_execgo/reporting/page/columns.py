"""Rows as columns: names become numbers into one table of texts, times become steps, so that they pack well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Texts:
    """A table of texts without repetition; the number 0 stands for none."""

    def __init__(self) -> None:
        self.table: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        """Return a text's place in the table."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.table)
            self.table.append(text)
        return found


def steps(times: Iterable[int]) -> list[int]:
    """Turn times into the first one and the differences that follow."""
    last, found = 0, []
    for at in times:
        found.append(at - last)
        last = at
    return found


def columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Turn rows into named columns. A column `t` holds times; one in which everything is 0 is left out."""
    found: dict[str, list[Any]] = {"t": []}
    for name, column in zip(names, zip(*rows, strict=True), strict=True) if rows else ():
        if name == "t":
            found[name] = steps(column)
        elif any(column):
            found[name] = list(column)
    return found
