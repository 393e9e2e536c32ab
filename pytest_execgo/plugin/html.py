"""Our part in pytest-html: columns, links to each cell's artifacts, the sweep above the table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.reporting import columns
from pytest_execgo.reporting.summary_block import summary_block

_PAGES = ("report.html", "benchmark-summary.md")


class HtmlReport:
    """Registered where a page is asked for, in the process that reports: what workers send carries no more than properties."""

    def __init__(self, page: str, out: Path) -> None:
        from pytest_html.extras import url

        self._url: Callable[[str, str], dict[str, Any]] = url
        self._start = (Path.cwd() / Path(os.path.expandvars(page)).expanduser()).parent  # as pytest-html reads it
        self._out = out
        self._has_columns = False
        self._linked: set[str] = set()
        self._rows: set[str] = set()
        self._summary: BenchmarkSummary | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Link a cell's artifacts, once: pytest-html shows the links of a test's phases together."""
        pairs = dict(report.user_properties)
        if report.when == "teardown" and "execgo.cell_id" in pairs:
            self._rows.add(str(pairs["execgo.cell_id"]))
        result = pairs.get("execgo.result")
        if result is None or str(result) in self._linked:
            return
        self._linked.add(str(result))
        run = Path(str(result)).parent
        added = [self._url(address, name) for name, address in columns.links(run, self._start)]
        report.extras = [*getattr(report, "extras", []), *added]  # type: ignore[attr-defined] # pytest-html's

    def pytest_execgo_sweep_finished(self, summary: BenchmarkSummary) -> None:
        """Keep what stands above the table."""
        self._summary = summary

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add our columns before pytest-html's last one (the links)."""
        self._has_columns = True
        cells[-1:-1] = columns.headers()

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport | pytest.CollectReport, cells: list[str]) -> None:
        """Fill our columns, if the table has them; a deleted row has no cells, and a collector's report no properties."""
        if cells and self._has_columns:
            cells[-1:-1] = columns.cells(getattr(report, "user_properties", ()))

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Sum the sweep up above the table."""
        if self._summary is None:
            return
        folders = (self._out / "sweeps" / self._summary.sweep_id, self._out)  # its own copies outlast later sweeps
        pages = [next((folder / name for folder in folders if (folder / name).is_file()), None) for name in _PAGES]
        links = [(page.name, columns.address(page, self._start)) for page in pages if page is not None]
        prefix += summary_block(self._summary, links, [run for run in self._summary.runs if run.cell_id not in self._rows])
