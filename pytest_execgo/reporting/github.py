"""What GitHub Actions shows of a sweep: annotations (workflow commands in the log), and Markdown for the step's summary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal
from urllib.parse import quote

from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.reporting.figures import statistics_lines
from pytest_execgo.reporting.gates import gate_lines, gate_value
from pytest_execgo.reporting.markdown import escape
from pytest_execgo.reporting.tally import NO_REASON, reasons, skip_reasons, totals_line, without_sandbox
from pytest_execgo.reporting.text import counted, duration, one_line

MOST_BYTES = 1024 * 1024
"""A step's summary may have so many bytes; GitHub shows nothing of a longer one."""
_ANNOTATIONS = 10  # GitHub shows so many of each level a step
_MESSAGE = 1_000
_REASON = 500

Level = Literal["error", "warning"]


def annotation(level: Level, message: str, *, title: str, file: str | None = None) -> str:
    """Return a workflow command; nothing in its texts can end it, or begin another one."""
    given = {"file": file, "line": "1"} if file is not None else {}
    said = ",".join(f"{name}={_property(value)}" for name, value in {**given, "title": title}.items() if value is not None)
    return f"::{level} {said}::{_data(message)}"


def workflow_commands(summary: BenchmarkSummary, files: Mapping[str, str], fine: Collection[str] = ()) -> list[str]:
    """Return what is to be annotated: cells that did not pass and gates that are not met as errors, skips as one warning.

    `files` maps scenario ids to their files in the repository; `fine` are the ids of runs whose tests passed whatever came of the
    plan. There are at most ten errors, as many as GitHub shows: the last of more says how many there are.
    """
    unmet = [gate for gate in summary.gates if not gate.passed]
    errors = [annotation("error", "\n".join(gate_lines([gate])), title=f"Gate not met: {gate.condition}") for gate in unmet]
    for run in (run for run in _failing(summary) if run.run_id not in fine):
        errors.append(annotation("error", _message(run), title=f"{run.outcome}: {run.cell}", file=files.get(run.scenario_id)))
    if len(errors) > _ANNOTATIONS:
        rest = len(errors) - _ANNOTATIONS + 1
        errors[_ANNOTATIONS - 1 :] = [annotation("error", f"… and {counted(rest, 'more error')}", title=totals_line(summary))]
    skipped = [f"{counted(count, 'cell')}: {reason}" for reason, count in skip_reasons(summary.runs)]
    if not skipped:
        return errors
    head = f"{counted(summary.totals.get('skipped', 0), 'cell')} skipped"
    return [*errors, annotation("warning", "\n".join(skipped[:_ANNOTATIONS]), title=head)]


def step_summary(
    summary: BenchmarkSummary, *, files: Mapping[str, str], files_url: str | None, artifacts: str, most_bytes: int = MOST_BYTES
) -> str:
    """Render the sweep for the step's summary: totals, gates, the cells that did not pass and why, skips, where artifacts are.

    `files` maps scenario ids to their files in the repository, shown under `files_url`. What is beyond `most_bytes` is cut by
    lines, with a note; nothing is left if not even that fits.
    """
    lines = [f"## execgo: {escape(totals_line(summary), 0)}", ""]
    told = (f"in {duration(summary.wall_time_ms)}", *statistics_lines(summary), *without_sandbox(summary.runs))
    lines += [*(f"- {escape(line)}" for line in told), ""]
    if summary.gates:
        lines += ["| Gate | Value | Passed |", "|---|---:|---|"]
        lines += [f"| {escape(gate.condition)} | {gate_value(gate)} | {'✅' if gate.passed else '❌'} |" for gate in summary.gates]
        lines.append("")
    failing = _failing(summary)
    if failing:
        lines += [
            "| Cell | Outcome | Attribution | Why |",
            "|---|---|---|---|",
            *(_row(run, files, files_url) for run in failing),
            "",
        ]
    skipped = skip_reasons(summary.runs)
    if skipped:
        lines += ["| Skipped | Why |", "|---:|---|", *(f"| {count} | {escape(reason)} |" for reason, count in skipped), ""]
    return _bounded([*lines, f"Artifacts: {escape(artifacts)}", ""], most_bytes)


def _failing(summary: BenchmarkSummary) -> list[BenchmarkResult]:
    order = ("failed", "error", "inconclusive")
    return sorted((run for run in summary.runs if run.outcome in order), key=lambda run: order.index(run.outcome))


def _row(run: BenchmarkResult, files: Mapping[str, str], files_url: str | None) -> str:
    cell = escape(run.cell)
    file = files.get(run.scenario_id)
    if file is not None and files_url is not None:
        cell = f"[{cell}]({files_url}/{quote(file, errors='surrogateescape')})"
    told = f"{run.attribution.layer}: {run.attribution.code}" if run.attribution is not None else None
    return f"| {cell} | {run.outcome} | {escape(told)} | {escape(_why(run), _REASON)} |"


def _message(run: BenchmarkResult) -> str:
    lines = _why(run)[:_MESSAGE].splitlines()
    return "\n".join(map(one_line, lines))


def _why(run: BenchmarkResult) -> str:
    said = reasons(run) or ([run.attribution.message] if run.attribution is not None else [])
    return next(iter(said), NO_REASON)


def _bounded(lines: Sequence[str], most_bytes: int) -> str:
    """Return the lines as a text of at most so many bytes in UTF-8; what is cut is said."""
    text = "\n".join(lines)
    if len(text.encode()) <= most_bytes:
        return text
    note = "\n\n… cut here; benchmark-summary.md tells all\n"
    left = most_bytes - len(note.encode())
    kept: list[str] = []
    for line in lines:
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(kept) + note if kept else ""


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
