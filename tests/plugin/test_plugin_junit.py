"""The JUnit XML that pytest writes of a sweep: the suite's figures, each cell's properties, and what schemas take."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema

SCHEMAS = Path(__file__).parents[1] / "data" / "junit"
HOSTILE = """\
from pytest_execgo import Verdict


def verify(context):
    return Verdict.of(["\\x00\\x1b[31m </failure>]]> \\ufffe \\ud800 & <b>"])
"""


def pairs(element: ElementTree.Element | None) -> dict[str, str]:
    return {} if element is None else {pair.attrib["name"]: pair.attrib["value"] for pair in element.iter("property")}


def is_valid(family: str, file: Path) -> bool:
    return xmlschema.XMLSchema(SCHEMAS / f"{family}.xsd").is_valid(file)


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
def test_the_suite_and_its_cases(project: Any, mode: list[str]) -> None:
    project.scenario("zz_hostile", verifier=HOSTILE)
    result = project.run_plain("--execgo-matrix", "--execgo-framework=langgraph,crewai", "--junitxml=j.xml", *mode)
    result.assert_outcomes(passed=2, failed=2)
    assert is_valid("xunit1", project.path / "j.xml")
    assert not is_valid("xunit2", project.path / "j.xml"), "properties of test cases are nothing for the strictest"
    (suite,) = ElementTree.parse(project.path / "j.xml").getroot()
    found = pairs(suite.find("properties"))
    sweep = project.summary()
    assert found.items() >= {
        ("execgo.sweep_id", sweep["sweep_id"]),
        ("execgo.cells", "4"),
        ("execgo.passed", "2"),
        ("execgo.failed", "2"),
        ("execgo.pass_rate", "0.5"),
    }
    assert float(found["execgo.pass_rate_low"]) < 0.5 < float(found["execgo.pass_rate_high"])
    cases = [pairs(case) for case in suite.iter("testcase")]
    assert {case["execgo.cell_id"] for case in cases} == {run["cell_id"] for run in sweep["runs"]}
    assert {case["execgo.outcome"] for case in cases} == {"passed", "failed"}
    failing = next(case for case in cases if case["execgo.outcome"] == "failed")
    assert failing["execgo.attribution"] == "verifier: verdict_failed"


@pytest.mark.parametrize(
    ("family", "how"), [("xunit1", "option"), ("xunit2", "option"), ("legacy", "ini"), ("xunit2", "environment")]
)
def test_without_properties_of_cases_it_is_valid_for_every_family(
    project: Any, family: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["--execgo-junit-properties=off"] if how == "option" else []
    ini = "execgo_junit_properties = off\n" if how == "ini" else ""
    project.pytester.makeini(f"[pytest]\njunit_family = {family}\n{ini}")
    if how == "environment":
        monkeypatch.setenv("PYTEST_EXECGO_JUNIT_PROPERTIES", "off")
    project.run("--junitxml=j.xml", "-p", "no:xdist", *said).assert_outcomes(passed=1)
    (suite,) = ElementTree.parse(project.path / "j.xml").getroot()
    assert pairs(suite.find("testcase")) == {}
    assert pairs(suite.find("properties"))["execgo.passed"] == "1"
    assert is_valid("xunit2" if family == "xunit2" else "xunit1", project.path / "j.xml")
    case = suite.find("testcase")
    assert case is not None
    assert case.get("file") == (None if family == "xunit2" else "scenarios/hello/scenario.yaml")


def test_a_cell_that_never_ran_says_so(project: Any) -> None:
    text = (project.path / "scenarios/hello/scenario.yaml").read_text().replace("seed: 7", "seed: 7\nallowed_chaos: []")
    project.scenario("hello", text=text)
    project.run("--execgo-chaos=kernel_crash", "--junitxml=j.xml").assert_outcomes(skipped=1)
    (suite,) = ElementTree.parse(project.path / "j.xml").getroot()
    assert pairs(suite.find("testcase"))["execgo.outcome"] == "skipped"
    assert pairs(suite.find("properties"))["execgo.skipped"] == "1"


def test_properties_of_others_stay(project: Any) -> None:
    project.pytester.makepyfile(
        """
        def test_mine(execgo_run, record_testsuite_property, record_property):
            record_testsuite_property("ARCH", "PPC")
        """
    )
    project.pytester.makeini("[pytest]\njunit_family = xunit1")
    result = project.run_plain(
        "-p", "no:xdist", "--junitxml=j.xml", "--execgo-framework=langgraph", "--execgo-junit-properties=off"
    )
    result.assert_outcomes(passed=1)
    (suite,) = ElementTree.parse(project.path / "j.xml").getroot()
    assert pairs(suite.find("properties")).items() >= {("ARCH", "PPC"), ("execgo.passed", "1")}


def test_a_file_that_is_none_is_left_alone_and_said(project: Any) -> None:
    os.mkfifo(project.path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((project.path / "pipe").read_text()), daemon=True)
    reader.start()
    result = project.run("--junitxml=pipe", "-p", "no:xdist")
    result.assert_outcomes(passed=1)
    reader.join(60)
    assert "execgo.run_id" in read[0]
    result.stdout.fnmatch_lines(["execgo: *pipe lacks the sweep's figures: it is no regular file"])


def test_it_is_amended_only_for_cells_and_can_be_turned_off(project: Any) -> None:
    project.run("--junitxml=j.xml", "-p", "no:execgo-junit").assert_outcomes(passed=1)
    assert "execgo.sweep_id" not in (project.path / "j.xml").read_text()
    project.pytester.makepyfile("def test_other(): pass")
    project.run_plain("--junitxml=j.xml").assert_outcomes(passed=1)
    assert "execgo" not in (project.path / "j.xml").read_text()
