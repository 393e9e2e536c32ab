"""The `runtime` executor: hands a task to a runtime service and follows it there until it ends.

The runtime is asked with `wait=1s`: ours answers when the task ends or the second is over; others ignore it and answer at
once, and are then asked again after pauses that grow from 2 to 100 ms.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote as url_quote

from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed, timed_out
from pytest_execgo.kernel.executors.runtime_protocol import (
    Payload,
    accepted,
    build_payload,
    ended,
    is_stopping,
    refused,
    same_submission,
    task_outcome,
)
from pytest_execgo.kernel.executors.threads import Threads
from pytest_execgo.kernel.executors.tools.tool import ToolError
from pytest_execgo.kernel.executors.web import Answer, Web, WebError, in_go_words
from pytest_execgo.kernel.golang.text import decode_utf8, trim_space
from pytest_execgo.kernel.settings import RuntimeSettings
from pytest_execgo.kernel.task import TERMINAL_RUNS, RunError, RunStatus

_WAIT = 1.0  # seconds that a runtime may hold an answer
_REQUEST_TIMEOUT = 15.0
_FIRST_PAUSE, _PAUSE_GROWTH, _MAX_PAUSE = 0.002, 1.5, 0.1
_LOOK_AFTER = 0.025  # seconds after which a task that doesn't show as running is looked at
_UNREACHABLE_GRACE = 10.0  # seconds that a runtime may be away before its task counts as lost: a restart, slow stop included
_KILL_GRACE = 2.0


@dataclass(slots=True)
class _Flight:
    """One attempt on its way: the submission, then what is known of the task in the runtime.

    `lost`: an answer to it never came, or came to an earlier kernel, so that the runtime may have the task already.
    """

    payload: Payload
    lost: bool = False
    submission: asyncio.Future[Answer] | None = None
    task_id: str = ""
    seen: Outcome | None = None


class RuntimeExecutor:
    """Runs tasks in one runtime service."""

    def __init__(self, settings: RuntimeSettings, threads: Threads, web: Web) -> None:
        self._settings = settings
        self._threads = threads
        self._web = web
        self._tasks_url = trim_space(settings.url.rstrip("/")) + "/api/v1/tasks"
        self._headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        self._kills: set[asyncio.Task[None]] = set()
        self._met = False  # whether the runtime has ever answered: one that never has is not waited for

    async def run(self, attempt: Attempt) -> Outcome:
        """Submit the task and wait for its end; when its timeout passes, or it is cancelled, it is killed in the runtime, too."""
        try:
            payload = build_payload(attempt.spec, self._settings, attempt.number - attempt.interruptions)
            flight = _Flight(payload, lost=attempt.interruptions > 0)
        except ToolError as problem:
            return Outcome(RunStatus.FAILED, error=RunError("invalid_input", problem.message, False, "runtime-executor"))
        try:
            async with asyncio.timeout(attempt.timeout):
                return await self._follow(flight, attempt)
        except asyncio.CancelledError:
            if attempt.cancelled():
                await asyncio.wait({self._kill_later(flight)}, timeout=_KILL_GRACE)
            raise
        except TimeoutError:
            self._kill_later(flight)
            last = flight.seen or Outcome(RunStatus.FAILED, None, False)
            return last._replace(error=timed_out())

    def withdraw(self, attempt: Attempt) -> None:
        """Have an earlier kernel's task killed in the runtime, by the id that it was given."""
        try:
            payload = build_payload(attempt.spec, self._settings, attempt.number - attempt.interruptions)
        except ToolError:  # then it was never submitted
            return
        seen = Outcome(RunStatus.ACCEPTED)  # as far as anybody knows; its handle went with the earlier kernel
        self._kill_later(_Flight(payload, lost=True, task_id=payload.task_id, seen=seen))

    async def close(self) -> None:
        """Let kills that are on their way arrive, for a moment."""
        if self._kills:
            await asyncio.wait(self._kills, timeout=_KILL_GRACE)

    async def _follow(self, flight: _Flight, attempt: Attempt) -> Outcome:
        try:
            answer = await self._submit(flight)
        except WebError as error:
            reason = in_go_words("POST", self._tasks_url, str(error))
            problem = RunError("external_failure", f"runtime submit request failed: {reason}", True, "runtime-executor")
            return Outcome(RunStatus.FAILED, error=problem)
        body = decode_utf8(answer.body)
        if 200 <= answer.status < 300:
            flight.seen, flight.task_id = accepted(body)
        elif answer.status == 409 and flight.lost and (handle := same_submission(flight.payload, body)):
            flight.seen, flight.task_id = Outcome(RunStatus.ACCEPTED, handle_id=handle), flight.payload.task_id
        else:
            return refused(answer.status, body)
        pause = _FIRST_PAUSE
        while True:
            outcome = flight.seen
            if outcome.error is not None or outcome.status in TERMINAL_RUNS:
                return ended(outcome)
            if not outcome.handle_id:
                return outcome._replace(error=failed("non-terminal runtime result missing handle_id"))
            attempt.report(outcome)
            asked = time.monotonic()
            flight.seen = await self._next(flight, attempt, outcome)
            early = time.monotonic() - asked < _WAIT * 0.95
            if early and flight.seen.error is None and flight.seen.status not in TERMINAL_RUNS:
                await asyncio.sleep(pause)
                pause = min(pause * _PAUSE_GROWTH, _MAX_PAUSE)

    async def _submit(self, flight: _Flight) -> Answer:
        """Submit, again while a runtime that was there before is away: it takes an id once, so nothing runs twice."""
        away_since: float | None = None
        while True:
            flight.submission = self._call("POST", "", body=flight.payload.text.encode())
            failure: WebError | None = None
            answer: Answer | None = None
            try:
                answer = await asyncio.shield(flight.submission)
                self._met = True
                if answer.status != 503 or not is_stopping(decode_utf8(answer.body)):
                    return answer
            except WebError as error:
                failure = error
            now = time.monotonic()
            away_since = away_since or now
            worth_it = (self._met or flight.lost) and bool(flight.payload.task_id)
            if not worth_it or now - away_since >= _UNREACHABLE_GRACE:
                if answer is not None:
                    return answer
                assert failure is not None
                raise failure
            flight.lost = flight.lost or failure is not None
            await asyncio.sleep(_MAX_PAUSE)

    async def _next(self, flight: _Flight, attempt: Attempt, last: Outcome) -> Outcome:
        """Ask what comes next of a task. While the runtime holds that answer back, look once whether the task has begun."""
        if last.status == RunStatus.RUNNING:
            return await self._ask(flight, last)
        held = asyncio.get_running_loop().create_task(self._ask(flight, last))
        try:
            await asyncio.wait({held}, timeout=_LOOK_AFTER)
            if not held.done():
                seen = await self._look(last)
                if seen is not None and not held.done():
                    flight.seen = seen
                    attempt.report(seen)
            return await held
        finally:
            held.cancel()

    async def _look(self, last: Outcome) -> Outcome | None:
        """Return how a task stands that has not ended; None when it has, or when that can't be told."""
        try:
            answer = await self._call("GET", f"/{_segment(last.handle_id)}")
        except WebError:
            return None  # the answer that is held back will tell
        outcome = task_outcome(answer.status, decode_utf8(answer.body), last)
        return None if outcome.error is not None or outcome.status in TERMINAL_RUNS else outcome

    async def _ask(self, flight: _Flight, last: Outcome) -> Outcome:
        """Ask how a task stands: by its handle, else by its id. A runtime that is away may come back within the grace."""
        refs = iter(dict.fromkeys((last.handle_id, flight.task_id or last.handle_id)))
        ref = next(refs)
        away_since: float | None = None
        while True:
            try:
                answer = await self._call("GET", f"/{_segment(ref)}?wait={_WAIT:.0f}s")
            except WebError:
                now = time.monotonic()
                away_since = away_since or now
                if now - away_since < _UNREACHABLE_GRACE:
                    await asyncio.sleep(_MAX_PAUSE)
                    continue
                answer = None
            if answer is not None and answer.status != 404:
                return task_outcome(answer.status, decode_utf8(answer.body), last)
            other = next(refs, None) if answer is not None else None
            if other is None:
                return last._replace(error=failed(f"handle not found: {last.handle_id}"))
            ref = other

    def _call(self, method: str, path: str, *, body: bytes | None = None, owner: str = "") -> asyncio.Future[Answer]:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if owner:
            headers["X-Execgo-Owner"] = owner
        url = self._tasks_url + path
        return self._threads.run(partial(self._web.request, method, url, headers=headers, body=body, timeout=_REQUEST_TIMEOUT))

    def _kill_later(self, flight: _Flight) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._kill(flight))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)
        return task

    async def _kill(self, flight: _Flight) -> None:
        """End a task in the runtime, once its submission has been answered; nobody waits for how that goes."""
        refs = [flight.seen.handle_id, flight.task_id] if flight.seen is not None else []
        if flight.seen is None and flight.submission is not None:
            refs = await self._submitted_as(flight, flight.submission)
        deadline = time.monotonic() + _UNREACHABLE_GRACE
        for ref in dict.fromkeys(filter(None, refs)):
            while True:
                try:
                    answer = await self._call("POST", f"/{_segment(ref)}/kill", owner=flight.payload.owner)
                except WebError:  # when it is back, the task goes on there unless it is told
                    if time.monotonic() > deadline:
                        return  # the task has failed already, and says so
                    await asyncio.sleep(_MAX_PAUSE)
                    continue
                break
            if answer.status != 404:
                return

    async def _submitted_as(self, flight: _Flight, submission: asyncio.Future[Answer]) -> list[str]:
        """Return by which names a task can be killed whose submission was not waited for; none when it was refused."""
        try:
            answer = await submission
        except WebError:  # its answer is lost; the id is ours if it was taken
            return [flight.payload.task_id]
        if answer.status == 409 and flight.lost:
            return [same_submission(flight.payload, decode_utf8(answer.body)) or ""]
        if not 200 <= answer.status < 300:
            return []
        outcome, task_id = accepted(decode_utf8(answer.body))
        return [outcome.handle_id, task_id]


def _segment(text: str) -> str:
    encoded = url_quote(text, safe="")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded
