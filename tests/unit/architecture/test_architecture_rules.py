"""Rules of the house that import-linter can't see."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "pytest_execgo"
MAY_READ_THE_ENVIRONMENT = (
    *("wiring/", "cli/", "plugin/entry.py", "kernel/server.py", "runtime/server.py"),
    "executors/flow_worker.py",
    "sandbox/__main__.py",
)
HAND_IT_ON = ("core/process.py", "core/containment/ladder.py")  # to a child: all of it, or its PATH


def test_only_wiring_and_entry_points_read_the_environment() -> None:
    readers = []
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            reads = (
                isinstance(node, ast.Attribute)
                and node.attr in ("environ", "environb", "getenv")
                and ast.unparse(node.value) == "os"
            )
            if reads and not name.startswith(MAY_READ_THE_ENVIRONMENT + HAND_IT_ON):
                readers.append(f"{name}:{getattr(node, 'lineno', 0)}")
    assert readers == []


def test_no_module_is_a_grab_bag() -> None:
    names = {file.stem for file in PACKAGE.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "helper", "misc", "common"}


def test_the_page_names_every_folder() -> None:
    page = (PACKAGE.parent / "docs/architecture.md").read_text()
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "bundle")}
    assert {name for name in folders if f"{name}/" not in page} == set()
