"""JUnit XML: valid for those who read it, whatever the texts in it; a sweep without pytest, and our part in what pytest wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema

from pytest_execgo.plan.history import HistoryVerdict, Violation
from pytest_execgo.plan.statistics import Comparison, GateResult, Interval, Quantiles, SweepStatistics
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.reporting.junit import amended, junit_xml, properties, suite_properties

Make = Callable[..., Any]
SCHEMAS = Path(__file__).parents[2] / "data" / "junit"
FROM_PYTEST = (
    '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" '
    'skipped="0" tests="1" time="0.100" timestamp="2030-01-01T00:00:00.123456+00:00" hostname="h">{suite}'
    '<testcase classname="scenarios.a" name="test_plan[x]" time="0.100">{case}<failure message="a&#10;b">no &lt;b&gt;\n'
    "</failure></testcase></testsuite></testsuites>"
)


def schema(family: str) -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(SCHEMAS / f"{family}.xsd")


def pairs(element: ElementTree.Element | None) -> dict[str, str]:
    return {} if element is None else {pair.attrib["name"]: pair.attrib["value"] for pair in element.iter("property")}


@pytest.fixture
def sweep(make_result: Make, make_summary: Make) -> Any:
    runs = [
        make_result(outcome="passed", verdict=Verdict(passed=True), attribution=None),
        make_result(framework="crewai"),
        make_result(framework="autogen", outcome="error", verdict=None, attribution=None, error="no stack\n  hint: see kernel.log"),
        make_result(repetition=1, outcome="inconclusive", verdict=None, attribution=None, error="nothing was hit"),
        make_result(repetition=2, outcome="skipped", verdict=None, attribution=None, error="no crewai"),
    ]
    return make_summary([], runs, cells=5, passed=1, failed=1, error=1, inconclusive=1, skipped=1)


def test_a_sweep_becomes_a_suite_with_a_case_a_run(sweep: Any) -> None:
    root = ElementTree.fromstring(junit_xml(sweep))
    (suite,) = root
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")}
    assert counts == dict(tests="5", failures="1", errors="2", skipped="1", time="8.200", timestamp="2030-01-01T00:00:00")
    assert pairs(suite.find("properties")).items() >= {("execgo.sweep_id", "sweep-1"), ("execgo.cells", "5"), ("execgo.error", "1")}
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases[:2]] == ["langgraph-replay-none-0", "crewai-replay-none-0"]
    assert {(case.get("classname"), case.get("time")) for case in cases} == {("codegen_exec", "0.120")}
    tags = [[child.tag for child in case if child.tag != "properties"] for case in cases]
    assert tags == [[], ["failure"], ["error"], ["error"], ["skipped"]]
    failure = cases[1].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("failed: tests: 2 of 5 failed", "exit_nonzero")
    assert failure.text == "tests: 2 of 5 failed\nattribution: runtime: exit_nonzero\nartifacts: var/runs/run-1"
    error = cases[2].find("error")
    assert error is not None
    assert error.get("message") == "error: no stack ⏎ hint: see kernel.log"
    assert pairs(cases[1].find("properties"))["execgo.attribution"] == "runtime: exit_nonzero"


def test_it_is_valid_for_the_older_family_and_without_case_properties_for_the_strict_one(sweep: Any) -> None:
    schema("xunit1").validate(junit_xml(sweep))
    assert not schema("xunit2").is_valid(junit_xml(sweep))
    strict = junit_xml(sweep, cell_properties=False)
    schema("xunit2").validate(strict)
    assert "execgo.sweep_id" in strict


def test_an_empty_sweep_is_valid(make_summary: Make) -> None:
    schema("xunit2").validate(junit_xml(make_summary([], [])))


def test_hostile_texts_stay_texts(hostile: str, make_result: Make, make_summary: Make) -> None:
    texts = [hostile, f"{hostile}\ufffe]]>\x0c</failure>"]
    runs = [
        make_result(verdict=Verdict(passed=False, reasons=texts), cell_id=hostile),
        make_result(outcome="skipped", verdict=None, error=texts[1]),
        make_result(outcome="error", verdict=None, error=hostile * 50_000),
    ]
    text = junit_xml(make_summary([], runs))
    schema("xunit1").validate(text)
    suite = ElementTree.fromstring(text.encode())[0]
    assert [child.tag for child in suite] == ["properties", "testcase", "testcase", "testcase"]
    assert len(text) < 100_000


def test_statistics_gates_and_the_comparison_are_the_suites(make_summary: Make) -> None:
    statistics = SweepStatistics(
        runs=12,
        pass_rate=0.75,
        pass_interval=Interval(low=0.5, high=0.9),
        infra_error_rate=0.0,
        pass_hat_k={1: 0.75, 2: 0.5},
        recovery_ms=Quantiles(count=3, p50=10.5, p90=20, p95=30, p99=40, most=50),
    )
    gates = [GateResult(condition="pass_rate>=0.9", passed=False, value=0.75), GateResult(condition="lost<=0", passed=True)]
    comparison = Comparison(baseline_sweep="before", paired=12, unpaired=0, regressions=2, improvements=1)
    summary = make_summary([], []).model_copy(
        update={"statistics": statistics, "gates": gates, "comparison": comparison, "planned": 14}
    )
    found = dict(suite_properties(summary))
    assert found.items() >= {
        ("execgo.planned", "14"),
        ("execgo.pass_rate", "0.75"),
        ("execgo.pass_rate_low", "0.5"),
        ("execgo.pass_rate_high", "0.9"),
        ("execgo.pass_rate_confidence", "0.95"),
        ("execgo.pass_hat_2", "0.5"),
        ("execgo.recovery_p50_ms", "10.5"),
        ("execgo.gate_1", "FAIL pass_rate>=0.9 (0.75)"),
        ("execgo.gate_2", "PASS lost<=0 (n/a)"),
        ("execgo.baseline", "before"),
        ("execgo.regressions", "2"),
    }
    assert "execgo.flake_rate" not in found


def test_broken_promises_are_properties(make_result: Make) -> None:
    broken = [Violation(check="lost", message="a"), Violation(check="lost", message="b"), Violation(check="zombie", message="c")]
    made = dict(properties(make_result(history=HistoryVerdict(outcome="invalid", violations=broken))))
    assert made["execgo.violations"] == "lost, zombie"


OURS = '<properties><property name="execgo.run_id" value="r" /></properties>'
THEIRS = '<properties><property name="execgo.run_id" value="r" /><property name="mine" value="1" /></properties>'


def test_the_suite_of_pytests_file_gets_our_properties() -> None:
    root = ElementTree.fromstring(amended(FROM_PYTEST.format(suite="", case=OURS), [("execgo.cells", "1")]))
    suite = root[0]
    assert suite[0].tag == "properties"
    assert pairs(suite[0]) == {"execgo.cells": "1"}
    assert pairs(suite.find("testcase/properties")) == {"execgo.run_id": "r"}
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("a\nb", "no <b>\n")
    there = '<properties><property name="ARCH" value="PPC" /></properties>'
    both = ElementTree.fromstring(amended(FROM_PYTEST.format(suite=there, case=""), [("execgo.cells", "1")]))
    assert pairs(both[0].find("properties")) == {"ARCH": "PPC", "execgo.cells": "1"}
    assert len(both[0].findall("properties")) == 1


@pytest.mark.parametrize(("case", "left"), [(OURS, {}), (THEIRS, {"mine": "1"}), ("", {})], ids=["ours", "others too", "none"])
def test_test_cases_can_go_without_our_properties(case: str, left: dict[str, str]) -> None:
    text = amended(FROM_PYTEST.format(suite="", case=case), [("execgo.cells", "1")], cell_properties=False)
    case_element = ElementTree.fromstring(text).find(".//testcase")
    assert case_element is not None
    assert pairs(case_element) == left
    assert schema("xunit2").is_valid(text) is not bool(left)


@pytest.mark.parametrize("text", ["", "<testsuites", "<testsuites/>", "<html><body/></html>", "\x00"])
def test_what_is_no_junit_xml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it (is no XML|has no test suite)"):
        amended(text, [])
