"""The kinds of actions: their names, what they are also called, and the two documents that tell an agent about them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_execgo.kernel.golang.text import json_string, json_strings

SCHEMA_VERSION = "adapter.v1"
_PROFILES = ("generic", "claudecode", "codex", "openclaw")
_NOTES = (  # ExecGo's words: clients may compare this document
    "POST /tasks remains the direct Task DSL path.",
    "POST /adapters/actions translates structured mature-agent actions into TaskGraph submissions.",
    "runtime.command and runtime.script use the runtime executor for process scheduling, resource limits, and sandbox policy.",
)


@dataclass(frozen=True, slots=True)
class ActionKind:
    """A kind of action: where it runs, what it does, the aliases that are told of, and those that are merely understood."""

    name: str
    category: str
    description: str
    aliases: tuple[str, ...] = ()
    silent_aliases: tuple[str, ...] = ()


KINDS = (
    ActionKind("os.shell", "os", "Run an allowlisted shell command or script", ("shell", "bash", "terminal.command")),
    ActionKind("os.file", "os", "Read, write, append, delete, or stat a file", ("file.read", "file.write")),
    ActionKind("os.http", "os", "Issue an HTTP request", ("http.request",)),
    ActionKind("os.dns", "os", "Perform a DNS lookup", silent_aliases=("dns",)),
    ActionKind("os.tcp", "os", "Probe a TCP endpoint", silent_aliases=("tcp",)),
    ActionKind("os.sleep", "os", "Delay execution for a duration", silent_aliases=("sleep",)),
    ActionKind("os.noop", "os", "No-op action for testing and placeholders", silent_aliases=("noop",)),
    ActionKind("runtime.command", "runtime", "Submit a command to execgo-runtime with resource and sandbox policy", ("command",)),
    ActionKind("runtime.script", "runtime", "Submit a script to execgo-runtime with resource and sandbox policy", ("script",)),
    ActionKind("mcp.call", "mcp", "Call an MCP tool through ExecGo"),
    ActionKind("cli.run", "cli-skills", "Run a local CLI skill command"),
    ActionKind("task_graph.submit", "task-dsl", "Submit a prebuilt ExecGo TaskGraph"),
)
BY_NAME = {name: kind for kind in KINDS for name in (kind.name, *kind.aliases, *kind.silent_aliases)}


def _tool(kind: ActionKind) -> str:
    aliases = f',"aliases":{json_strings(kind.aliases)}' if kind.aliases else ""
    return (
        f'{{"name":{json_string("execgo." + kind.name)},"action_kind":{json_string(kind.name)},'
        f'"category":{json_string(kind.category)},"description":{json_string(kind.description)},'
        f'"input_schema":{{"type":"object"}}{aliases}}}'
    )


CAPABILITIES = (
    f'{{"schema_version":"{SCHEMA_VERSION}","profiles":{json_strings(_PROFILES)},'
    f'"action_kinds":{json_strings([kind.name for kind in KINDS])},"compatibility_notes":{json_strings(_NOTES)}}}'
)
TOOLS = f'{{"schema_version":"{SCHEMA_VERSION}","tools":[{",".join(_tool(kind) for kind in KINDS)}]}}'
