"""The reviewer's judgement: is what it is shown a plan at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from fixtures_service.model.chat import Message

APPROVE = "APPROVE"
_MARK = '"stages"'
_READER = json.JSONDecoder()


def review(messages: Sequence[Message]) -> tuple[bool, str]:
    """Judge the newest plan in a conversation: `(True, "APPROVE")`, or False and a sentence that says what is wrong."""
    shown = [one.text for one in reversed(messages) if one.role not in ("system", "developer") and one.text.strip()]
    text = next((one for one in shown if _MARK in one), shown[0] if shown else "")
    if any(isinstance(found.get("stages"), list) and found["stages"] for found in _objects(text)):
        return True, APPROVE
    return False, f"This is no plan that can be run: {_what_is_wrong(text)}. Answer with one JSON object that has a list of stages."


def _what_is_wrong(text: str) -> str:
    start = text.find("{")
    if start < 0:
        return "there is no JSON object in it"
    try:
        _READER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return f"its JSON breaks off with {error.msg!r} at character {error.pos - start} of {len(text) - start}"
    except RecursionError:
        return "its JSON is nested too deeply"
    return "the JSON object has no list of stages"


def _objects(text: str) -> Iterator[dict[str, object]]:
    """Yield the JSON objects in a text, the outermost ones; what is in a broken one is looked at by itself."""
    at = text.find("{")
    while at >= 0:
        try:
            found, end = _READER.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            end = at + 1
        else:
            yield found
        at = text.find("{", end)
