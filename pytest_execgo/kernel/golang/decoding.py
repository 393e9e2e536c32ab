"""JSON into typed values by the rules of Go's `encoding/json`, with its words for what doesn't fit.

What Python's own parser doesn't give: raw values kept as they were sent, field names matched whatever their case, repeated
keys decoded into what the first one left, `null` leaving a scalar alone, decoding that goes on after a type error and then
reports the first one. The walk over objects is ours; each value inside is jumped over by the standard library's C scanner.
Where that fails, `syntax` tells whether the text is wrong (then in Go's words) or only nested deeper than Python likes.
"""

from __future__ import annotations

from typing import Any

from pytest_execgo.kernel.golang.reader import QUICK_FAILURES, Kind, Malformed, Reader, after_space, quick_end
from pytest_execgo.kernel.golang.syntax import GoJSONError, end_of_value
from pytest_execgo.kernel.golang.text import decode_utf8


def decode_first(body: bytes, kind: Kind) -> Any:
    """Decode the first JSON value of a body, as Go's `Decoder` does; what follows is ignored. `GoJSONError` if it can't be."""
    text = decode_utf8(body)
    try:
        reader, value, _ = _quick(text, kind)
    except QUICK_FAILURES:
        end_of_value(body.decode("latin-1"))
        return _decode_exactly(text, kind)
    return _checked(reader, value)


def decode(text: str, kind: Kind) -> Any:
    """Decode text that holds one JSON value, as Go's `Unmarshal` does. `GoJSONError` if it can't be."""
    try:
        reader, value, end = _quick(text, kind)
    except QUICK_FAILURES:
        latin = text.encode("utf-8", "replace").decode("latin-1")
        try:
            end = end_of_value(latin)
        except GoJSONError as error:
            if str(error) in ("EOF", "unexpected EOF"):
                raise GoJSONError("unexpected end of JSON input") from error
            raise
        _check_end(latin, end)
        return _decode_exactly(text, kind)
    _check_end(text, end)
    return _checked(reader, value)


def _quick(text: str, kind: Kind) -> tuple[Reader, Any, int]:
    reader = Reader(text, quick_end)
    start = after_space(text, 0)
    if text[start] in "-0123456789":  # nothing stands behind it to show that a number is cut short
        raise Malformed
    value, end = kind.read(reader, start, None)
    return reader, value, end


def _decode_exactly(text: str, kind: Kind) -> Any:
    """Decode text whose syntax is known to be right, however deep."""
    reader = Reader(text, end_of_value)
    value, _ = kind.read(reader, after_space(text, 0), None)
    return _checked(reader, value)


def _check_end(text: str, end: int) -> None:
    rest = text[end:].lstrip(" \t\r\n")
    if rest:
        raise GoJSONError.character(rest[0], "after top-level value")


def _checked(reader: Reader, value: Any) -> Any:
    problem = reader.failure or reader.mismatched
    if problem:
        raise GoJSONError(problem)
    return value
