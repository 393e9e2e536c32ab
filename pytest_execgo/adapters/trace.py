"""A framework's native trace, as JSON values of a bounded size, without the address of its model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pytest_execgo.core.jsonvalue import shortened

LONGEST_TEXT = 20_000  # characters of one text
MOST_ITEMS = 200  # of one list or object
DEEPEST = 12
MOST_ENTRIES = 400
MOST_TEXT = 1 << 20  # characters of all texts in one trace


def bounded(value: Any, hide: Mapping[str, str] | None = None) -> Any:
    """Return any Python value as a JSON value: too long texts and lists are cut, too deep values named by their type.

    Each text in `hide` is replaced by what it stands for there.
    """
    return _bounded(value, hide or {}, DEEPEST)


def _bounded(value: Any, hide: Mapping[str, str], deep: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() < 64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        text = str(value).encode("utf-8", "replace").decode()
        for secret, shown in hide.items():
            text = text.replace(secret, shown)
        return shortened(text, LONGEST_TEXT)
    if deep <= 0:
        return f"… a {type(value).__name__} …"
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {str(_bounded(str(name), hide, 1)): _bounded(item, hide, deep - 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_bounded(item, hide, deep - 1) for item in list(value)[:MOST_ITEMS]]
    return _bounded(str(value), hide, 1)


class Trace:
    """The native trace of one planning: entries with `at_ms` (since it began) and `kind`, in their order. Any thread may add."""

    def __init__(self, hide: Mapping[str, str]) -> None:
        self.entries: list[dict[str, Any]] = []
        self._hide = hide
        self._began = time.monotonic()
        self._text = 0
        self._dropped = 0

    def add(self, kind: str, **fields: Any) -> None:
        """Note one thing that the framework told."""
        entry = {"at_ms": round((time.monotonic() - self._began) * 1000, 1), "kind": kind, **bounded(fields, self._hide)}
        size = len(str(entry))
        if len(self.entries) >= MOST_ENTRIES or self._text + size > MOST_TEXT:
            self._dropped += 1
            return
        self._text += size
        self.entries.append(entry)

    def done(self) -> list[dict[str, Any]]:
        """Return what was noted; the last entry says how many were dropped, if any were."""
        return [*self.entries, {"kind": "dropped", "entries": self._dropped}] if self._dropped else list(self.entries)
