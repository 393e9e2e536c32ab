"""One process's part in a run of ours: registered as a plugin when there is something for it to do."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.core.errors import ExecGoError, UsageError, VerificationFailed
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.stack import Stack
from pytest_execgo.plugin import texts
from pytest_execgo.plugin.collection import ScenarioModule, StrayScenario, amend
from pytest_execgo.plugin.configuration import build_sweep, settings_of
from pytest_execgo.plugin.gates import Gatekeeper
from pytest_execgo.plugin.properties import cell_of, cell_properties, result_properties
from pytest_execgo.plugin.recorder import Recorder
from pytest_execgo.reporting.terminal import sweep_table
from pytest_execgo.reporting.text import counted
from pytest_execgo.scenarios.catalogue import FILE_NAMES
from pytest_execgo.scenarios.verifiers import REWRITTEN
from pytest_execgo.wiring.baselines import unfinished
from pytest_execgo.wiring.closing import rerun_command, write_summary
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep
from pytest_execgo.wiring.sweep_file import finish_sweep
from pytest_execgo.wiring.traces import publish_traces
from pytest_execgo.wiring.writable import artifacts_folder

RESULT: pytest.StashKey[BenchmarkResult] = pytest.StashKey()
_RAN_THROUGH = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class CellError(ExecGoError):
    """We, or the machine, could not bring a cell to a conclusion."""


class ExecGoSession:
    """The sweep of this process, and what pytest needs to know of it."""

    def __init__(self, config: pytest.Config, settings: Settings, sweep: Sweep, opened_ns: int) -> None:
        self.config = config
        self.settings = settings
        self.sweep = sweep
        self.recorder = Recorder(config)
        self.opened_ns = opened_ns
        self._table: list[str] = []
        self._planned: int | None = None
        self._only_scenarios = False
        self._can_go_on = False
        self._is_worker = hasattr(config, "workerinput")
        self._gatekeeper = Gatekeeper(config, settings)

    @classmethod
    def create(cls, config: pytest.Config, sweep_id: str, opened_ns: int) -> Self:
        """Build the session from pytest's configuration and what other plugins add."""
        settings = settings_of(config)
        if settings.dry_run:
            config.option.collectonly = True  # for pytest and for other plugins, too, nothing is to be run or kept
        pytest.register_assert_rewrite(REWRITTEN)
        return cls(config, settings, build_sweep(config, settings, sweep_id), opened_ns)

    def enter_matrix(self) -> None:
        """Check every axis before anything is collected; without paths of the user's, collect exactly the scenarios."""
        if not self.settings.matrix:
            return
        try:
            scenarios = {cell.scenario for cell in self.sweep.cells}
            self.sweep.check_profiles()
            if not self.settings.dry_run:  # that lists what can't be had as excluded
                self.sweep.check_means()
            if not self.config.option.collectonly:
                artifacts_folder(self.settings)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
        if self.config.args_source is not pytest.Config.ArgsSource.ARGS:
            self._only_scenarios = True
            self.config.args = [str(file) for scenario, file in self.sweep.catalogue.files.items() if scenario in scenarios]

    # -- collection ---------------------------------------------------------------------------------------------------

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect a scenario's file as a module of its own."""
        if not self.settings.matrix or file_path.name not in FILE_NAMES:
            return None
        scenario = self.sweep.scenario_at(file_path)
        return (
            StrayScenario.of(parent, file_path) if scenario is None else ScenarioModule.of(parent, file_path, scenario, self.sweep)
        )

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave the folders of a scenario alone: the projects and tests in there are its data."""
        places = {file.parent for file in self.sweep.catalogue.files.values()} if self.settings.matrix else ()
        return True if collection_path.parent in places and collection_path.is_dir() else None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what can't be collected: with `--continue-on-collection-errors`, the rest runs all the same."""
        if report.failed:
            self._gatekeeper.lose(f"{report.nodeid} could not be collected")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the cells that are to be run (an xdist controller collects none; it learns the number from its workers)."""
        self._planned = sum(any(name == "execgo.cell_id" for name, _ in item.user_properties) for item in session.items)
        self.sweep.selected = self._planned

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let every report say which cell it is to run, even when the cell never ran."""
        for item in items:
            cell = cell_of(item)
            if cell is not None and "execgo_run" in getattr(item, "fixturenames", ()):
                item.user_properties.extend(cell_properties(cell))

    def pytest_report_header(self) -> list[str]:
        """Say what the matrix is."""
        if not self.settings.matrix:
            return []
        s = self.settings
        out = texts.short_path(s.out, self.config.invocation_params.dir)
        whose = "of this project" if self.sweep.own else "built in"
        lines = [f"execgo: {counted(len(self.sweep.cells), 'cell')}, scenarios {whose}, backend {s.backend}, artifacts in {out}"]
        resumption = self.sweep.resumption
        return lines if resumption is None else [*lines, f"execgo: {resumption.describe(self.sweep.cells)}"]

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
        result = item.stash.get(RESULT, None)
        own = not isinstance(item.parent, ScenarioModule)
        rerun = shlex.join(["pytest", item.nodeid]) if own else rerun_command(result, self.settings) if result else ""
        if isinstance(error, VerificationFailed | ExecGoError):
            verbosity = self.config.get_verbosity()
            report.longrepr = texts.explain(result, rerun, verbosity) if result is not None else str(error)
        elif error is not None and report.failed and result is not None:
            report.sections.append(("execgo", f"artifacts    {result.artifacts.run_dir}\nrun again    {rerun}"))
        amend(report, item, ran=result is not None)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record every report of ours (in the process that reports)."""
        if not self._is_worker:
            self.recorder.take(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn how many cells there are, when scenarios are all that is collected."""
        if self._only_scenarios:
            self._planned = len(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Record the cell that an xdist worker died with."""
        known = len(self.recorder.results)
        self.recorder.take_crash(crashitem, report, self.sweep.cells)
        if len(self.recorder.results) == known:
            self._gatekeeper.lose(f"a worker died with {crashitem}")

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """With -v, say what a passed cell took."""
        if report.when != "call" or not report.passed:
            return None
        took = dict(report.user_properties).get("execgo.wall_time_ms")
        if took is None:
            return None
        return "passed", ".", f"PASSED ({float(str(took)):.0f} ms)"

    # -- ending -------------------------------------------------------------------------------------------------------

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Take the stack down; aggregate what was recorded, unless nothing was to be run."""
        if self._is_worker or self.config.option.collectonly:
            self.sweep.close()
            return
        problems: list[str] = []
        _note(problems, "the stack was not taken down", self.sweep.close)
        resumption = self.sweep.resumption
        earlier = resumption.unasked(self.sweep.cells) if resumption is not None else ()
        self.recorder.complete(self.settings.out, self.sweep.sweep_id, self.opened_ns, earlier)
        if not self.recorder.results:
            self._table = self._gatekeeper.close_empty(session, self._planned, problems)
            return
        stopped = bool(session.shouldstop or session.shouldfail) or exitstatus not in _RAN_THROUGH
        broken_off = stopped and (self._planned is None or self.recorder.concluded < self._planned)
        planned = max(self._planned or 0, len(self.recorder.results))
        rest = self._gatekeeper.unmet(unfinished(self.recorder.concluded, planned, broken_off=broken_off))
        summary = write_summary(
            self.settings,
            self.sweep.sweep_id,
            self.recorder.results,
            started_ns=self.opened_ns,
            finished_ns=time.time_ns(),
            planned=self._planned,
            demands=self._gatekeeper.demands,
            unfinished=rest,
            problems=problems,
        )
        self._can_go_on = rest is not None
        if rest is None:
            _note(problems, "the sweep's end was not noted", self._finish)
        said = self._gatekeeper.close(session, summary, rest, problems)
        self._table = [*sweep_table(summary, texts.width_of(self.config)), *said]
        self._table += publish_traces(self.settings, summary.runs)
        self.config.hook.pytest_execgo_sweep_finished(config=self.config, summary=summary)

    def _finish(self) -> None:
        self._can_go_on = not finish_sweep(self.settings.out, self.sweep.sweep_id, self.recorder.concluded)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the sweep's table."""
        if self._table:
            terminalreporter.write_sep("=", "execgo")
            for line in self._table:
                terminalreporter.write_line(line, red=line.startswith("gate FAIL"))
        if self.recorder.results:
            where = texts.short_path(self.settings.out, self.config.invocation_params.dir)
            terminalreporter.write_line(f"report: {where}/report.html   summary: {where}/benchmark-summary.md")
        if self._can_go_on and self.settings.matrix:
            terminalreporter.write_line("not everything was run: the same command with --execgo-resume goes on from here")


def _note(problems: list[str], what: str, step: Callable[[], None]) -> None:
    """Take a step of a sweep's end; what goes wrong with it is noted, since an error there would cost the run its summary."""
    try:
        step()
    except (ExecGoError, OSError) as error:
        problems.append(f"{what}: {error}")
