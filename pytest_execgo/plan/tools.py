"""The names of tools, as scenarios allow them and plans use them (the kinds of EXECGO's action adapter)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OS_TOOLS = ("shell", "file", "http", "dns", "tcp", "sleep", "noop", "code")
RUNTIME_KINDS = ("command", "script", "code", "emit", "sleep", "fail")
SANDBOXED_KINDS = ("command", "script", "code")
"""What a runtime can run in a sandbox."""

TOOLS: frozenset[str] = frozenset(
    [f"os.{name}" for name in OS_TOOLS] + [f"runtime.{kind}" for kind in RUNTIME_KINDS] + ["mcp.call", "cli.run"]
)


def tool_of(task: Mapping[str, Any]) -> str | None:
    """Return the tool that a task (a JSON object) uses, such as `os.shell` or `runtime.command`; None if there is no such tool."""
    kind = str(task.get("type", "")).strip()
    if kind in OS_TOOLS:
        return f"os.{kind}"
    if kind == "os":
        name = task.get("tool_name")
        return f"os.{name}" if name in OS_TOOLS else None
    if kind == "runtime":
        payload = task.get("input") or task.get("params")
        execution = payload.get("execution") if isinstance(payload, Mapping) else None
        name = execution.get("kind") if isinstance(execution, Mapping) else None
        return f"runtime.{name}" if name in RUNTIME_KINDS else None
    return {"mcp": "mcp.call", "cli-skills": "cli.run"}.get(kind)
