"""What our services read and answer over HTTP: JSON bodies, bounded and checked, and one shape of error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonio import dumps

if TYPE_CHECKING:
    from pydantic import ValidationError
    from starlette.requests import Request
    from starlette.responses import Response

MAX_DEPTH = 100  # levels of nesting in a body
MAX_NODES = 200_000  # values in a body
_MAX_PROBLEMS = 50
_SHOWN = 300  # characters of one problem's message; a message may quote what it was sent


class HttpError(ExecGoError):
    """An answer other than success: `status` is the HTTP status, `details` what a program may want to know."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.details = dict(details or {})

    @classmethod
    def invalid(cls, problems: Sequence[tuple[str, str]]) -> HttpError:
        """Build a 400 `invalid_input` from every problem found: (JSON path, what is wrong and what would be right)."""
        shown = [{"path": path, "message": message[:_SHOWN]} for path, message in problems]
        first = "; ".join(f"{problem['path']}: {problem['message']}" for problem in shown[:3])
        more = f" (and {len(shown) - 3} more)" if len(shown) > 3 else ""
        return cls(400, "invalid_input", f"{first}{more}", {"problems": shown})

    @classmethod
    def from_validation(cls, error: ValidationError, union_field: str = "") -> HttpError:
        """Build a 400 from what pydantic found; `union_field` names a top-level field that holds a tagged union."""
        problems = []
        for found in error.errors(include_url=False, include_input=False):
            loc = [part for part in found["loc"] if part != "[key]"]
            message = "must be an object" if found["type"] in ("model_type", "dict_type") else found["msg"]
            if found["type"].startswith("union_tag"):
                loc.append(str(found.get("ctx", {}).get("discriminator", "kind")).strip("'"))
            elif loc[:1] == [union_field]:
                del loc[1:2]  # the tag that chose the model is no part of the document's path
            problems.append((json_path(loc), message))
        return cls.invalid(problems)


def json_path(parts: Iterable[str | int]) -> str:
    """Render the way to a value in a JSON document, `$.tasks[0].id`; unusual names in brackets and quotes."""
    steps = (
        f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if part.isidentifier() else f"[{json.dumps(part[:80])}]"
        for part in parts
    )
    return "$" + "".join(steps)


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body of at most `limit` bytes; a larger one is refused with 413 and never held.

    The server discards what is still to come, so that the client can send its request to the end and see the answer.
    """
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise HttpError(413, "body_too_large", f"the body is larger than {limit} bytes", {"limit_bytes": limit})
        body += chunk
    return bytes(body)


def parse_json(raw: bytes) -> Any:
    """Parse one JSON value that can be stored and sent on safely; anything else is a 400 `HttpError` with its path.

    Refused beyond malformed text: NaN and infinities, integers beyond Python's digit limit, nesting deeper than
    `MAX_DEPTH`, more than `MAX_NODES` values, NUL characters and lone surrogates. Of equal keys the last one counts.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise HttpError.invalid([("$", f"the body is not UTF-8 (byte {error.start})")]) from None
    except json.JSONDecodeError as error:
        raise HttpError.invalid([("$", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}")]) from None
    except RecursionError:
        raise HttpError.invalid([("$", f"nested deeper than {MAX_DEPTH} levels")]) from None
    except ValueError as error:
        raise HttpError.invalid([("$", f"not JSON: {str(error).partition(';')[0]}")]) from None
    suspicious = "\\ud" in text or "\\uD" in text or "\\u0000" in text
    if suspicious or text.count("[") + text.count("{") > MAX_DEPTH or text.count(",") > MAX_NODES // 2:
        _check_values(value)
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _check_values(value: Any) -> None:
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    problems: list[tuple[str, str]] = []
    count = 0
    while waiting and len(problems) < _MAX_PROBLEMS:
        where, item = waiting.pop()
        count += 1
        if count > MAX_NODES:
            raise HttpError.invalid([("$", f"more than {MAX_NODES} values")])
        if len(where) > MAX_DEPTH:
            raise HttpError.invalid([(json_path(where[:8]), f"nested deeper than {MAX_DEPTH} levels")])
        if isinstance(item, dict):
            problems += [(json_path(where), f"a name holds {what}") for name in item if (what := _unstorable(name))]
            waiting += [((*where, name), item[name]) for name in item]
        elif isinstance(item, list):
            waiting += [((*where, index), element) for index, element in enumerate(item)]
        elif isinstance(item, str) and (what := _unstorable(item)):
            problems.append((json_path(where), f"holds {what}"))
    if problems:
        raise HttpError.invalid(problems)


def _unstorable(text: str) -> str:
    if "\0" in text:
        return "a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "a lone surrogate, which UTF-8 can't carry"
    return ""


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `value` as JSON."""
    from starlette.responses import Response

    return Response(dumps(value).encode(), status, headers, "application/json")


def error_answer(status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> Response:
    """Answer with an error: `{"error": {"code", "message", "details"}}`."""
    return json_answer({"error": {"code": code, "message": message, "details": dict(details or {})}}, status)


def exception_handlers() -> dict[Any, Callable[[Request, Any], Response]]:
    """Return the one map from exceptions to answers, for a `Starlette` app; unforeseen ones are 500 `internal`."""
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    def refused(request: Request, error: HttpError) -> Response:
        return error_answer(error.status, error.code, error.message, error.details)

    def unrouted(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_input")
        answer = error_answer(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    def gone(request: Request, error: ClientDisconnect) -> Response:
        return error_answer(400, "client_disconnected", "the request ended before its body did")

    def unforeseen(request: Request, error: Exception) -> Response:
        return error_answer(500, "internal", f"unforeseen {type(error).__name__}; the service's log tells more")

    return {HttpError: refused, HTTPException: unrouted, ClientDisconnect: gone, Exception: unforeseen}
