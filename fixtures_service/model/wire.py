"""The scripted model's answers as OpenAI's API writes them: one JSON object, a stream of events, or an error."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fixtures_service.model.answer import Answer
from fixtures_service.model.chat import ChatRequest, prompt_tokens, tokens
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.jsonio import dumps

MODEL = "scripted"
_PIECE = 400  # characters of text in one event
_DONE = b"data: [DONE]\n\n"
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer on its way. `identity` (hex) is the same for the same request; `fingerprint` names what was answered."""

    request: ChatRequest
    answer: Answer
    identity: str
    fingerprint: str

    @classmethod
    def of(cls, request: ChatRequest, answer: Answer, path: str, raw: bytes, fingerprint: str) -> Completion:
        """Build the completion for a request's path and body."""
        return cls(request, answer, hashlib.sha256(path.encode() + b"\0" + raw).hexdigest(), fingerprint)

    @property
    def id(self) -> str:
        """The answer's name."""
        return f"chatcmpl-{self.identity[:24]}"

    def usage(self) -> dict[str, int]:
        """Return what the exchange cost (see `tokens`)."""
        asked, answered = prompt_tokens(self.request), tokens(self.answer.text)
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}

    def document(self) -> dict[str, Any]:
        """Return the answer as one object."""
        answer = self.answer
        message: dict[str, Any] = {"role": "assistant", "content": answer.content, "refusal": answer.refusal}
        if answer.calls:
            message["tool_calls"] = [self._call(index) for index in range(len(answer.calls))]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {**self._frame("chat.completion"), "choices": [choice] if answer.choices else [], "usage": self.usage()}

    def events(self) -> Iterator[bytes]:
        """Yield the answer as server-sent events, from the role to `[DONE]`."""
        options = self.request.stream_options
        counted = options is not None and options.include_usage is True
        frame = self._frame("chat.completion.chunk")
        empty = {"usage": None} if counted else {}
        for delta, finish in self._deltas() if self.answer.choices else ():
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            yield _event({**frame, "choices": [choice], **empty})
        if counted:
            yield _event({**frame, "choices": [], "usage": self.usage()})
        yield _DONE

    def _deltas(self) -> Iterator[tuple[dict[str, Any], str | None]]:
        answer = self.answer
        yield {"role": "assistant", "content": None if answer.content is None else "", "refusal": None}, None
        for name, text in (("content", answer.content), ("refusal", answer.refusal)):
            yield from (({name: piece}, None) for piece in _pieces(text or ""))
        for index, (_, arguments) in enumerate(answer.calls):
            begun = self._call(index)
            begun["function"]["arguments"] = ""
            yield {"tool_calls": [{"index": index, **begun}]}, None
            for piece in _pieces(arguments):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None
        yield {}, answer.finish_reason

    def _call(self, index: int) -> dict[str, Any]:
        name, arguments = self.answer.calls[index]
        call_id = f"call_{self.identity[24 + index : 48 + index]}"
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": int(time.time()),
            "model": self.request.model,
            "system_fingerprint": self.fingerprint,
        }


def models() -> dict[str, Any]:
    """Return the list of models: there is one, and any other name is answered alike."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "pytest-execgo"}]}


def error_document(error: HttpError) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    kind = _TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.details.get("param"), "code": error.code}}


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + dumps(document).encode() + b"\n\n"


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
