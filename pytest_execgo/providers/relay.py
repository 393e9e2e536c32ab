"""Carries one request to the model and its answer back, with as many tries as are allowed, each of them written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pytest_execgo.providers.record import Body, Trial
from pytest_execgo.providers.redaction import RedactedStream
from pytest_execgo.providers.retry import RETRIED, backoff, retry_after
from pytest_execgo.providers.session import Session
from pytest_execgo.providers.upstream import Answer, Call, UpstreamFailed

_GIVEN_BACK = ("content-type", "content-encoding", "retry-after", "retry-after-ms", "x-request-id")
_GIVEN_BACK_PREFIX = "x-ratelimit-"
_CUT_FIRST_S = 1.0  # what waits past the deadline is cut; its own bound is only for when that came too early for it
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Reply(Protocol):
    """The answer to the planner. Everything raises `OSError` when the planner has gone."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin to answer."""

    def write(self, data: bytes) -> None:
        """Send bytes of the body, at once."""

    def end(self) -> None:
        """End the body."""

    def abort(self) -> None:
        """Break the answer off, such that the planner sees that it isn't whole."""

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with an error of the gateway's own."""


def relay(session: Session, call: Call, reply: Reply) -> None:
    """Answer one request: with the model's answer, its error when no try is left or worth it, or an error of the gateway's own.

    `OSError` when the planner has gone.
    """
    tries = 0
    while not session.ended:
        tries += 1
        trial = Trial(f"/v1{call.path}", Body(session.redactor.data(call.body)))
        try:
            delay = _attempt(session, call, reply, trial, tries)
        except UpstreamFailed as error:  # after the first byte: there is no way back
            trial.error = error.message if not session.ended else "cut: the planning's time is over"
            reply.abort()
            return
        except OSError as error:
            trial.error = f"the planner did not take the answer: {error.strerror or error}"
            raise
        except BaseException as error:
            trial.error = f"the gateway failed: {type(error).__name__}"
            raise
        finally:
            session.log.add(trial)
        if delay is None:
            return
        session.over.wait(delay)
    reply.refuse(504, "deadline_exceeded", "the time for this plan is over")


def _attempt(session: Session, call: Call, reply: Reply, trial: Trial, tries: int) -> float | None:
    """Try once. None: the planner has its answer; else the seconds after which to try again (0 too when the time is over)."""
    try:
        with trial.waiting():
            answer = session.upstream.ask(call, session.left() + _CUT_FIRST_S)
    except UpstreamFailed as error:
        trial.error = error.message
        if session.ended:
            return 0.0
        delay = _delay(session, tries, None)
        if delay is None:
            reply.refuse(502, error.code, error.message)
        return delay
    with answer:
        events = answer.headers.get("content-type", "").lower().startswith("text/event-stream")
        trial.begin(answer.status, events=events and "content-encoding" not in answer.headers)
        delay = _delay(session, tries, answer.headers.get("retry-after")) if answer.status in RETRIED else None
        if delay is not None:
            _note(session, answer, trial)
        elif answer.status in _REDIRECTS:
            trial.error = "a redirect, which is not followed"
            said = f"the model's service answers {answer.status}, a redirect, which is not followed: set its final address"
            reply.refuse(502, "redirect_refused", said)
        else:
            _pass_on(session, answer, reply, trial)
    return delay


def _delay(session: Session, tries: int, asked: str | None) -> float | None:
    """Return after how many seconds to try again; None when no try is left, or when the deadline would pass meanwhile."""
    if tries > session.retries:
        return None
    said = retry_after(asked)
    delay = backoff(session.backoff_s, tries) if said is None else said
    return delay if delay < session.left() else None


def _note(session: Session, answer: Answer, trial: Trial) -> None:
    """Write down an error that the planner won't see; one that breaks off is as good."""
    stream = RedactedStream(session.redactor)
    try:
        with trial.waiting():
            for chunk in answer.chunks():
                trial.feed(stream.feed(chunk))
    except UpstreamFailed as error:
        trial.error = error.message
    trial.feed(stream.end())


def _pass_on(session: Session, answer: Answer, reply: Reply, trial: Trial) -> None:
    stream = RedactedStream(session.redactor)
    kept = {name: value for name, value in answer.headers.items() if name in _GIVEN_BACK or name.startswith(_GIVEN_BACK_PREFIX)}
    reply.begin(answer.status, {name: session.redactor.text(value) for name, value in kept.items() if value.isprintable()})
    chunks = answer.chunks()
    while True:
        with trial.waiting():
            chunk = next(chunks, b"")
        if not chunk:
            break
        clean = stream.feed(chunk)
        reply.write(clean)
        trial.feed(clean)
    if session.ended:  # an end without a length looks like any other
        raise UpstreamFailed("deadline_exceeded", "the time for this plan is over")
    rest = stream.end()
    reply.write(rest)
    reply.end()
    trial.feed(rest)
