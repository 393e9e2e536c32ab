"""One pass over JSON text: steps over objects and arrays, finds where values end, keeps what Go would complain of first."""

from __future__ import annotations

import json.decoder
import re
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from pytest_execgo.kernel.golang.text import sane

_SPACE = re.compile(r"[ \t\n\r]*")
_KEY = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_NEXT = re.compile(r"[ \t\n\r]*([,}\]])[ \t\n\r]*")
_NAMES = {'"': "string", "{": "object", "[": "array", "t": "bool", "f": "bool"}


class Malformed(Exception):
    """The quick walk met something that it can't read; the exact one must say what."""


def _refuse(constant: str) -> NoReturn:
    raise Malformed(constant)


# numbers stay text: Python's int() refuses 5,000 digits, and no value built here is used
_scan: Callable[[str, int], tuple[Any, int]] = json.decoder.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_refuse
).scan_once  # type: ignore[attr-defined]
# objects become tuples of their members, in order, so that none is lost when a name is repeated
scan_pairs: Callable[[str, int], tuple[Any, int]] = json.decoder.JSONDecoder(
    parse_constant=_refuse, object_pairs_hook=tuple
).scan_once  # type: ignore[attr-defined]
scan_string: Callable[[str, int, bool], tuple[str, int]] = json.decoder.scanstring  # type: ignore[attr-defined]
QUICK_FAILURES = (Malformed, ValueError, StopIteration, IndexError, RecursionError)


def quick_end(text: str, at: int) -> int:
    """Return the index behind the value at `at`, by the standard library's C scanner; any of `QUICK_FAILURES` if it can't."""
    return _scan(text, at)[1]


def after_space(text: str, at: int) -> int:
    """Return the index of the next character that isn't white space."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


class Kind(Protocol):
    """A Go type that a value can be decoded into; `go` is its name in error messages."""

    @property
    def go(self) -> str:
        """The type's name."""

    def read(self, reader: Reader, at: int, current: Any) -> tuple[Any, int]:
        """Decode the value at `at` into `current` (None: the zero value); return the result and where it ends."""


class Reader:
    """One pass over one text: where values end, and the first error that Go would report."""

    __slots__ = ("end", "failure", "mismatched", "path", "plain", "struct", "text")

    def __init__(self, text: str, end: Callable[[str, int], int]) -> None:
        self.text = text
        self.end = end
        self.struct = ""
        self.path: list[str] = []
        self.plain = end is quick_end  # whether it is worth trying to read objects in one step
        self.mismatched = ""  # a value of the wrong type: Go decodes on and reports the first
        self.failure = ""  # an error of a type's own decoder: Go stops there, so it wins

    def mismatch(self, found: str, kind: Kind) -> None:
        """Note that a value doesn't fit its type, unless one was noted before."""
        if not self.mismatched:
            where = f"Go struct field {self.struct}.{'.'.join(self.path)}" if self.path else "Go value"
            self.mismatched = f"json: cannot unmarshal {found} into {where} of type {kind.go}"

    def skip_other(self, at: int, kind: Kind, current: Any) -> tuple[Any, int]:
        """Go past a value that isn't of the kind's own form: null leaves `current`, anything else is noted."""
        char = self.text[at]
        if char != "n":
            self.mismatch(_NAMES.get(char, "number"), kind)
        return current, self.end(self.text, at)

    def key(self, at: int) -> tuple[str, int]:
        """Read an object's key; return it and where its value begins."""
        plain = _KEY.match(self.text, at)
        if plain is not None:
            return plain[1], plain.end()
        if self.text[at] != '"':
            raise Malformed
        key, at = scan_string(self.text, at + 1, True)
        colon = _COLON.match(self.text, at)
        if colon is None:
            raise Malformed
        return sane(key), colon.end()

    def open(self, at: int, closing: str) -> tuple[bool, int]:
        """Step into an object or array; return whether it is empty, and where to go on."""
        at = after_space(self.text, at + 1)
        return (True, at + 1) if self.text[at] == closing else (False, at)

    def next(self, at: int, closing: str) -> tuple[bool, int]:
        """Step over what follows an element; return whether that was the last one, and where to go on."""
        found = _NEXT.match(self.text, at)
        if found is None or found[1] not in (",", closing):
            raise Malformed
        return found[1] == closing, found.end()
