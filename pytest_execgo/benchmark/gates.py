"""Conditions that a sweep has to meet: `pass_rate>=0.95`. Parsed before anything runs, judged when all has run."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_execgo.benchmark.gate_metrics import (
    COMPARED,
    STATISTICS,
    SWEEP_METRICS,
    Measured,
    all_metrics,
    is_share,
    measured,
    repetitions_of,
)
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.result import BenchmarkSummary, RunMetrics
from pytest_execgo.plan.statistics import GateResult

OPERATORS = (">=", "<=", "==", ">", "<")
COMPLETE = "complete"
"""The condition that every gated sweep has to meet: nothing of it is left to do."""
_PARTS = re.compile(r"([A-Za-z0-9_.^]+)\s*([^A-Za-z0-9_.\s^+-]*)\s*(.*)", re.DOTALL)
_EXAMPLE = "write METRIC OPERATOR NUMBER, for example 'pass_rate>=0.95', and quote it: the shell knows > and < too"
_MOST_LINES = 8


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: a metric, one of `OPERATORS`, and the number that the metric is held against."""

    metric: str
    operator: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.limit:.12g}"

    @property
    def needs_baseline(self) -> bool:
        """Tell whether there is nothing to measure without a baseline."""
        return self.metric in COMPARED

    def met_by(self, value: float) -> bool:
        """Tell whether a value meets the condition; what differs by rounding alone is equal."""
        if math.isclose(value, self.limit, rel_tol=1e-9, abs_tol=1e-12):
            return "=" in self.operator
        return value > self.limit if self.operator.startswith(">") else value < self.limit and self.operator.startswith("<")


def parse_gates(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Parse conditions; `UsageError` names the one that can't be used, the part of it that is wrong, and what would be right."""
    return tuple(dict.fromkeys(_condition(text.strip()) for text in texts))


def evaluate(conditions: Iterable[Condition], summary: BenchmarkSummary, *, unfinished: str | None = None) -> list[GateResult]:
    """Hold a sweep, with its comparison if it has one, against conditions.

    A condition with nothing to measure is not met. `unfinished` says why a sweep is not at its end (null: it is): such a
    sweep never passes, whatever the rest of it shows.
    """
    results = [_judged(condition, summary) for condition in conditions]
    if results and unfinished is not None:
        results.insert(0, GateResult(condition=COMPLETE, passed=False, because=[unfinished]))
    return results


def _judged(condition: Condition, summary: BenchmarkSummary) -> GateResult:
    found = measured(condition.metric, summary)
    if found.value is None:
        return GateResult(condition=str(condition), passed=False, because=[found.missing])
    if condition.met_by(found.value):
        return GateResult(condition=str(condition), passed=True, value=found.value)
    return GateResult(condition=str(condition), passed=False, value=found.value, because=_deciders(condition, found))


def _deciders(condition: Condition, found: Measured) -> list[str]:
    """Name the cells that made the value what it is: those that made it too high, or too low."""
    too_low = condition.operator.startswith(">") or (condition.operator == "==" and (found.value or 0.0) < condition.limit)
    deciders = found.low() if too_low else found.high()
    lines = [decider.line for decider in deciders if decider.value is None or not condition.met_by(decider.value)]
    if len(lines) > _MOST_LINES:
        return [*lines[:_MOST_LINES], f"… and {len(lines) - _MOST_LINES} more"]
    return lines


def _condition(text: str) -> Condition:
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise UsageError("bad_gate", f"gate {text!r} does not begin with a metric", _EXAMPLE)
    metric, operator, number = parts.groups()
    _check_metric(metric, text)
    if operator not in OPERATORS:
        said = f"gate {text!r}: unknown operator {operator!r}" if operator else f"gate {text!r} has no operator"
        raise UsageError("bad_gate", said, f"allowed: {' '.join(OPERATORS)}; {_EXAMPLE}")
    return Condition(metric, operator, _limit(metric, number, text))


def _limit(metric: str, number: str, text: str) -> float:
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UsageError("bad_gate", f"gate {text!r}: {number!r} is no number", _EXAMPLE)
    if is_share(metric) and not 0 <= limit <= 1:
        raise UsageError("bad_gate", f"gate {text!r}: {metric} is a share from 0 to 1, never {number}", "95 % is 0.95")
    return limit


def _check_metric(metric: str, text: str) -> None:
    if metric in SWEEP_METRICS or repetitions_of(metric) is not None:
        return
    figure, dot, statistic = metric.rpartition(".") if "." in metric else (metric, "", "")
    statistics = ", ".join(f".{name}" for name in STATISTICS)
    if figure in RunMetrics.model_fields and statistic not in STATISTICS:
        said = f"unknown statistic {statistic!r}" if dot else f"{figure} is a figure of each run, not of the sweep"
        raise UsageError("bad_gate", f"gate {text!r}: {said}", f"write {figure} with one of: {statistics}")
    if figure in RunMetrics.model_fields:
        return
    near = difflib.get_close_matches(metric, [*all_metrics(), *RunMetrics.model_fields], n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    names = f"{', '.join(SWEEP_METRICS)}, pass_hat_K (K repetitions), and {statistics} of {', '.join(RunMetrics.model_fields)}"
    raise UsageError("bad_gate", f"gate {text!r}: unknown metric {metric!r}", f"{guess}allowed: {names}")
