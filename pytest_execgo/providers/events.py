"""An answer that came as server-sent events, put together again."""

from __future__ import annotations

import json
from typing import Any

from pytest_execgo.core.jsonio import loads

_ONCE = ("role", "id", "type", "name", "index")  # what each piece of a delta repeats, or only the first one says
_FRAME = ("id", "model", "created", "system_fingerprint")
_LONGEST_LINE = 1 << 20  # bytes


class _Text(list[str]):
    """A text in pieces, so that adding one costs nothing."""


class Events:
    """Puts chat completion chunks together to one `chat.completion`.

    Streams of another kind, and those of more than `limit` bytes, are not put together: `document()` is None then. `usage` is
    the last one that any event named.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._line = b""
        self._frame: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._count = 0
        self._foreign = False
        self.usage: Any = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes, wherever they were cut."""
        self._left -= len(data)
        if self._left < 0:
            self._foreign = True
            self._choices.clear()
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._line) > _LONGEST_LINE:
            self._foreign, self._line = True, b""

    def document(self) -> dict[str, Any] | None:
        """Return the answer as it would have come in one piece, with `streamed_events` beside; None if it isn't one."""
        self.feed(b"\n")
        if self._foreign or not self._count:
            return None
        whole = {
            **self._frame,
            "object": "chat.completion",
            "choices": [_joined(self._choices[index]) for index in sorted(self._choices)],
            "usage": self.usage,
            "streamed_events": self._count,
        }
        try:
            mended: dict[str, Any] = loads(json.dumps(whole))
        except (ValueError, RecursionError):  # nothing that can be written down as JSON
            return None
        return mended

    def _take(self, line: bytes) -> None:
        field, _, said = line.partition(b":")
        if field != b"data" or said.strip() == b"[DONE]":
            return
        try:
            event = json.loads(said)
        except (ValueError, RecursionError):
            self._foreign = True
            return
        if not isinstance(event, dict) or not isinstance(event.get("choices"), list):
            self._foreign = True
            return
        self._count += 1
        self.usage = event.get("usage") or self.usage
        if not self._foreign:
            self._frame |= {name: event[name] for name in _FRAME if event.get(name)}
            for choice in event["choices"]:
                if isinstance(choice, dict):
                    self._add(choice)

    def _add(self, choice: dict[str, Any]) -> None:
        said = choice.get("index")
        index = said if isinstance(said, int) else 0
        whole = self._choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
        whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
        if isinstance(choice.get("delta"), dict):
            _merge(whole["message"], choice["delta"])


def _merge(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        earlier = whole.get(name)
        if value is None or (name in _ONCE and earlier is not None):
            whole.setdefault(name, value)
        elif isinstance(value, str) and name not in _ONCE:
            whole[name] = earlier if isinstance(earlier, _Text) else _Text()
            whole[name].append(value)
        elif isinstance(value, dict):
            whole[name] = earlier if isinstance(earlier, dict) else {}
            _merge(whole[name], value)
        elif isinstance(value, list):
            whole[name] = earlier if isinstance(earlier, list) else []
            _merge_list(whole[name], value)
        else:
            whole[name] = value


def _merge_list(whole: list[Any], pieces: list[Any]) -> None:
    """Merge pieces of a list, a tool call's into the one with the same index."""
    for piece in pieces:
        if not isinstance(piece, dict):
            whole.append(piece)
            continue
        same = [one for one in whole if isinstance(one, dict) and "index" in piece and one.get("index") == piece["index"]]
        if not same:
            whole.append({})
        _merge(same[0] if same else whole[-1], piece)


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(item) for name, item in value.items()}
    return [_joined(item) for item in value] if isinstance(value, list) else value
