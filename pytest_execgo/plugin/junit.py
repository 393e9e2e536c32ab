"""Our part in the JUnit XML that pytest writes: the sweep's figures at the suite; test cases without properties if asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.files import write_atomic
from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.reporting.junit import amended, suite_properties


class JunitXml:
    """Registered where JUnit XML is asked for, in the process that reports.

    Test cases have their properties from pytest, which writes what a report carries. A suite's properties must be known before
    pytest writes the file, and a sweep is summed up after; so the file is amended.
    """

    def __init__(self, file: str, cell_properties: bool) -> None:
        self._file = Path(os.path.expandvars(file)).expanduser().resolve()  # as pytest reads it
        self._cell_properties = cell_properties
        self._summary: BenchmarkSummary | None = None
        self._failure: str | None = None

    def pytest_execgo_sweep_finished(self, summary: BenchmarkSummary) -> None:
        """Keep what is to be told."""
        self._summary = summary

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Amend the file that pytest has written."""
        if self._summary is None:
            return
        try:
            if not self._file.is_file():  # reading a pipe back would wait for ever
                raise ValueError("it is no regular file")
            written = self._file.read_text("utf-8")
            write_atomic(self._file, amended(written, suite_properties(self._summary), cell_properties=self._cell_properties))
        except (OSError, ValueError) as error:
            self._failure = f"{self._file} lacks the sweep's figures: {error}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what went wrong, if anything did."""
        if self._failure is not None:
            terminalreporter.write_line(f"execgo: {self._failure}", yellow=True)
