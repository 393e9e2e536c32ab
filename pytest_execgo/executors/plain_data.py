"""Plain Python data between two processes, as JSON: what is read back is equal and of the same types, and can't do anything.

Plain are None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict, dates and times, timedelta, Decimal, UUID, Path.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PosixPath
from typing import Any
from uuid import UUID

_TAG = "!"  # key of an object that stands for something else than an object

_LISTS: dict[type, Callable[[list[Any]], Any]] = {tuple: tuple, set: set, frozenset: frozenset}
_TEXTS: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytes: (lambda value: base64.b64encode(value).decode(), base64.b64decode),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (lambda value: [value.days, value.seconds, value.microseconds], lambda parts: timedelta(*parts)),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
    PosixPath: (str, Path),
}
_BY_NAME = {kind.__name__: kind for kind in (*_LISTS, *_TEXTS)}


def packed(value: Any) -> Any:
    """Return JSON that stands for plain data; `ValueError` naming the first type in it that isn't plain."""
    try:
        return _packed(value)
    except RecursionError:
        raise ValueError("it holds itself, or is nested too deeply") from None


def _packed(value: Any) -> Any:
    kind = type(value)  # exactly: a subclass would come back as something else
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {_TAG: "float", "of": str(value)}
    if kind is list:
        return [_packed(item) for item in value]
    if kind is dict:
        if _TAG not in value and all(type(key) is str for key in value):
            return {key: _packed(item) for key, item in value.items()}
        return {_TAG: "dict", "of": [[_packed(key), _packed(item)] for key, item in value.items()]}
    if kind in _LISTS:
        return {_TAG: kind.__name__, "of": [_packed(item) for item in value]}
    if kind in _TEXTS:
        return {_TAG: kind.__name__, "of": _TEXTS[kind][0](value)}
    raise ValueError(f"{kind.__module__}.{kind.__qualname__} is no plain data")


def unpacked(packed_value: Any) -> Any:
    """Return the data that `packed` made this JSON of."""
    if isinstance(packed_value, list):
        return [unpacked(item) for item in packed_value]
    if not isinstance(packed_value, dict):
        return packed_value
    name = packed_value.get(_TAG)
    if name is None:
        return {key: unpacked(item) for key, item in packed_value.items()}
    inner = packed_value["of"]
    if name == "float":
        return float(inner)
    if name == "dict":
        return {unpacked(key): unpacked(item) for key, item in inner}
    kind = _BY_NAME[name]
    return _LISTS[kind]([unpacked(item) for item in inner]) if kind in _LISTS else _TEXTS[kind][1](inner)


def for_people(value: Any) -> Any:
    """Return the JSON that a reader expects of plain data, for good: lists for tuples and sets (in order), text for dates.

    Keys become text, bytes base64, a timedelta seconds, numbers that JSON lacks null; anything else is named by its type.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {key if type(key) is str else str(key): for_people(item) for key, item in value.items()}
    if kind in (set, frozenset):
        return sorted((for_people(item) for item in value), key=repr)
    if kind in (list, tuple):
        return [for_people(item) for item in value]
    if kind is timedelta:
        return value.total_seconds()
    return _TEXTS[kind][0](value) if kind in _TEXTS else f"<{kind.__module__}.{kind.__qualname__}>"
