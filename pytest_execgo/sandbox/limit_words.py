"""Which limit a command that failed has met, by its own words: what programs say when the system refuses them something."""

from __future__ import annotations

from typing import Literal

Limit = Literal["timeout", "memory", "disk", "processes"]

_WORDS: tuple[tuple[Limit, tuple[bytes, ...]], ...] = (
    ("disk", (b"No space left on device", b"File too large", b"ENOSPC", b"StorageFull")),
    ("processes", (b"Resource temporarily unavailable", b"can't start new thread", b"Cannot fork")),
    ("memory", (b"MemoryError", b"Cannot allocate memory", b"out of memory", b"bad_alloc", b"memory allocation of")),
)


def limit_in_words(stderr: bytes) -> Limit | None:
    """Return the limit that a failed command's standard error speaks of, None for none; to be asked when nothing else tells."""
    for limit, words in _WORDS:
        if any(word in stderr for word in words):
            return limit
    return None
