"""Go types as decoders. Each reads the value at an index into what an earlier one of the same name left (`current`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_execgo.kernel.golang.reader import QUICK_FAILURES, Kind, Reader, scan_pairs, scan_string
from pytest_execgo.kernel.golang.text import compact, sane
from pytest_execgo.kernel.golang.time import GoTimeError, Moment, parse_time

_INTEGER = re.compile(r"-?[0-9]{1,19}\Z")
_INT64 = range(-(2**63), 2**63)
_ONLY_STR = frozenset((str,))


@dataclass(frozen=True, slots=True)
class String:
    """A Go string, or a type made of one."""

    go: str = "string"

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode a string; invalid Unicode becomes U+FFFD."""
        if reader.text[at] != '"':
            return reader.skip_other(at, self, current)
        value, end = scan_string(reader.text, at + 1, True)
        return sane(value), end


@dataclass(frozen=True, slots=True)
class Int:
    """A Go int or int64."""

    go: str = "int"

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode a whole number of 64 bits."""
        if reader.text[at] not in "-0123456789":
            return reader.skip_other(at, self, current)
        end = reader.end(reader.text, at)
        token = reader.text[at:end]
        value = int(token) if _INTEGER.match(token) else None
        if value is None or value not in _INT64:
            reader.mismatch(f"number {token}", self)
            return current, end
        return value, end


@dataclass(frozen=True, slots=True)
class Bool:
    """A Go bool."""

    go: str = "bool"

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode true or false."""
        if reader.text[at] not in "tf":
            return reader.skip_other(at, self, current)
        return reader.text[at] == "t", reader.end(reader.text, at)


@dataclass(frozen=True, slots=True)
class Raw:
    """A Go json.RawMessage: the value's own text, compacted. `null` counts as absent."""

    go: str = "json.RawMessage"

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Keep the value's text."""
        end = reader.end(reader.text, at)
        return (None if reader.text[at] == "n" else compact(reader.text[at:end])), end


@dataclass(frozen=True, slots=True)
class Time:
    """A Go time.Time."""

    go: str = "time.Time"

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode an RFC 3339 string into a `Moment`."""
        end = reader.end(reader.text, at)
        if reader.text[at] == "n":
            return current, end
        try:
            if reader.text[at] != '"':
                raise GoTimeError("Time.UnmarshalJSON: input is not a JSON string")
            value: Moment = parse_time(reader.text[at + 1 : end - 1])
        except GoTimeError as error:
            reader.failure = reader.failure or str(error)
            return current, end
        return value, end


@dataclass(frozen=True, slots=True)
class Anything:
    """A Go `any`: numbers are float64."""

    go: str = "float64"  # the one type that a value can fail to fit: a number out of range

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode into dicts, lists and scalars."""
        end = reader.end(reader.text, at)

        def number(token: str) -> float:
            value = float(token)
            if value in (float("inf"), float("-inf")):
                reader.mismatch(f"number {token}", self)
            return value

        try:
            return json.loads(reader.text[at:end], parse_int=number, parse_float=number), end
        except RecursionError:  # deeper than Python likes: a detail that nobody will miss
            return None, end


@dataclass(frozen=True, slots=True)
class Slice:
    """A Go slice of one kind."""

    item: Kind
    go: str

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode an array into a list; null is None."""
        if reader.text[at] != "[":
            return reader.skip_other(at, self, None if reader.text[at] == "n" else current)
        old = current or []
        values: list[Any] = []
        done, at = reader.open(at, "]")
        while not done:
            value, at = self.item.read(reader, at, old[len(values)] if len(values) < len(old) else None)
            values.append(value)
            done, at = reader.next(at, "]")
        return values, at


@dataclass(frozen=True, slots=True)
class StringMap:
    """A Go map with string keys and values of one kind."""

    item: Kind
    go: str

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode an object into a dict; null is None."""
        if reader.text[at] != "{":
            return reader.skip_other(at, self, None if reader.text[at] == "n" else current)
        values: dict[str, Any] = dict(current or {})
        done, at = reader.open(at, "}")
        while not done:
            key, at = reader.key(at)
            values[key], at = self.item.read(reader, at, None)
            done, at = reader.next(at, "}")
        return values, at


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct, decoded into a dict that holds the fields that were given. `pointer`: null makes it None.

    `often_plain`: objects often hold nothing but strings, whole numbers and lists of strings; those are read in one step.
    """

    name: str
    go: str
    fields: Mapping[str, Kind]
    pointer: bool = False
    often_plain: bool = False

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode an object; unknown fields are passed over."""
        text = reader.text
        if text[at] != "{":
            return reader.skip_other(at, self, None if self.pointer and text[at] == "n" else current)
        if current is None and self.often_plain and reader.plain:
            plain_values, at_end = self._read_plain(reader, at)
            if plain_values is not None:
                return plain_values, at_end
            reader.plain = False  # neither will the others be, as a rule
        values: dict[str, Any] = {} if current is None else current
        outer, path, fields = reader.struct, reader.path, self.fields
        done, at = reader.open(at, "}")
        while not done:
            key, at = reader.key(at)
            name = key if key in fields else self._fold(key)
            if name is None:
                at = reader.end(text, at)
            else:
                reader.struct = self.name
                path.append(name)
                values[name], at = fields[name].read(reader, at, values.get(name))
                path.pop()
                reader.struct = outer
            done, at = reader.next(at, "}")
        return values, at

    def _read_plain(self, reader: Reader, at: int) -> tuple[dict[str, Any] | None, int]:
        """Decode an object in one step, if it has nothing but strings, whole numbers and lists of strings, each where it fits."""
        try:
            pairs, end = scan_pairs(reader.text, at)
        except QUICK_FAILURES:
            return None, at  # the walk will find out why
        values: dict[str, Any] = {}
        for key, value in pairs:
            kind = self.fields.get(key)
            if type(value) is str and type(kind) is String:
                values[key] = value if value.isascii() else sane(value)
            elif type(value) is list and type(kind) is Slice and type(kind.item) is String and set(map(type, value)) <= _ONLY_STR:
                values[key] = list(map(sane, value))
            elif type(value) is int and type(kind) is Int and value in _INT64:
                values[key] = value
            else:
                return None, at
        return values, end

    def _fold(self, key: str) -> str | None:
        """Find the field that a key names in another case (Go folds the long s and the Kelvin sign, too)."""
        folded = key.replace("\u017f", "s").replace("\u212a", "k").lower()
        return folded if folded in self.fields else None
