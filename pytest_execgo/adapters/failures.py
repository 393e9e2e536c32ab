"""What an exception of a framework or its client means: one of the codes of a planning that failed."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_execgo.core.jsonvalue import shortened
from pytest_execgo.plan.planning import PlanningFailed

_RETRYABLE = ("planner_rate_limited", "planner_unavailable", "planner_timed_out")
_BY_NAME = (  # in this order: an openai timeout is a connection error, too
    (("APITimeoutError", "OpenAITimeoutError", "TimeoutException", "ReadTimeout", "ConnectTimeout"), "planner_timed_out"),
    (("RateLimitError", "OpenAIRateLimitError"), "planner_rate_limited"),
    (
        ("AuthenticationError", "PermissionDeniedError", "OpenAIAuthenticationError", "OpenAIPermissionDeniedError"),
        "planner_unauthorized",
    ),
    (("BadRequestError", "NotFoundError", "UnprocessableEntityError", "OpenAIInvalidRequestError"), "planner_bad_request"),
    (("APIConnectionError", "OpenAIConnectionError", "InternalServerError", "ConnectError", "ReadError"), "planner_unavailable"),
    (("ContentFilterFinishReasonError", "OpenAIRefusalError"), "planner_refused"),
    (("LengthFinishReasonError", "OutputParserException"), "planner_wrong_shape"),
)
_LONGEST = 500


def failed(code: str, message: str) -> PlanningFailed:
    """Build the failure of a planner (the model, or what it said)."""
    return PlanningFailed(code, shortened(message, _LONGEST), retryable=code in _RETRYABLE)


def from_status(status: int, said: str, code: str = "") -> PlanningFailed:
    """Build the failure that an error answer of the model's service means; `code` is the one in its body."""
    message = f"the model's service answered {status}: {said}"
    if status == 429:
        return failed("planner_rate_limited", message)
    if status in (401, 403):
        return failed("planner_unauthorized", message)
    if status == 408 or (status == 504 and code == "deadline_exceeded"):
        return failed("planner_timed_out", message)
    return failed("planner_unavailable" if status >= 500 else "planner_bad_request", message)


def explained(error: BaseException) -> PlanningFailed:
    """Return what an exception means, looking at its causes, and at the text where a framework kept only that.

    An exception that says nothing about the model is the framework's own: `adapter_crashed`.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, PlanningFailed):
            return one
    names = [{kind.__name__ for kind in type(one).__mro__} for one in chain]
    first_words = {str(one).partition(":")[0] for one in chain}  # AutoGen: RuntimeError("RateLimitError: …")
    for kinds, code in _BY_NAME:
        if any(name in found for found in names for name in kinds) or first_words.intersection(kinds):
            return failed(code, _said(chain[-1]))
    return PlanningFailed("adapter_crashed", f"the framework raised {_said(error)}", layer="adapter")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _said(error: BaseException) -> str:
    text = str(error).partition("\nTraceback")[0]
    return shortened(f"{type(error).__name__}: {text}" if text else type(error).__name__, _LONGEST)
