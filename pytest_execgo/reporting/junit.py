"""What JUnit's XML says of cells and sweeps. Its strings fit into XML, and other reports are made from them, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:  # `columns` is asked in runs that have no cell, so nothing heavy is imported by all
    from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
    from pytest_execgo.plan.statistics import SweepStatistics

PREFIX = "execgo."

Pairs = Sequence[tuple[str, str]]

# Everything but XML 1.0's characters; and line breaks and tabs, which an attribute's value does not keep
_NOT_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f]")
_HEADER = '<?xml version="1.0" encoding="utf-8"?>\n'
_REASON, _REASONS = 2_000, 50


def properties(result: BenchmarkResult) -> list[tuple[str, str]]:
    """Return a run's properties, `execgo.<name>` each: which cell, how it ended, every metric that applies, its result file.

    Where they apply, also the layer and code that a failure is attributed to, and the promises that the run's history shows
    broken. Rates are 0..1, times in ms; figures have at most six decimals and no exponent. Control characters are left out.
    """
    from pytest_execgo.observability.artifacts import RESULT

    found: dict[str, object] = {
        "run_id": result.run_id,
        "cell_id": result.cell_id,
        "scenario": result.scenario_id,
        "framework": result.framework,
        "mode": result.mode,
        "chaos": result.chaos_profile,
        "repetition": result.repetition,
        "outcome": result.outcome,
        **result.metrics.model_dump(exclude_none=True),
    }
    if result.attribution is not None:
        found["attribution"] = f"{result.attribution.layer}: {result.attribution.code}"
    if result.history is not None and result.history.violations:
        found["violations"] = ", ".join(dict.fromkeys(violation.check for violation in result.history.violations))
    if result.artifacts.run_dir:
        found["result"] = PurePath(result.artifacts.run_dir) / RESULT
    return _pairs(found)


def suite_properties(summary: BenchmarkSummary) -> list[tuple[str, str]]:
    """Return a sweep's properties, `execgo.<name>` each: its id, its totals, its statistics and gates where there are any."""
    from pytest_execgo.reporting.gates import gate_value, gate_word

    found: dict[str, object] = {"sweep_id": summary.sweep_id, "wall_time_ms": summary.wall_time_ms}
    found |= {**summary.totals, "planned": summary.planned}
    if summary.statistics is not None:
        found |= _statistics(summary.statistics)
    if summary.comparison is not None:
        found["baseline"] = summary.comparison.baseline_sweep
        found["regressions"] = summary.comparison.regressions
        found["improvements"] = summary.comparison.improvements
    for number, gate in enumerate(summary.gates, 1):
        found[f"gate_{number}"] = f"{gate_word(gate)} {gate.condition} ({gate_value(gate)})"
    return _pairs({name: value for name, value in found.items() if value is not None})


def _statistics(statistics: SweepStatistics) -> dict[str, object]:
    named = ("pass_rate", "infra_error_rate", "flake_rate", "determinism_drift")
    found: dict[str, object] = {name: getattr(statistics, name) for name in named}
    if statistics.pass_interval is not None:
        interval = statistics.pass_interval
        found |= {"pass_rate_low": interval.low, "pass_rate_high": interval.high, "pass_rate_confidence": interval.confidence}
    found |= {f"pass_hat_{k}": rate for k, rate in statistics.pass_hat_k.items()}
    for name in ("recovery", "wall"):
        quantiles = getattr(statistics, f"{name}_ms")
        if quantiles is not None:
            found |= {f"{name}_p50_ms": quantiles.p50, f"{name}_p95_ms": quantiles.p95}
    return found


def junit_xml(summary: BenchmarkSummary, *, cell_properties: bool = True) -> str:
    """Render a sweep as JUnit XML without pytest: one suite, a test case a run, named by its scenario and its axes.

    `cell_properties` puts the properties of each run into its test case, which the strictest schemas forbid; those of the sweep
    are the suite's either way. Inconclusive runs are errors, as they are in pytest.
    """
    runs = summary.runs
    counts = {
        "tests": len(runs),
        "failures": sum(run.outcome == "failed" for run in runs),
        "errors": sum(run.outcome in ("error", "inconclusive") for run in runs),
    }
    said = {name: str(count) for name, count in counts.items()} | {"time": _seconds(summary.wall_time_ms)}
    root = ElementTree.Element("testsuites", {"name": "pytest-execgo", **said})
    skipped = str(sum(run.outcome == "skipped" for run in runs))
    more = {"skipped": skipped, "timestamp": _xml(summary.started_at[:19])}
    suite = ElementTree.SubElement(root, "testsuite", {"name": "pytest-execgo", **said, **more})
    suite.append(_element(suite_properties(summary)))
    for run in runs:
        took = _seconds(run.metrics.wall_time_ms or 0.0)
        name = {"classname": _xml(run.scenario_id), "name": _xml(run.cell.axes), "time": took}
        case = ElementTree.SubElement(suite, "testcase", name)
        if cell_properties:
            case.append(_element(properties(run)))
        case.extend(_outcome(run))
    ElementTree.indent(root)
    return _HEADER + ElementTree.tostring(root, encoding="unicode") + "\n"


def amended(xml: str, suite: Pairs, *, cell_properties: bool = True) -> str:
    """Return the JUnit XML that pytest wrote with our properties at its first suite.

    Without `cell_properties`, test cases lose our properties, and keep those of others. `ValueError` if this is no JUnit XML.
    """
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - pytest has just written it, and a document type it never writes
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from error
    first = root if root.tag == "testsuite" else root.find("testsuite")
    if first is None:
        raise ValueError("it has no test suite")
    there = first.find("properties")
    if there is None:
        first.insert(0, _element(suite))
    else:
        there.extend(_element(suite))
    if not cell_properties:
        for case in root.iter("testcase"):
            _strip(case)
    return _HEADER + ElementTree.tostring(root, encoding="unicode")


def _strip(case: ElementTree.Element) -> None:
    for held in case.findall("properties"):
        for pair in held.findall("property"):
            if pair.get("name", "").startswith(PREFIX):
                held.remove(pair)
        if len(held) == 0:
            case.remove(held)


def _outcome(run: BenchmarkResult) -> Iterator[ElementTree.Element]:
    from pytest_execgo.reporting.tally import NO_REASON, reasons
    from pytest_execgo.reporting.text import one_line

    if run.outcome == "passed":
        return
    said = [one_line(reason, _REASON) for reason in reasons(run)[:_REASONS]] or [NO_REASON]
    if run.outcome == "skipped":
        yield ElementTree.Element("skipped", message=_xml(said[0]))
        return
    code = run.attribution.code if run.attribution is not None else run.outcome
    tag = "failure" if run.outcome == "failed" else "error"
    element = ElementTree.Element(tag, message=_xml(f"{run.outcome}: {said[0]}"), type=_xml(one_line(code)))
    attributed = [f"attribution: {run.attribution.layer}: {one_line(code)}"] if run.attribution is not None else []
    artifacts = [f"artifacts: {one_line(run.artifacts.run_dir)}"] if run.artifacts.run_dir else []
    element.text = "\n".join(_xml(line) for line in [*said, *attributed, *artifacts])
    yield element


def _element(pairs: Pairs) -> ElementTree.Element:
    element = ElementTree.Element("properties")
    for name, value in pairs:
        ElementTree.SubElement(element, "property", name=name, value=value)
    return element


def _pairs(found: dict[str, object]) -> list[tuple[str, str]]:
    return [(f"{PREFIX}{name}", _xml(_figure(value))) for name, value in found.items()]


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.3f}"


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
