"""Our part in a job of GitHub Actions: the step's summary, and annotations."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_execgo.plan.result import BenchmarkSummary
from pytest_execgo.plugin.texts import short_path
from pytest_execgo.reporting.github import MOST_BYTES, step_summary, workflow_commands
from pytest_execgo.wiring.github import GitHubJob
from pytest_execgo.wiring.sweep import Sweep


class GitHubReport:
    """Registered in a job of GitHub Actions, in the process that reports. Annotations are lines of the log."""

    def __init__(self, job: GitHubJob, sweep: Sweep) -> None:
        self._job = job
        self._sweep = sweep
        self._lines: list[str] = []
        self._fine: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the runs whose tests passed: a test of the user's own may want a plan to fail."""
        run_id = dict(report.user_properties).get("execgo.run_id")
        if run_id is not None and report.when == "call" and report.passed:
            self._fine.add(str(run_id))

    def pytest_execgo_sweep_finished(self, config: pytest.Config, summary: BenchmarkSummary) -> None:
        """Write the step's summary; what can't be written is said in the log."""
        places = {scenario: self._job.within(file.resolve()) for scenario, file in self._sweep.catalogue.files.items()}
        files = {scenario: place for scenario, place in places.items() if place is not None}
        self._lines = workflow_commands(summary, files, self._fine)
        if self._job.step_summary is None:
            return
        out = short_path(self._sweep.settings.out, config.invocation_params.dir)
        try:
            with self._job.step_summary.open("ab") as file:
                room = MOST_BYTES - file.tell() - 1
                text = step_summary(summary, files=files, files_url=self._job.files_url, artifacts=out, most_bytes=room)
                file.write(b"\n" + text.encode("utf-8", "replace") if text else b"")
        except OSError as error:
            self._lines.append(f"execgo: the step's summary can't be written: {error}")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the annotations, each at the start of a line."""
        for line in self._lines:
            terminalreporter.write_line(line)
