"""From the convenient task types to the canonical ones."""

from __future__ import annotations

from typing import Any

from pytest_execgo.kernel.golang.text import trim_space

CANONICAL_TYPES = ("cli-skills", "mcp", "os", "runtime")
OS_TOOLS = frozenset(("shell", "file", "dns", "tcp", "sleep", "noop", "http"))


def normalise(task: dict[str, Any]) -> None:
    """Turn a decoded task whose type names an os tool into `type: os` with that tool, in place; leave others."""
    kind = task["type"]
    if kind in CANONICAL_TYPES or trim_space(kind) not in OS_TOOLS:
        return
    task["tool_name"] = kind
    task["execution_category"] = "os"
    task["type"] = "os"
    if task.get("input") is None:
        task["input"] = task.get("params")
