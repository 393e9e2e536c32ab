"""`python -m pytest_execgo`: the same jobs without pytest."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line in `sys.argv` and return its exit code."""
    from pytest_execgo.cli import main as cli_main

    return cli_main(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
