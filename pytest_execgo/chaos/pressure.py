"""A process that is a burden to its machine: `python -I -S pressure.py cpu`, or `… memory MEGABYTES`; standard library only.

It says `ready` on standard output once it weighs, ends when its standard input does (so with whoever started it, however that
ends), and last writes one JSON object about what it took: `cpu_seconds`, `resident_megabytes`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path

_STRETCH = 20_000  # turns of the busy loop between two looks at standard input: about a millisecond


def _ready() -> None:
    os.write(1, b"ready\n")


def _left_alone(timeout: float) -> bool:
    """Wait at most `timeout` seconds for standard input's end; tell whether it has come."""
    return bool(select.select([0], [], [], timeout)[0]) and not os.read(0, 4096)


def _burn() -> float | None:
    _ready()
    while not _left_alone(0):
        for _ in range(_STRETCH):
            pass
    return _resident_megabytes()


def _hold(megabytes: int) -> float | None:
    held = bytearray(megabytes * 1024 * 1024)
    for page in range(0, len(held), 4096):
        held[page] = 1
    _ready()
    while not _left_alone(60):
        pass
    return _resident_megabytes()


def _resident_megabytes() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):  # no /proc on this machine
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def main(kind: str, megabytes: int = 0) -> None:
    """Weigh until standard input ends."""
    resident = _hold(megabytes) if kind == "memory" else _burn()
    took = {"cpu_seconds": time.process_time(), "resident_megabytes": resident}
    os.write(1, json.dumps(took).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
