"""`schema export`: write the JSON Schema of every data shape."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps


def main(argv: list[str]) -> int:
    """Run `schema export --out DIR`; prints each file that it wrote."""
    parser = argparse.ArgumentParser(prog="python -m pytest_execgo schema", description="JSON Schemas of the project's files.")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write one <name>.schema.json a data shape")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to; it is made if missing")
    options = parser.parse_args(argv)
    for path in export_schemas(options.out):
        print(path)
    return 0


def export_schemas(out: Path) -> list[Path]:
    """Write `<name>.schema.json` for every shape into a folder, each whole or not at all, and return the paths.

    The same version always writes the same bytes. `UsageError` when the folder can't be written.
    """
    from pytest_execgo.plan.schema import MODELS, schema_of

    written = []
    for name in MODELS:
        path = out / f"{name}.schema.json"
        try:
            write_atomic(path, dumps(schema_of(name), indent=2) + "\n")
        except OSError as error:
            raise UsageError("unwritable", f"can't write {path}: {error.strerror or error}", "give a folder with --out") from error
        written.append(path)
    return written
