"""The `os` executor: a table of tools."""

from __future__ import annotations

import time

from pytest_execgo.kernel.executors.executor import Attempt, Outcome, failed, timed_out
from pytest_execgo.kernel.executors.threads import Threads
from pytest_execgo.kernel.executors.tools.dns import dns
from pytest_execgo.kernel.executors.tools.file import file
from pytest_execgo.kernel.executors.tools.http import http
from pytest_execgo.kernel.executors.tools.noop import noop, say
from pytest_execgo.kernel.executors.tools.shell import shell
from pytest_execgo.kernel.executors.tools.sleep import sleep
from pytest_execgo.kernel.executors.tools.tcp import tcp
from pytest_execgo.kernel.executors.tools.tool import Tool, ToolContext, ToolError
from pytest_execgo.kernel.executors.web import Web
from pytest_execgo.kernel.golang.text import quote, trim_space
from pytest_execgo.kernel.golang.time import Moment
from pytest_execgo.kernel.settings import Settings
from pytest_execgo.kernel.task import RunStatus, TaskSpec

TOOLS: dict[str, Tool] = {
    "shell": shell,
    "file": file,
    "dns": dns,
    "tcp": tcp,
    "sleep": sleep,
    "noop": noop,
    "http": http,
}


class OsExecutor:
    """Runs the tool that a task names."""

    def __init__(self, settings: Settings, threads: Threads, web: Web) -> None:
        self._settings = settings
        self._threads = threads
        self._web = web

    async def run(self, attempt: Attempt) -> Outcome:
        """Run the tool once."""
        spec = attempt.spec
        name = trim_space(spec.tool_name) or trim_space(spec.type)
        tool = TOOLS.get(name)
        if tool is None:
            return Outcome(RunStatus.FAILED, None, False, error=failed(f"unknown os tool {quote(name)}"))
        context = ToolContext(attempt.timeout, self._settings, self._threads, self._web)
        started = time.time_ns()
        error = None
        try:
            output: str | None = await tool(spec.params, context)
        except ToolError as problem:
            output = problem.output
            error = timed_out(problem.message) if problem.late else failed(problem.message)
        finished = time.time_ns()
        return Outcome(
            RunStatus.SUCCESS if error is None else RunStatus.FAILED,
            output,
            started=Moment(started),
            finished=Moment(finished),
            duration_ms=max(0, finished - started) // 1_000_000,
            error=error,
        )

    def is_immediate(self, spec: TaskSpec) -> bool:
        """Tell whether a task is a noop."""
        return spec.tool_name == "noop"

    def at_once(self, spec: TaskSpec, now_ns: int) -> Outcome:
        """Run a noop."""
        output, error = None, None
        try:
            output = say(spec.params if spec.params is not None else spec.input)
        except ToolError as problem:
            error = failed(problem.message)
        status = RunStatus.SUCCESS if error is None else RunStatus.FAILED
        moment = Moment(now_ns)
        return Outcome(status, output, started=moment, finished=moment, error=error)

    async def close(self) -> None:
        """Nothing is held between attempts."""
