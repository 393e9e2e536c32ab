"""Takes secrets out of what is written down or passed on: texts, JSON values, and streams of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from pytest_execgo.plan.provider import Secret

MASK = "***"
SHORTEST = 8
"""Shorter texts are no secrets but words (`EMPTY`, `none`), which may well stand in a plan."""


class Redactor:
    """Replaces every occurrence of some secrets by `***`, as they are and as JSON or a URL may spell them."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        texts = [text for secret in secrets if len(text := secret.reveal()) >= SHORTEST]
        spellings = {spelling for text in texts for spelling in (text, text.replace("/", "\\/"), quote(text, safe=""))}
        self._spellings = sorted((spelling.encode() for spelling in spellings), key=len, reverse=True)
        self._found = re.compile(b"|".join(map(re.escape, self._spellings))) if spellings else None

    def __repr__(self) -> str:
        return f"Redactor({len(self._spellings)} spellings)"

    def data(self, data: bytes) -> bytes:
        """Return the bytes without secrets."""
        return self._found.sub(MASK.encode(), data) if self._found is not None else data

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass") if self._found else text

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets in its texts and names."""
        if self._found is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def unfinished(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a secret."""
        longest = len(self._spellings[0]) - 1 if self._spellings else 0
        for size in range(min(longest, len(data)), 0, -1):
            if any(spelling.startswith(data[-size:]) for spelling in self._spellings):
                return size
        return 0


class RedactedStream:
    """A stream of bytes without secrets; what may be the beginning of one is held back until it is known."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes, and return those that may go on."""
        clean = self._redactor.data(self._held + data)
        size = self._redactor.unfinished(clean)
        self._held = clean[len(clean) - size :]
        return clean[: len(clean) - size]

    def end(self) -> bytes:
        """Return what was held back to the end."""
        rest, self._held = self._held, b""
        return rest
