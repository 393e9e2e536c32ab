"""What an agent sends: one action, who acts, and what is to be noted with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_execgo.kernel.actions.catalogue import BY_NAME, SCHEMA_VERSION, ActionKind
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import json_string, json_strings, json_value, quote, trim_space
from pytest_execgo.kernel.submission import Refused

_STRINGS = kinds.StringMap(kinds.String(), "map[string]string")
_ACTION = kinds.Struct(
    "AgentAction",
    "adapter.AgentAction",
    {
        "kind": kinds.String(),
        "tool_name": kinds.String(),
        "input": kinds.Raw(),
        "depends_on": kinds.Slice(kinds.String(), "[]string"),
        "retry": kinds.Int(),
        "timeout": kinds.Int("int64"),
    },
)
_REQUEST = kinds.Struct(
    "AgentActionRequest",
    "adapter.AgentActionRequest",
    {
        "adapter": kinds.String(),
        "agent_id": kinds.String(),
        "session_id": kinds.String(),
        "action_id": kinds.String(),
        "action": _ACTION,
        "metadata": _STRINGS,
    },
)


class Invalid(Refused):
    """An action that can't be translated; the message is ExecGo's."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid adapter action: {reason}")


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """A decoded request. `source_kind` is the kind as sent, without white space around it; `input` is JSON text or None."""

    adapter: str
    agent_id: str
    session_id: str
    action_id: str
    metadata: Mapping[str, str]
    source_kind: str
    kind: ActionKind
    tool_name: str
    input: str | None
    depends_on: tuple[str, ...]
    retry: int
    timeout: int

    def provenance(self) -> dict[str, str]:
        """Return the notes that tasks carry: the request's metadata, then where they come from, without empty ones."""
        return merged(
            self.metadata,
            {
                "adapter_schema": SCHEMA_VERSION,
                "adapter": self.adapter,
                "action_kind": self.kind.name,
                "agent_id": self.agent_id,
                "session_id": self.session_id,
                "action_id": self.action_id,
            },
        )

    def trace(self, task_ids: list[str]) -> str:
        """Return the JSON that tells what became of the request."""
        return (
            f'{{"action_id":{json_string(self.action_id)},"adapter":{json_string(self.adapter)},'
            f'"agent_id":{json_string(self.agent_id)},"normalized_kind":{json_string(self.kind.name)},'
            f'"schema_version":"{SCHEMA_VERSION}","session_id":{json_string(self.session_id)},'
            f'"source_kind":{json_string(self.source_kind)},"task_ids":{json_strings(task_ids)}}}'
        )


def read_request(body: bytes) -> ActionRequest:
    """Decode a request and find its kind; `Refused` in ExecGo's words if it can't be."""
    try:
        given: dict[str, Any] = decoding.decode_first(body, _REQUEST) or {}
    except GoJSONError as error:
        raise Refused(f"invalid JSON: {error}") from error
    action: dict[str, Any] = given.get("action") or {}
    source_kind = trim_space(action.get("kind") or "")
    if not source_kind:
        raise Invalid("action.kind is required")
    kind = BY_NAME.get(source_kind.lower())
    if kind is None:
        raise Invalid(f"unknown action kind {quote(source_kind)}")
    return ActionRequest(
        adapter=trim_space(given.get("adapter") or "").lower() or "generic",
        agent_id=given.get("agent_id") or "",
        session_id=given.get("session_id") or "",
        action_id=given.get("action_id") or "",
        metadata={key: value or "" for key, value in (given.get("metadata") or {}).items()},
        source_kind=source_kind,
        kind=kind,
        tool_name=trim_space(action.get("tool_name") or ""),
        input=action.get("input"),
        depends_on=tuple(name or "" for name in action.get("depends_on") or ()),
        retry=action.get("retry") or 0,
        timeout=action.get("timeout") or 0,
    )


def merged(*maps: Mapping[str, str]) -> dict[str, str]:
    """Merge maps, the later winning; keys and values lose the white space around them, empty ones are left out."""
    pairs = ((trim_space(key), trim_space(value)) for one in maps for key, value in one.items())
    return {key: value for key, value in pairs if key and value}


def string_map(values: Mapping[str, str]) -> str:
    """Return a map of strings as JSON, its keys sorted."""
    return json_value(dict(values))
