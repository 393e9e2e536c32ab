"""Holds a sweep against what is demanded of it, and makes the run fail when it does not meet that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.reporting.gates import gate_lines
from pytest_execgo.wiring.baselines import Demands
from pytest_execgo.wiring.options import asked_for
from pytest_execgo.wiring.settings import Settings


class Gatekeeper:
    """The demands on the sweep of the process that reports it; on others, and on a mere collection, there are none."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Read the baseline to compare with; one that can't be used is a `pytest.UsageError`."""
        self._asked = settings.matrix or asked_for("gate", {"gate": config.getoption("execgo_gate")})
        self._lost: str | None = None
        try:
            watched = not hasattr(config, "workerinput") and not config.option.collectonly
            self.demands = Demands.of(settings) if watched else Demands()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error

    def lose(self, how: str) -> None:
        """Note how tests were lost of which nobody knows which cells they were to run, if any."""
        self._lost = self._lost or how

    def unmet(self, rest: str | None) -> str | None:
        """Return why the sweep is not at its end: the rest that is left to do, or how tests were lost."""
        return rest or self._lost

    def close(self, session: pytest.Session, summary: BenchmarkSummary, rest: str | None, problems: Sequence[str]) -> list[str]:
        """Keep a judged sweep as a baseline if it may be one; return what is to be said, and fail the run where it must.

        `problems` are what went wrong at its end: reports that later steps rely on, or a stack that may be there still.
        """
        try:
            said = self.demands.keep(summary, rest) or ""
        except UsageError as error:
            said = f"error: {error}"
            _fail(session)
        if not all(gate.passed for gate in summary.gates):
            _fail(session)
        return [*said.splitlines(), *_errors(session, problems)]

    def close_empty(self, session: pytest.Session, planned: int | None, problems: Sequence[str]) -> list[str]:
        """Fail the gates of a run that ran no cell, unless it was about other tests; return what is to be said."""
        gates = self.demands.unmet("nothing ran") if self._asked or planned else []
        if gates:
            _fail(session)
        return [*gate_lines(gates), *_errors(session, problems)]


def _errors(session: pytest.Session, problems: Sequence[str]) -> list[str]:
    if problems:
        _fail(session)
    return [f"error: {problem}" for problem in problems]


def _fail(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
