"""How Go prints things: quoted strings, JSON text, numbers, durations, errno messages.

ExecGo's answers are written by Go's `fmt` and `encoding/json`; clients compare them, so the letters count.
"""

from __future__ import annotations

import codecs
import os
import re
from decimal import Decimal
from json.encoder import encode_basestring
from math import copysign, isfinite
from typing import Any

_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_SHORT_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
# what is no white space: strings, whatever they hold, and the rest; possessive, so that a long string can't make it backtrack
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^" \t\r\n]+', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_needs_no_escape = re.compile(r"[ !#-%'-;=?-\[\]-~]*").fullmatch  # printable ASCII but for the quote, \, <, > and &


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    """Stand one U+FFFD for each undecodable byte, as Go does (Python's `replace` merges some)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("go-replace", _replace_each_byte)


def decode_utf8(data: bytes) -> str:
    """Decode UTF-8; each invalid byte becomes U+FFFD."""
    return data.decode("utf-8", "go-replace")


def sane(text: str) -> str:
    """Replace lone surrogates, which UTF-8 can't carry, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text) if not text.isascii() else text


def trim_space(text: str) -> str:
    """Strip what Go's `strings.TrimSpace` strips (Python's `strip` takes four control characters more)."""
    return text.strip(_WHITE_SPACE)


def quote(text: str) -> str:
    """Return `text` as `%q` prints it."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def _quoted(char: str) -> str:
    short = _SHORT_ESCAPES.get(char)
    if short is not None:
        return short
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote_char(char: str) -> str:
    """Return one character as `encoding/json` names it in a syntax error: in single quotes, escaped as `%q` does."""
    if char == "'":
        return r"'\''"
    if char == '"':
        return "'\"'"
    return f"'{_quoted(char)}'"


def escape_html(text: str) -> str:
    r"""Escape `<`, `>`, `&`, U+2028 and U+2029 in JSON text as `\u003c` and so on; they only occur inside strings."""
    for char, escaped in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        if char in text:
            text = text.replace(char, escaped)
    return text


def json_string(text: str) -> str:
    """Return `text` as a JSON string literal."""
    if _needs_no_escape(text):
        return f'"{text}"'
    return escape_html(encode_basestring(sane(text)))


def json_strings(texts: tuple[str, ...] | list[str]) -> str:
    """Return a JSON array of strings."""
    if _needs_no_escape("".join(texts)):
        return '["' + '","'.join(texts) + '"]' if texts else "[]"
    return "[" + ",".join([json_string(text) for text in texts]) + "]"


def compact(text: str) -> str:
    """Return valid JSON text as Go emits a raw message: no white space, keys in their order, numbers verbatim."""
    if " " in text or "\n" in text or "\t" in text or "\r" in text:
        text = "".join(_TOKENS.findall(text))
    return escape_html(text)


def json_value(value: Any) -> str:
    """Return a decoded value as Go encodes an `any`: sorted keys, every number a float64."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return float_text(float(value))
        case str():
            return json_string(value)
        case dict():
            return "{" + ",".join(f"{json_string(key)}:{json_value(value[key])}" for key in sorted(value)) + "}"
        case _:
            return "[" + ",".join(json_value(item) for item in value) + "]"


def json_object(**fields: Any) -> str:
    """Return an object as Go encodes a map: keys sorted. Integers stay integers, unlike in `json_value`."""
    parts = (f"{json_string(key)}:{value if type(value) is int else json_value(value)}" for key, value in sorted(fields.items()))
    return "{" + ",".join(parts) + "}"


def float_text(number: float) -> str:
    """Return a finite float as Go's JSON encoder writes a float64."""
    if not isfinite(number):
        raise ValueError(f"{number} has no JSON form")
    if number == 0:
        return "-0" if copysign(1, number) < 0 else "0"
    exact = Decimal(repr(number)).normalize()
    if 1e-6 <= abs(number) < 1e21:
        return f"{exact:f}"
    sign, digits, exponent = exact.as_tuple()
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    power = int(exponent) + len(digits) - 1
    return f"{'-' if sign else ''}{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def duration_text(seconds: int) -> str:
    """Return whole seconds as Go prints a `time.Duration`: 9s, 1m5s, 2h0m0s."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def errno_text(error: OSError) -> str:
    """Return an OS error's text as Go has it: the C library's, in lower case."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]
