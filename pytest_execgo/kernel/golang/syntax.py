"""JSON syntax by Go's rules: where the first value of a body ends, or Go's words for what is wrong with it.

`encoding/json` works on bytes, so do these: a body is passed as Latin-1 text, one character per byte. This is the slow,
exact path; `decoding` comes here only when the quick one has failed.
"""

from __future__ import annotations

import re

from pytest_execgo.kernel.golang.text import quote_char

MAX_DEPTH = 10_000
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_HEX = frozenset("0123456789abcdefABCDEF")
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _AFTER = range(6)


class GoJSONError(Exception):
    """A text that Go's decoder refuses; the message is Go's."""

    @classmethod
    def character(cls, char: str, context: str) -> GoJSONError:
        """Build the error for a character that can't stand where it stands."""
        return cls(f"invalid character {quote_char(char)} {context}")


def end_of_value(text: str, start: int = 0) -> int:
    """Return the index behind the JSON value that begins at or after `start`; `GoJSONError` if there is none."""
    at = _SPACE.match(text, start).end()  # type: ignore[union-attr]
    if at == len(text):
        raise GoJSONError("EOF")
    try:
        return _walk(text, at)
    except IndexError as error:
        raise GoJSONError("unexpected EOF") from error


def _walk(text: str, at: int) -> int:
    stack: list[str] = []
    state = _VALUE
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        char = text[at]
        if state == _COLON:
            if char != ":":
                raise GoJSONError.character(char, "after object key")
            state, at = _VALUE, at + 1
            continue
        if state in (_KEY, _KEY_OR_END) and char == '"':
            state, at = _COLON, _string(text, at)
            continue
        if char in "{[" and state in (_VALUE, _VALUE_OR_END):
            stack.append(char)
            if len(stack) > MAX_DEPTH:
                raise GoJSONError.character(char, "exceeded max depth")
            state, at = (_KEY_OR_END if char == "{" else _VALUE_OR_END), at + 1
            continue
        if state == _AFTER and char == ",":
            state, at = (_KEY if stack[-1] == "{" else _VALUE), at + 1
            continue
        at = _end(text, at, state, stack)
        if not stack:
            return at
        state = _AFTER


def _end(text: str, at: int, state: int, stack: list[str]) -> int:
    """Go past what ends a value here: a closing bracket (popped from `stack`) or a scalar."""
    char = text[at]
    if state in (_AFTER, _KEY_OR_END, _VALUE_OR_END) and char == ("}" if stack[-1] == "{" else "]"):
        stack.pop()
        return at + 1
    if state in (_KEY, _KEY_OR_END):
        raise GoJSONError.character(char, "looking for beginning of object key string")
    if state == _AFTER:
        raise GoJSONError.character(char, "after object key:value pair" if stack[-1] == "{" else "after array element")
    if char == '"':
        return _string(text, at)
    if char in "-0123456789":
        return _number(text, at)
    if char in _LITERALS:
        return _literal(text, at, _LITERALS[char])
    raise GoJSONError.character(char, "looking for beginning of value")


def _string(text: str, at: int) -> int:
    at += 1
    while True:
        at = _PLAIN.match(text, at).end()  # type: ignore[union-attr]
        char = text[at]
        if char == '"':
            return at + 1
        if char != "\\":
            raise GoJSONError.character(char, "in string literal")
        escape = text[at + 1]
        at += 2
        if escape == "u":
            for _ in range(4):
                if text[at] not in _HEX:
                    raise GoJSONError.character(text[at], "in \\u hexadecimal character escape")
                at += 1
        elif escape not in '"\\/bfnrt':
            raise GoJSONError.character(escape, "in string escape code")


def _number(text: str, at: int) -> int:
    if text[at] == "-":
        at += 1
        if text[at] not in "0123456789":
            raise GoJSONError.character(text[at], "in numeric literal")
    at = at + 1 if text[at] == "0" else _digits(text, at)
    if text[at : at + 1] == ".":
        at += 1
        if text[at] not in "0123456789":
            raise GoJSONError.character(text[at], "after decimal point in numeric literal")
        at = _digits(text, at)
    if text[at : at + 1] in ("e", "E"):
        at += 1
        if text[at] in "+-":
            at += 1
        if text[at] not in "0123456789":
            raise GoJSONError.character(text[at], "in exponent of numeric literal")
        at = _digits(text, at)
    return at


def _digits(text: str, at: int) -> int:
    return _DIGITS.match(text, at).end()  # type: ignore[union-attr]


def _literal(text: str, at: int, word: str) -> int:
    for offset, expected in enumerate(word[1:], 1):
        char = text[at + offset]
        if char != expected:
            raise GoJSONError.character(char, f"in literal {word} (expecting '{expected}')")
    return at + len(word)
