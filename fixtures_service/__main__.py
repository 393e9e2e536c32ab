"""`python -m fixtures_service`."""

from __future__ import annotations

import sys

from fixtures_service.server import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
