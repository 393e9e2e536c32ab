"""JUnit, pytest-html, xdist: the same results, however they travel."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from pytest_execgo.observability.clock import parse_rfc3339

SUICIDE = """\
import os


def verify(context):
    os.kill(os.getpid(), 9)
"""


def junit_properties(project: Any) -> list[dict[str, str]]:
    tree = ElementTree.parse(project.path / "j.xml")
    return [{p.attrib["name"]: p.attrib["value"] for p in case.iter("property")} for case in tree.iter("testcase")]


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
def test_junit_and_html_carry_each_cell(project: Any, mode: list[str]) -> None:
    result = project.run_plain("--execgo-matrix", *mode, "--junitxml=j.xml", "--html=r.html", "--self-contained-html")
    result.assert_outcomes(passed=3)
    rows = junit_properties(project)
    assert {row["execgo.framework"] for row in rows} == {"langgraph", "crewai", "autogen"}
    for row in rows:
        assert row["execgo.outcome"] == "passed"
        assert float(row["execgo.wall_time_ms"]) > 0
        assert row["execgo.run_id"] in row["execgo.result"]
    page = (project.path / "r.html").read_text()
    for text in ("Scenario", "Framework", "Verdict", "Wall time", "crewai"):
        assert text in page
    assert project.summary()["totals"] | {"passed": 3, "failed": 0} == project.summary()["totals"]
    assert project.summary()["planned"] == 3
    stacks = list((project.path / "var/runs/stacks").iterdir())
    assert len(stacks) == (2 if "-n" in mode else 1)


def test_the_sweeps_clock_starts_where_pytests_own_does(project: Any) -> None:
    """What pytest does before its session starts is in neither of the two times that are told."""
    project.pytester.makeconftest(
        "import time\nimport pytest\n\n@pytest.hookimpl(trylast=True)\ndef pytest_configure(config):\n"
        "    config.rootpath.joinpath('configured').write_text(str(time.time_ns()))\n"
    )
    project.run().assert_outcomes(passed=1)
    configured = int((project.path / "configured").read_text())
    began, ended = (parse_rfc3339(project.summary()[name]) for name in ("started_at", "finished_at"))
    assert configured < began < ended
    assert project.summary()["wall_time_ms"] == (ended - began) / 1e6


def test_nothing_breaks_without_pytest_html(project: Any) -> None:
    project.run("-p", "no:html").assert_outcomes(passed=1)


def test_a_worker_that_is_killed_leaves_an_error_not_a_hole(project: Any) -> None:
    project.scenario("zz_dies", verifier=SUICIDE)
    result = project.run("-n", "1")
    result.assert_outcomes(passed=1, failed=1)
    assert project.summary()["totals"]["error"] == 1
    lost = next(row for row in project.summary()["runs"] if row["scenario_id"] == "zz_dies")
    assert lost["outcome"] == "error"
    assert "crashed" in lost["error"]


def test_a_stack_that_cannot_start_is_an_error_of_every_cell(project: Any) -> None:
    urls = [f"--execgo-{name}=http://127.0.0.1:9" for name in ("url", "runtime-url", "fixtures-url")]
    result = project.run("--execgo-backend=external", *urls)
    result.assert_outcomes(errors=1)
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*127.0.0.1:9*"])
    assert project.summary()["totals"]["error"] == 1


def test_a_stack_that_does_not_start_is_tried_once(project: Any) -> None:
    binary = project.path / "counting"
    binary.write_text("#!/bin/sh\necho x >> started\nexit 1\n")
    binary.chmod(0o755)
    result = project.run_plain("--execgo-matrix", "--execgo-backend=native", f"--execgo-bin={binary}")
    result.assert_outcomes(errors=3)
    starts = next(project.path.rglob("started")).read_text().split()
    assert len(starts) == 1


def test_a_lost_supervisor_costs_no_later_cell_and_no_summary(project: Any) -> None:
    project.pytester.makeconftest(
        """
        import os
        import signal
        from pathlib import Path

        def pytest_execgo_cell_finished(config, result):
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    mine = int(place.joinpath("stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
                    if mine and b"supervisor.py" in place.joinpath("cmdline").read_bytes():
                        os.kill(int(place.name), signal.SIGKILL)
                        os.waitid(os.P_PID, int(place.name), os.WEXITED | os.WNOWAIT)
                except OSError:
                    continue
        """
    )
    result = project.pytester.runpytest_subprocess("--execgo-matrix", "--execgo-framework=langgraph,crewai")
    result.assert_outcomes(passed=2)
    assert project.summary()["totals"]["passed"] == 2
    assert len(list((project.path / "var/runs/stacks").iterdir())) == 2


def test_results_that_nobody_reported_are_found(project: Any) -> None:
    project.pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            report.user_properties[:] = [pair for pair in report.user_properties if pair[0] != "execgo.result"]
        """
    )
    project.run("-p", "no:xdist").assert_outcomes(passed=1)
    assert project.summary()["totals"]["passed"] == 1


BROKEN_END = """\
import pytest
import pytest_execgo.wiring.reports
import pytest_execgo.wiring.sweep
from pathlib import Path
from pytest_execgo.core.errors import ExecGoError


def pytest_configure(config):
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    close = pytest_execgo.wiring.sweep.Sweep.close

    def fails(*args, **options):
        raise TypeError("no page")

    def close_badly(sweep):
        close(sweep)
        raise ExecGoError("stack_stuck", "it won't go")

    patch.setattr(pytest_execgo.wiring.reports, "write_page", fails)
    patch.setattr(pytest_execgo.wiring.sweep.Sweep, "close", close_badly)


def pytest_sessionstart():
    foreign = Path("var/runs/foreign")
    foreign.mkdir(parents=True)
    (foreign / "result.json").write_text("{")
"""


def test_what_goes_wrong_at_the_end_costs_no_summary(project: Any) -> None:
    project.pytester.makeconftest(BROKEN_END)
    result = project.run("-p", "no:xdist", "--junitxml=junit.xml", "--execgo-gate=pass_rate>=1")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "1 cell: 1 passed in *",
            "gate PASS  pass_rate>=1  (1)",
            "error: the stack was not taken down: it won't go",
            "error: not every report was written: TypeError('no page')",
        ]
    )
    assert project.summary()["totals"]["passed"] == 1
    assert 'name="execgo.sweep_id"' in (project.path / "junit.xml").read_text()
