"""What chance decides about faults: drawn from seed, cell and fault alone, the same in every process and on every machine."""

from __future__ import annotations

import hashlib
import random


def strikes(probability: float, *, seed: int, cell_id: str, index: int) -> bool:
    """Tell whether the `index`-th fault of a profile strikes in this cell at all."""
    return _number("strikes", seed, cell_id, index) / 2**256 < probability


def source(*, seed: int, cell_id: str, index: int) -> random.Random:
    """Return the source of all that is random in the `index`-th fault of this cell."""
    return random.Random(_number("source", seed, cell_id, index))  # noqa: S311 - repeatable on purpose


def _number(what: str, seed: int, cell_id: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{what}:{seed}:{cell_id}:{index}".encode()).digest(), "big")
