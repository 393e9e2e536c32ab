"""What gates came to, in words: passed or not, the value, and the cells that decided it."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_execgo.plan.statistics import GateResult
from pytest_execgo.reporting.text import NOT_APPLICABLE, one_line

_LINE = 300  # characters


def gate_lines(gates: Sequence[GateResult]) -> list[str]:
    """Return a line for each gate, and beneath one that was not met the cells that decided it."""
    lines: list[str] = []
    for gate in gates:
        lines.append(f"gate {gate_word(gate)}  {one_line(gate.condition)}  ({gate_value(gate)})")
        lines += [f"    {one_line(line, _LINE)}" for line in gate.because]
    return lines


def gate_word(gate: GateResult) -> str:
    """Return `PASS` or `FAIL`."""
    return "PASS" if gate.passed else "FAIL"


def gate_value(gate: GateResult) -> str:
    """Return what was measured: `0.9167`; `n/a` where there was nothing to measure."""
    return NOT_APPLICABLE if gate.value is None else f"{gate.value:.6g}"
