"""A line beneath pytest's output that says how far the sweep is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytest_execgo.reporting.progress import SweepProgress, is_cell

_ERASE_LINE, _UP = "\r\x1b[K", "\x1b[1A"


class ProgressLine:
    r"""Drawn under the line that pytest is writing, and erased before pytest writes on.

    Everything that pytest and its plugins print goes through the terminal writer's `write_raw`, which is wrapped here, so that
    nothing is ever written beside the line. Without a terminal, with colours off, on `-q` and when tests print by themselves
    (`-s`) there is no line; nor with a pytest whose writer has no `write_raw`.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._progress: SweepProgress | None = None
        self._writer: Any = None
        self._raw: Callable[..., None] | None = None
        self._column: int | None = None  # where pytest's cursor was when the line was drawn; None: no line is shown
        self._took: dict[str, float] = {}
        self._ended: dict[str, str] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """See whether there is a terminal to draw on."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not reporter.isatty or not getattr(reporter, "hasmarkup", False):
            return
        if reporter.verbosity < 0 or self._config.getoption("capture", "no") not in ("fd", "sys"):
            return
        writer = self._config.get_terminal_writer()
        raw = getattr(writer, "write_raw", None)
        if raw is not None:
            self._writer, self._raw = writer, raw
            writer.write_raw = self._write  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        """Leave the writer as it was."""
        if self._raw is not None:
            self._raw(self._erased(), flush=True)
            self._writer.write_raw = self._raw
            self._raw = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which tests are cells."""
        cells = [item.nodeid for item in session.items if any(name == "execgo.cell_id" for name, _ in item.user_properties)]
        if cells:
            self._progress = SweepProgress(cells)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn the cells from the first worker that has collected them."""
        if self._progress is None:
            self._progress = SweepProgress([test_id for test_id in ids if is_cell(test_id)])

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show what runs."""
        if self._progress is not None and self._progress.started(nodeid):
            self._draw()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test's phase came to; draw the line again under what pytest has written of it."""
        self._took[report.nodeid] = self._took.get(report.nodeid, 0.0) + report.duration
        said = dict(report.user_properties).get("execgo.outcome")
        outcome = str(said) if said is not None else "error" if report.failed else report.outcome
        if not report.passed or report.when == "call":
            self._ended.setdefault(report.nodeid, outcome)
        if report.when in ("setup", "call"):
            self._draw()
        else:  # a teardown, or a worker's crash, which has no other report
            self._end(report.nodeid)

    def _end(self, nodeid: str) -> None:
        outcome, took = self._ended.pop(nodeid, "passed"), self._took.pop(nodeid, 0.0)
        if self._progress is not None:
            self._progress.ended(nodeid, outcome, took)
            self._draw()

    def _draw(self) -> None:
        if self._raw is None or self._progress is None:
            return
        erased = self._erased()
        column, width = self._writer.width_of_current_line, self._writer.fullwidth
        if column < width:  # a line that has wrapped is no place to come back to
            self._column = column
            erased += f"\r\n{self._progress.line(width - 1, time.time())}"
        self._raw(erased, flush=True)

    def _write(self, msg: str, *, flush: bool = False) -> None:
        if self._raw is not None:
            self._raw(self._erased() + msg, flush=flush)

    def _erased(self) -> str:
        """Return what erases the line, if it is shown, and brings the cursor back."""
        if self._column is None:
            return ""
        column, self._column = self._column, None
        return f"{_ERASE_LINE}{_UP}\x1b[{column + 1}G"
