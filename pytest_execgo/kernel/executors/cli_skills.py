"""cli-skills: a command, whichever it is; its output is what it wrote to stdout and stderr, as it came.

Its environment and the end of all that it started are those of the shell tool's commands. Where scripts are denied, so are
commands that the shell tool doesn't allow: one as good as the other would make that list pointless.
"""

from __future__ import annotations

import time
from typing import Any

from pytest_execgo.core.process import run_command
from pytest_execgo.kernel.executors.commands import bad_ending, base_name, find_program, not_found, not_started
from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed
from pytest_execgo.kernel.executors.tools.shell import ALLOWED
from pytest_execgo.kernel.golang import decoding, kinds
from pytest_execgo.kernel.golang.syntax import GoJSONError
from pytest_execgo.kernel.golang.text import decode_utf8, json_object, quote, trim_space
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.settings import Settings
from pytest_execgo.kernel.task import RunStatus

_INPUT = kinds.Struct(
    "CLISkillInput",
    "executor.CLISkillInput",
    {"command": kinds.String(), "args": kinds.Slice(kinds.String(), "[]string")},
)


class CliSkillsExecutor:
    """Runs `cli-skills` tasks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def run(self, attempt: Attempt) -> Outcome:
        """Run the command once. One that the timeout ends fails as commands do that are killed."""
        spec = attempt.spec
        given = spec.params if spec.input is None else spec.input
        try:
            wanted: dict[str, Any] = decoding.decode(given or "", _INPUT) or {}
        except GoJSONError as error:
            return _refused(f"parse cli-skills input: {error}")
        command: str = wanted.get("command") or ""
        if not trim_space(command):
            return _refused("command is required")
        base = base_name(command)
        if not (self._settings.policy.scripts or self._settings.open_shell or base in ALLOWED):
            return _refused(f"command {quote(base)} is not in the allowed whitelist")
        arguments = None if wanted.get("args") is None else [argument or "" for argument in wanted["args"]]
        started = time.time_ns()
        output, problem = await self._run(command, arguments or [], attempt.timeout)
        finished = max(time.time_ns(), started)
        return Outcome(
            RunStatus.FAILED if problem else RunStatus.SUCCESS,
            json_object(command=command, args=arguments, output=output),
            started=Moment(started),
            finished=Moment(finished),
            duration_ms=(finished - started) // 1_000_000,
            error=failed(f"cli skill command failed: {problem}") if problem else None,
        )

    async def close(self) -> None:
        """Nothing is held between attempts."""

    async def _run(self, command: str, arguments: list[str], timeout: float | None) -> tuple[str, str]:  # noqa: ASYNC109 - run_command keeps it
        """Return what the command wrote, and how it failed ("" if it didn't)."""
        environment = dict(self._settings.environment)
        program = find_program(command, environment)
        if not program:
            return "", not_found(command)
        try:
            outcome = await run_command([command, *arguments], env=environment, timeout=timeout, joined=True)
        except (OSError, ValueError) as error:
            return "", not_started(program, error)
        return decode_utf8(outcome.stdout), bad_ending(outcome)


def _refused(message: str) -> Outcome:
    """Build the outcome of a task whose command was not tried."""
    return Outcome(RunStatus.FAILED, None, False, error=failed(message))
