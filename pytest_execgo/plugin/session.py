"""One process's part in a run of ours: registered as a plugin when there is something for it to do."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import pytest

from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.core.errors import ExecGoError, UsageError, VerificationFailed
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.stack import Stack
from pytest_execgo.plugin import texts
from pytest_execgo.plugin.collection import ScenarioModule
from pytest_execgo.plugin.properties import cell_of, cell_properties, result_properties
from pytest_execgo.plugin.recorder import Recorder
from pytest_execgo.reporting.terminal import sweep_table
from pytest_execgo.wiring.options import OPTIONS, effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep, writable, write_summary

RESULT: pytest.StashKey[BenchmarkResult] = pytest.StashKey()


class CellError(ExecGoError):
    """We, or the machine, could not bring a cell to a conclusion."""


def settings_of(config: pytest.Config) -> Settings:
    """Read the configuration; a bad value is a `pytest.UsageError`."""
    given = {option.name: config.getoption(option.dest) for option in OPTIONS}
    ini = {option.name: str(config.getini(option.dest)) for option in OPTIONS if option.in_ini}
    try:
        return Settings.parse(effective(given, ini), config.rootpath)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


class ExecGoSession:
    """The sweep of this process, and what pytest needs to know of it."""

    def __init__(self, config: pytest.Config, settings: Settings, sweep: Sweep, opened_ns: int) -> None:
        self.config = config
        self.settings = settings
        self.sweep = sweep
        self.recorder = Recorder(config)
        self._opened_ns = opened_ns
        self._table: list[str] = []
        self._is_worker = hasattr(config, "workerinput")

    @classmethod
    def create(cls, config: pytest.Config, sweep_id: str, opened_ns: int) -> Self:
        """Build the session from pytest's configuration and what other plugins add."""
        settings = settings_of(config)
        worker = getattr(config, "workerinput", {}).get("workerid", "main")
        try:
            frameworks = {
                name: adapter for added in config.hook.pytest_execgo_frameworks(config=config) for name, adapter in added.items()
            }
            verifiers = {
                name: judge for added in config.hook.pytest_execgo_verifiers(config=config) for name, judge in added.items()
            }
            sweep = Sweep(settings, sweep_id=sweep_id, worker=worker, frameworks=frameworks, verifiers=verifiers)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
        return cls(config, settings, sweep, opened_ns)

    def enter_matrix(self) -> None:
        """Check every axis before anything is collected; without paths of the user's, collect exactly the scenarios."""
        if not self.settings.matrix:
            return
        try:
            scenarios = {cell.scenario for cell in self.sweep.cells}
            if not self.config.option.collectonly:
                writable(self.settings.out)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
        if self.config.args_source is not pytest.Config.ArgsSource.ARGS:
            self.config.args = [str(file) for scenario, file in self.sweep.catalogue.files.items() if scenario in scenarios]

    # -- collection ---------------------------------------------------------------------------------------------------

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect a scenario's file as a module of its own."""
        scenario = self.sweep.scenario_at(file_path) if self.settings.matrix else None
        return None if scenario is None else ScenarioModule.of(parent, file_path, scenario, self.sweep)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let every report say which cell it is of, even when the cell never ran."""
        for item in items:
            cell = cell_of(item)
            if cell is not None:
                item.user_properties.extend(cell_properties(cell))

    def pytest_report_header(self) -> list[str]:
        """Say what the matrix is."""
        if not self.settings.matrix:
            return []
        s = self.settings
        out = texts.short_path(s.out, self.config.invocation_params.dir)
        return [f"execgo: {len(self.sweep.cells)} cells, backend {s.backend}, artifacts in {out}"]

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, item: pytest.Item, cell: Cell) -> BenchmarkResult:
        """Run a cell for a test. Skips when it can't be run here; raises `CellError` when nothing could be concluded."""
        result = self.sweep.run(cell)
        item.stash[RESULT] = result
        kept = [pair for pair in item.user_properties if not pair[0].startswith("execgo.")]
        item.user_properties[:] = [*kept, *result_properties(cell, result)]
        if result.outcome == "skipped":
            pytest.skip(result.error or "the cell can't be run here")
        if result.outcome in ("error", "inconclusive"):
            raise CellError(result.outcome, result.error or f"the run ended as {result.outcome}")
        return result

    def live_stack(self) -> Stack:
        """Return the live stack of this process."""
        return self.sweep.live().stack

    def client(self) -> KernelClient:
        """Return the client of the live kernel."""
        return self.sweep.live().client

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Give a failing cell its own text in place of a traceback."""
        report = yield
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, VerificationFailed | ExecGoError):
            result = item.stash.get(RESULT, None)
            report.longrepr = texts.explain(error, result, self.settings) if result is not None else str(error)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record every report of ours (in the process that reports)."""
        if not self._is_worker:
            self.recorder.take(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Record the cell that an xdist worker died with."""
        self.recorder.take_crash(crashitem, report, self.sweep.cells if self.settings.matrix else [])

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """With -v, say what a passed cell took."""
        if report.when != "call" or not report.passed:
            return None
        took = dict(report.user_properties).get("execgo.wall_time_ms")
        if took is None:
            return None
        return "passed", ".", f"PASSED ({float(str(took)):.0f} ms)"

    # -- ending -------------------------------------------------------------------------------------------------------

    def pytest_sessionfinish(self) -> None:
        """Take the stack down; aggregate what was recorded."""
        self.sweep.close()
        if self._is_worker or not self.recorder.results:
            return
        summary = write_summary(
            self.settings, self.sweep.sweep_id, self.recorder.results, started_ns=self._opened_ns, finished_ns=time.time_ns()
        )
        self._table = sweep_table(summary)
        self.config.hook.pytest_execgo_sweep_finished(config=self.config, summary=summary)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the sweep's table."""
        if self._table:
            terminalreporter.section("execgo", sep="=")
            for line in self._table:
                terminalreporter.write_line(line)
            where = texts.short_path(self.settings.out / "benchmark-summary.md", self.config.invocation_params.dir)
            terminalreporter.write_line(f"summary: {where}")

    # -- pytest-html --------------------------------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add our columns."""
        texts.add_html_headers(cells)

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Fill our columns."""
        texts.add_html_cells(report.user_properties, cells)
