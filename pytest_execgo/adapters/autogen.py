"""AutoGen: a plan is found in the last structured message of the group chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_execgo.adapters.replay import ReplayAdapter


def _from_messages(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the content of the last message of a task result (`{"messages": […]}`) whose content is a JSON object."""
    messages = raw.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, Mapping):
            return content
    return None


adapter = ReplayAdapter("autogen", "autogen-agentchat", "autogen", _from_messages)
