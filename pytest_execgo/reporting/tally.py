"""How runs ended, in words that the terminal and the Markdown summaries share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary, GroupSummary
from pytest_execgo.reporting.text import counted, one_line

_REASON = 300  # characters of a skip reason
_PROFILES = 3  # names of chaos profiles beside it
_FAULT = re.compile(r" \(chaos profile '[^']*', fault \d+: [^()]*\)$")  # as `chaos.catalogue.unusable` ends its answers
NO_REASON = "no reason was given"


def group_verdicts(group: GroupSummary) -> str:
    """Say how a cell's repetitions ended: `3/3 passed`, `1/3 passed, 1 failed, 1 error`, `2 skipped`."""
    ran = group.repetitions - group.skipped
    others = [
        (group.failed, "failed"),
        (group.errors, "error" if group.errors == 1 else "errors"),
        (group.inconclusive, "inconclusive"),
        (group.skipped, "skipped"),
    ]
    parts = [f"{group.passed}/{ran} passed"] if ran else []
    return ", ".join(parts + [f"{count} {what}" for count, what in others if count])


def totals_line(summary: BenchmarkSummary) -> str:
    """Say how all cells ended: `12 cells: 10 passed, 1 failed, 1 error`; `6 of 36 planned cells: 6 passed`."""
    totals = dict(summary.totals)
    cells = totals.pop("cells", sum(totals.values()))
    names = {"error": "errors"}
    parts = [f"{count} {names.get(what, what) if count > 1 else what}" for what, count in totals.items() if count]
    of = f" of {summary.planned} planned" if summary.planned is not None and summary.planned > cells else ""
    return f"{cells}{of} {'cell' if cells == 1 and not of else 'cells'}: {', '.join(parts) or 'nothing ran'}"


def reasons(result: BenchmarkResult) -> list[str]:
    """Return why a run ended as it did, most telling first; empty when there is nothing to say."""
    judged: list[str] = []
    if result.verdict and not result.verdict.passed:
        judged = result.verdict.reasons or ["the verifier gave no reason"]
    return judged + ([result.error] if result.error else [])


def skip_reasons(runs: Sequence[BenchmarkResult]) -> list[tuple[str, int]]:
    """Return the reasons for which cells were skipped, each with how many, most frequent first.

    Reasons that differ only in the chaos profile whose fault can't be injected are one, with the profiles' names.
    """
    texts: dict[str, str] = {}
    profiles: dict[str, list[str]] = {}
    for run in runs:
        if run.outcome == "skipped":
            text = next(iter(reasons(run)), NO_REASON)
            reason = _FAULT.sub("", text)
            texts.setdefault(reason, text)
            profiles.setdefault(reason, []).append(run.chaos_profile)
    counts = [(_with_profiles(reason, texts[reason], found), len(found)) for reason, found in profiles.items()]
    return sorted(counts, key=lambda item: (-item[1], item[0]))


def plans_line(summary: BenchmarkSummary) -> str | None:
    """Say how many runs had the reference plan, which no framework made; None when none had.

    `plans: 3 of the reference plan (no recordings), 9 recordings`
    """
    counts = Counter(run.plan_source for run in summary.runs if run.plan_source is not None)
    if not counts["reference"]:
        return None
    parts = [f"{counts['reference']} of the reference plan (no recordings)"]
    parts += [counted(counts["recording"], "recording")] if counts["recording"] else []
    parts += [f"{counts['live']} live"] if counts["live"] else []
    return f"plans: {', '.join(parts)}"


def without_sandbox(runs: Sequence[BenchmarkResult]) -> list[str]:
    """Tell of the runs whose commands did not run in the sandbox that was asked for: how many, where else, why; a line each."""
    counts = Counter[str]()
    for run in runs:
        use = run.sandbox
        if use is None or use.effective == use.requested or run.outcome == "skipped":
            continue
        where = f"in {use.effective} instead" if use.effective is not None else "without it"
        reason = one_line(use.reason or NO_REASON, _REASON)
        counts[f"asked for the sandbox {use.requested} and ran {where}: {reason}"] += 1
    return [f"{counted(count, 'run')} {said}" for said, count in counts.most_common()]


def _with_profiles(reason: str, text: str, profiles: Sequence[str]) -> str:
    """Return a reason with where it held: the fault of the one profile, or the names of several."""
    names = list(dict.fromkeys(profiles))
    if text == reason or len(names) == 1:
        return one_line(text, _REASON)
    more = len(names) - _PROFILES
    listed = ", ".join(names[:_PROFILES]) + (f" and {more} more" if more > 0 else "")
    return f"{one_line(reason, _REASON)} (chaos profiles {one_line(listed, _REASON)})"
