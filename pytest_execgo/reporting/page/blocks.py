"""Packs what is only looked at now and then into compressed blocks of text, each opened by itself."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from typing import Any

_ENOUGH = 64 * 1024  # bytes of JSON in a block: neighbours are alike, and a window of deflate holds 32 KiB
_LEVEL = 6


class Blocks:
    """Values as JSON in blocks of raw deflate, base64. `lines` are the blocks, `size` the characters of all of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._waiting: list[str] = []
        self._bytes = 0

    def add(self, value: Any) -> tuple[int, int]:
        """Add a value; return its block, and its place in that."""
        text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        where = (len(self.lines), len(self._waiting))
        self._waiting.append(text)
        self._bytes += len(text)
        if self._bytes >= _ENOUGH:
            self.close()
        return where

    def close(self) -> None:
        """Finish the block that is being filled."""
        if not self._waiting:
            return
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        raw = packer.compress(f"[{','.join(self._waiting)}]".encode("ascii")) + packer.flush()
        self.lines.append(b64encode(raw).decode("ascii"))
        self._waiting, self._bytes = [], 0

    @property
    def size(self) -> int:
        """Characters of all finished blocks."""
        return sum(len(line) + 1 for line in self.lines)
