"""Checkpoints as JSON: whatever bytes are read, nothing but JSON values comes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonvalue import MAX_DEPTH, MAX_VALUES, describe

_DEEPEST = 2 * MAX_DEPTH  # a task's answer, itself up to MAX_DEPTH deep, lies some levels down in a run's state


class JsonSerde:
    """JSON. What is written reads back equal, half a surrogate pair too; NaN, tuples, keys that are no text are refused."""

    def dumps(self, value: Mapping[str, Any]) -> bytes:
        """Return an object as ASCII JSON; `ExecGoError` (`bad_state`) when it holds anything but JSON values."""
        _check(value)
        try:
            return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
        except (ValueError, RecursionError) as error:  # an integer of thousands of digits
            raise _bad(str(error)) from error

    def loads(self, data: bytes) -> dict[str, Any]:
        """Return the object that the bytes hold; `ExecGoError` (`bad_state`) when they hold none."""
        try:
            value = json.loads(data.decode("ascii"))
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
            raise _bad(str(error)) from error
        if not isinstance(value, dict):
            raise _bad(f"{describe(value)} is no object")
        _check(value)
        return value


def _check(value: object) -> None:
    """Walk through a value without recursion; `ExecGoError` for the first part of it that JSON can't carry."""
    level: list[Any] = [value]
    seen = 0
    for _ in range(_DEEPEST + 1):
        seen += len(level)
        if seen > MAX_VALUES:
            raise _bad(f"it holds more than {MAX_VALUES} values")
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                for key in item:
                    if type(key) is not str:
                        raise _bad(f"a field's name is {describe(key)}; allowed: text")
                below.extend(item.values())
            elif kind is list:
                below.extend(item)
            elif kind is float:
                if not math.isfinite(item):
                    raise _bad(f"it holds {item}, which JSON does not have")
            elif item is not None and kind not in (str, int, bool):
                raise _bad(f"it holds {describe(item)}; allowed: what JSON can hold")
        level = below
        if not level:
            return
    raise _bad(f"it is nested more than {_DEEPEST} levels deep")


def _bad(what: str) -> ExecGoError:
    return ExecGoError("bad_state", f"a checkpoint's state can't be used: {what}", "states are JSON objects")
