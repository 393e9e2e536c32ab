"""`python -P -m pytest_execgo.adapters.worker FRAMEWORK MARK [FOLDER…]`: plans for the process that started it."""

from __future__ import annotations

import sys

from pytest_execgo.adapters.worker.child import main

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
