"""`python -m pytest_execgo.runtime`: the runtime service."""

from __future__ import annotations

import sys

from pytest_execgo.runtime.server import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
