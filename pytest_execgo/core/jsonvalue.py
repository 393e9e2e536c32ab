"""What a JSON value may be, how to name a place in one, how to show one to a person."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytest_execgo.core.errors import ExecGoError

Part = str | int
"""One step into a JSON value: a field's name, or a list's index."""

MAX_DEPTH = 100
"""Deepest nesting that is taken; Python's own JSON reader and writer fail some hundred levels further down."""
MAX_VALUES = 1_000_000
_MAX_BITS = 1024  # no larger number fits a double, so other JSON readers would lose it

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LAST_STEP = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_]*|\[\d+\]|\['(?:[^'\\]|\\.)*'\])\Z")


@dataclass(frozen=True, slots=True)
class ValueFault:
    """A place in a value that JSON text can't carry, and why."""

    parts: tuple[Part, ...]
    code: str
    message: str


def path_text(parts: Iterable[Part]) -> str:
    """Name a place as a JSONPath: `$.stages[0].annotations['a.b']`; long or unprintable keys are cut and escaped."""
    return "$" + "".join(map(step_text, parts))


def step_text(part: Part) -> str:
    """Render one step of a JSONPath: `.name`, `[0]` or `['any other key']`."""
    if isinstance(part, int):
        return f"[{part}]"
    if _IDENTIFIER.match(part) and len(part) <= 80:
        return f".{part}"
    quoted = re.sub(r"(['\\])", r"\\\1", shortened(part, 80))
    return f"['{shown(quoted, 200)}']"


def parent_path(path: str) -> str:
    """Return the JSONPath of what holds the value at `path`; the root's parent is the root."""
    return _LAST_STEP.sub("", path)


def shortened(text: str, limit: int) -> str:
    """Cut text to at most `limit` characters, the last being an ellipsis when something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown(text: str, limit: int) -> str:
    r"""Cut text and make it fit one line: what can't be printed becomes `\uXXXX`."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in shortened(text, limit))


def describe(value: Any) -> str:
    """Say what a value is, readable and short: `the text "abc"`, `the number 3`, `an object with 2 fields`."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return f"the text {json.dumps(shortened(value, 60), ensure_ascii=not value.isprintable())}"
    if isinstance(value, int):
        return f"the number {value}" if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, dict):
        return f"an object with {len(value)} field{'' if len(value) == 1 else 's'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"a Python {type(value).__name__}"


def clean_json(value: object) -> tuple[Any, list[ValueFault]]:
    """Copy a value, leaving out what JSON text can't carry, and list each such place.

    Left out (None in its place) are NaN and infinities, numbers beyond a double's range, text with lone surrogates,
    anything nested deeper than `MAX_DEPTH`, and Python objects that are no JSON; keys that are no text vanish with their
    value. A value of more than `MAX_VALUES` parts gives None and one fault.
    """
    cleaner = _Cleaner()
    try:
        return cleaner.clean(value, (), 0), cleaner.faults
    except _TooLarge:
        return None, [ValueFault((), "too_large", f"holds more than {MAX_VALUES} values")]


class _TooLarge(ExecGoError):
    """Ends a walk through a value that is too large, or that holds itself."""


class _Cleaner:
    def __init__(self) -> None:
        self.faults: list[ValueFault] = []
        self.seen = 0

    def clean(self, value: Any, parts: tuple[Part, ...], depth: int) -> Any:
        self.seen += 1
        if self.seen > MAX_VALUES:
            raise _TooLarge("too_large", "the value is too large")
        fault = _scalar_fault(value)
        if fault is None and depth >= MAX_DEPTH and isinstance(value, dict | list):
            fault = ("too_deep", f"is nested more than {MAX_DEPTH} levels deep")
        if fault is not None:
            self.faults.append(ValueFault(parts, *fault))
            return None
        if isinstance(value, dict):
            return self._object(value, parts, depth)
        if isinstance(value, list):
            return [self.clean(item, (*parts, index), depth + 1) for index, item in enumerate(value)]
        return value

    def _object(self, value: dict[Any, Any], parts: tuple[Part, ...], depth: int) -> dict[str, Any]:
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.faults.append(ValueFault(parts, "bad_key", f"a field's name is {describe(key)}; allowed: text"))
            elif _SURROGATE.search(key):
                self.faults.append(ValueFault((*parts, key), "bad_text", "its name holds half a surrogate pair, which is no text"))
            else:
                copy[key] = self.clean(item, (*parts, key), depth + 1)
        return copy


def _scalar_fault(value: Any) -> tuple[str, str] | None:
    """Return code and message of what is wrong with one value by itself."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    if isinstance(value, str):
        half = _SURROGATE.search(value)
        return ("bad_text", f"holds half a surrogate pair at character {half.start()}, which is no text") if half else None
    if isinstance(value, int):
        large = value.bit_length() > _MAX_BITS
        return ("number_too_large", f"is {describe(value)}; allowed: what fits a double, up to 1.8e308") if large else None
    if isinstance(value, float):
        return None if math.isfinite(value) else ("not_finite", f"is {describe(value)}, which JSON does not have")
    return ("not_json", f"is {describe(value)}; allowed: what JSON can hold")
