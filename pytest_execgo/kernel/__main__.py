"""`python -m pytest_execgo.kernel`: become the kernel."""

from __future__ import annotations

import sys

from pytest_execgo.kernel.server import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
