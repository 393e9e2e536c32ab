"""Judges multi_step_agent: whether every datum of the sources reached the brief, once, and nothing else did."""

from __future__ import annotations

import configparser
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from pytest_execgo.plan.verdict import Verdict, VerifierContext

FILES = {"ci_runs": "ci_runs.jsonl", "deployments": "deployments.csv", "operations": "operations.ini"}
MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
LEVELS = {"low": 1, "medium": 2, "high": 3, "critical": 4}


class Datum(NamedTuple):
    """One datum in the form that all sources are brought into; `at` is RFC 3339 in UTC, or None."""

    kind: str
    key: str
    at: str | None
    value: int
    unit: str
    label: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.at or 'no time'}, {self.value} {self.unit})"


def verify(context: VerifierContext) -> Verdict:
    """Follow the data from the raw sources over every hop to the text; every reason is a sentence with figures."""
    problems = [*_tampered(context), *_handed_over(context)]
    raw = _raw_sources(context, problems)
    truth: Counter[Datum] = Counter()
    rejected = 0
    for source, found in _parsed(raw).items():
        problems += _as_expected(context, source, found)
        truth.update(datum for datum in found if datum)
        rejected += found.count(None)
    problems += _collected(context, raw)
    problems += _normalised(context, truth, rejected)
    brief = _brief(context, problems)
    if brief is not None:
        problems += _brief_data(context, brief, truth, rejected)
        problems += _text(context, brief, truth, rejected)
    repeats = truth.total() - len(truth)
    return Verdict.of(problems, entries=truth.total() + rejected, records=len(truth), repeats=repeats, rejected=rejected)


def _raw_sources(context: VerifierContext, problems: list[str]) -> dict[str, str]:
    folder = context.scenario_dir / "fixtures" / "sources"
    raw = {source: (folder / name).read_text("utf-8") for source, name in FILES.items()}
    answers = [
        _mapping(context.tasks[task.id].output)
        for stage in context.plan.stages
        for task in stage.task_graph.tasks
        if task.id in context.tasks and re.search(r"/advisories/?$", str(_mapping(task.input or task.params).get("url")))
    ]
    bodies = [answer.get("body") for answer in answers if answer.get("status_code") == 200]
    if not bodies or not isinstance(bodies[-1], str):
        seen = ", ".join(str(answer.get("status_code")) for answer in answers) or "none"
        problems.append(f"none of {len(answers)} requests for the advisory feed was answered with 200 and a body (status: {seen})")
        return {**raw, "advisories": '{"advisories": []}'}
    return {**raw, "advisories": bodies[-1]}


def _parsed(raw: Mapping[str, str]) -> dict[str, list[Datum | None]]:
    """Read every source anew, by other means than the scenario's tools; None stands for an entry that is no datum."""
    ini = configparser.RawConfigParser()
    ini.read_string(raw["operations"])
    windows = [name for name in ini.sections() if name.startswith("window ")]
    return {
        "ci_runs": _each(_ci_run, [line for line in raw["ci_runs"].split("\n") if line.strip()]),
        "deployments": _each(lambda row: _deployment(row, ini["zones"]), csv.DictReader(raw["deployments"].splitlines())),
        "operations": [
            *_each(lambda pair: Datum("limit", f"limit-{pair[0]}", None, *_measure(pair[1]), pair[0]), ini["limits"].items()),
            *_each(lambda name: _window(name.split(" ")[1], ini[name], ini["zones"]), windows),
        ],
        "advisories": _each(_advisory, _entries(raw["advisories"])),
    }


def _each(read: Callable[[Any], Datum], entries: Iterable[Any]) -> list[Datum | None]:
    found: list[Datum | None] = []
    for entry in entries:
        try:
            found.append(read(entry))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            found.append(None)
    return found


def _ci_run(line: str) -> Datum:
    run = json.loads(line, parse_float=str)
    length = f"{run['duration_ms']} ms" if "duration_ms" in run else f"{run['duration_s']} s"
    return Datum("ci_run", run["run"], _utc(run["ts"]), *_measure(length), run["job"])


def _deployment(row: Mapping[str, str], zones: Mapping[str, str]) -> Datum:
    at = _utc(row["local_time"] + zones[row["zone"]])
    return Datum("deployment", row["deployment"], at, *_measure(row["duration"]), row["service"])


def _window(key: str, section: Mapping[str, str], zones: Mapping[str, str]) -> Datum:
    at = _utc(section["start"] + zones[section["zone"]])
    return Datum("maintenance", key, at, *_measure(section["length"]), section["title"])


def _advisory(entry: Mapping[str, Any]) -> Datum:
    return Datum("advisory", entry["id"], None, LEVELS[entry["severity"]], "level", entry["package"])


def _entries(body: str) -> list[Any]:
    try:
        entries = _mapping(json.loads(body)).get("advisories")
    except (ValueError, RecursionError):
        entries = None
    return entries if isinstance(entries, list) else [None]


def _utc(when: str | int) -> str:
    moment = datetime.fromisoformat(when) if isinstance(when, str) else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=when)
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{when} has no offset")
    return f"{(moment - offset).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _measure(text: str) -> tuple[int, str]:
    number, unit = text.split()
    if unit == "level":
        return int(number), "level"
    exact = Fraction(number) * MILLISECONDS[unit]
    if exact.denominator != 1:
        raise ValueError(f"{text} is no whole number of milliseconds")
    return exact.numerator, "ms"


def _as_expected(context: VerifierContext, source: str, found: Sequence[Datum | None]) -> Iterator[str]:
    for what, figure in (("entries", len(found)), ("rejected", found.count(None))):
        wanted = _mapping(context.expected.get(what)).get(source)
        if figure != wanted:
            yield f"source {source} has {figure} {what}, the scenario expects {wanted}"


def _collected(context: VerifierContext, raw: Mapping[str, str]) -> Iterator[str]:
    """First hop: some task must have put out each source whole."""
    seen = [value for task in context.tasks.values() for value in _mapping(task.output).values()]
    for source, text in raw.items():
        if text not in seen:
            yield f"no task's output holds the {len(text)} characters of the source {source} as they are"


def _normalised(context: VerifierContext, truth: Counter[Datum], rejected: int) -> Iterator[str]:
    """Second hop: the normalised records, counted as often as each was seen, are the entries of the sources."""
    outputs = [_mapping(task.output) for task in context.tasks.values()]
    outputs = [output for output in outputs if isinstance(output.get("records"), list) and "markdown" not in output]
    found: Counter[Datum] = Counter()
    for record in (record for output in outputs for record in output["records"]):
        datum, seen = _datum(record), _mapping(record).get("seen")
        if datum is None or type(seen) is not int or seen < 1:
            yield f"the normalised records hold one that is no datum: {str(record)[:120]}"
        else:
            found[datum] += seen
    yield from _difference("normalised records", truth, found)
    bad = sum(len(output["rejected"]) for output in outputs if isinstance(output.get("rejected"), list))
    if bad != rejected:
        yield f"normalisation rejected {bad} entries, {rejected} of the sources' entries can't be read"


def _difference(where: str, wanted: Counter[Datum], found: Counter[Datum]) -> Iterator[str]:
    if lost := wanted - found:
        yield f"{lost.total()} of {wanted.total()} data are lost in the {where}: {', '.join(map(str, lost))}"
    if invented := found - wanted:
        yield f"{invented.total()} of {found.total()} data in the {where} are in no source: {', '.join(map(str, invented))}"


def _brief(context: VerifierContext, problems: list[str]) -> Mapping[str, Any] | None:
    try:
        brief = json.loads((context.workspace / "out" / "brief.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the brief out/brief.json can't be read: {error}")
        return None
    if not isinstance(brief, dict):
        problems.append(f"the brief out/brief.json holds a {type(brief).__name__}, not an object")
        return None
    return brief


def _brief_data(context: VerifierContext, brief: Mapping[str, Any], truth: Counter[Datum], rejected: int) -> Iterator[str]:
    """Third hop: the merged records, their order and the figures made from them."""
    if (brief.get("run_id"), brief.get("seed")) != (context.run_id, context.seed):
        yield (
            f"the brief belongs to run {brief.get('run_id')!r} with seed {brief.get('seed')!r}, "
            f"not to this run {context.run_id!r} with seed {context.seed}"
        )
    if not any(task.output == brief for task in context.tasks.values()):
        yield f"none of the {len(context.tasks)} tasks put out what out/brief.json holds"
    records = brief.get("records") if isinstance(brief.get("records"), list) else []
    data = [_datum(record) for record in records or []]
    yield from _difference("brief's records", Counter(set(truth)), Counter(datum for datum in data if datum))
    wanted = sorted(truth, key=_order)
    if data != wanted and Counter(data) == Counter(wanted):
        at = next(i for i, (one, other) in enumerate(zip(data, wanted, strict=True)) if one != other)
        yield f"the brief's {len(data)} records are not in order of time: number {at + 1} is {data[at]}, it should be {wanted[at]}"
    over = _over(truth)
    for datum, record in zip(data, records or [], strict=True):
        if datum in over and _mapping(record).get("over_by") != over[datum]:
            yield f"the brief says that {datum} is over its limit by {_mapping(record).get('over_by')}, it is by {over[datum]}"
    for kind, figures in _totals(truth).items():
        if (claimed := _mapping(brief.get("totals")).get(kind)) != figures:
            yield f"the brief's totals of {kind} are {claimed}, recomputed from the sources they are {figures}"
    if brief.get("rejected") != rejected:
        yield f"the brief counts {brief.get('rejected')} rejected entries, there are {rejected}"


def _text(context: VerifierContext, brief: Mapping[str, Any], truth: Counter[Datum], rejected: int) -> Iterator[str]:
    """Last hop: every figure in the text belongs to the datum, or to the total, that its line is about."""
    try:
        text = (context.workspace / "out" / "brief.md").read_text("utf-8")
    except (OSError, ValueError) as error:
        yield f"the text out/brief.md can't be read: {error}"
        return
    if text != brief.get("markdown"):
        yield f"the text out/brief.md, {len(text)} characters, is not the text that out/brief.json holds"
    over, totals = _over(truth), _totals(truth)
    rows = Counter(tuple(sorted(_figures(_row(datum, over[datum])))) for datum in truth)
    sums = {kind: sorted(_figures(_sum_row(kind, figures))) for kind, figures in totals.items()}
    keys = {datum.key for datum in truth}
    counts = Counter([str(len(truth)), str(truth.total() - len(truth)), str(rejected)])
    for number, line in enumerate(text.splitlines(), start=1):
        figures, words = _figures(line), set(_words(line))
        if words & keys:
            row = tuple(sorted(figures))
            if not rows[row]:
                yield f"line {number} of the text has figures that trace to no datum: {' '.join(figures)}"
            rows[row] -= 1
        elif kinds := [kind for kind in sums if kind in words]:
            if sorted(figures) != sums[kinds[0]]:
                yield f"line {number} of the text gives {kinds[0]} the figures {' '.join(figures)}, not {' '.join(sums[kinds[0]])}"
            sums[kinds[0]] = []
        else:
            strange = [figure for figure in figures if figure not in {*counts, *_words(f"{context.run_id} {context.seed}")}]
            if strange:
                yield f"line {number} of the text has figures that trace to no datum: {' '.join(strange)}"
            counts.subtract(figure for figure in figures if figure in counts)
    if missing := [" ".join(row) for row, times in rows.items() if times > 0]:
        yield f"{len(missing)} of {len(truth)} data have no line of their own in the text: {'; '.join(missing)}"
    if missing := [figure for figure, times in counts.items() if times > 0]:
        yield f"the text does not say how many records, repeats and rejected entries there are: {', '.join(missing)} missing"
    if missing := [kind for kind, figures in sums.items() if figures]:
        yield f"{len(missing)} of {len(sums)} kinds have no line with their totals in the text: {', '.join(missing)}"


def _totals(truth: Counter[Datum]) -> dict[str, dict[str, int]]:
    over = _over(truth)
    return {
        kind: {
            "count": len(mine),
            "total": sum(datum.value for datum in mine),
            "longest": max(datum.value for datum in mine),
            "over": sum(over[datum] > 0 for datum in mine),
            "repeats": sum(truth[datum] for datum in mine) - len(mine),
        }
        for kind in sorted({datum.kind for datum in truth} - {"limit"})
        if (mine := [datum for datum in truth if datum.kind == kind])
    }


def _over(truth: Counter[Datum]) -> dict[Datum, int]:
    limits = {datum.label: datum.value for datum in truth if datum.kind == "limit"}
    return {datum: max(0, datum.value - limits.get(datum.kind, datum.value)) for datum in truth}


def _order(datum: Datum) -> tuple[bool, str, str, str, int]:
    return (datum.at is None, datum.at or "", datum.kind, datum.key, datum.value)


def _datum(record: Any) -> Datum | None:
    kind, key, at, value, unit, label = (_mapping(record).get(field) for field in Datum._fields)
    texts = [text for text in (kind, key, unit, label) if isinstance(text, str)]
    if len(texts) < 4 or type(value) is not int or not (at is None or isinstance(at, str)):
        return None
    return Datum(texts[0], texts[1], at, value, texts[2], texts[3])


def _row(datum: Datum, over_by: int) -> str:
    over = _shown(over_by, datum.unit) if over_by else ""
    return f"{datum.at} {datum.key} {datum.label} {_shown(datum.value, datum.unit)} {over}"


def _sum_row(kind: str, figures: Mapping[str, int]) -> str:
    unit = "level" if kind == "advisory" else "ms"
    total, longest = _shown(figures["total"], unit), _shown(figures["longest"], unit)
    return f"{figures['count']} {total} {longest} {figures['over']} {figures['repeats']}"


def _shown(value: int, unit: str) -> str:
    return f"{Decimal(value) / 1000:f}" if unit == "ms" else str(value)


def _words(text: str) -> list[str]:
    return [word.strip("`*.,;:()[]#") for word in re.split(r"[\s|]+", text)]


def _figures(text: str) -> list[str]:
    return [word for word in _words(text) if re.search(r"\d", word)]


def _handed_over(context: VerifierContext) -> Iterator[str]:
    """Stages may be joined by bindings only: after the first, no task names a source, and no file but the brief appears."""
    stages = context.plan.stages
    least = context.expected.get("min_stages", 1)
    if len(stages) < least:
        yield f"the plan has {len(stages)} stages, the scenario wants at least {least}"
    for stage in stages[1:]:
        if not stage.bindings:
            yield f"stage {stage.stage_id} binds nothing from the stages before it"
        for task in stage.task_graph.tasks:
            if "sources/" in json.dumps([task.input, task.params]):
                yield f"{task.id} of the later stage {stage.stage_id} names the sources, which must reach it through bindings"
    fixtures = context.scenario_dir / "fixtures"
    brought = {path.relative_to(fixtures).as_posix() for path in fixtures.rglob("*") if path.is_file()}
    present = {path.relative_to(context.workspace).as_posix() for path in context.workspace.rglob("*") if path.is_file()}
    extra = sorted(name for name in present - brought - {"out/brief.json", "out/brief.md"} if "__pycache__" not in name)
    if extra:
        yield f"{len(extra)} files beside the brief were left in the workspace: {', '.join(extra)}"


def _tampered(context: VerifierContext) -> Iterator[str]:
    fixtures = context.scenario_dir / "fixtures"
    for path in sorted(path for path in fixtures.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        there = context.workspace / path.relative_to(fixtures)
        if not there.is_file() or there.read_bytes() != path.read_bytes():
            yield f"{path.relative_to(fixtures).as_posix()} of the scenario is missing or was modified in the workspace"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
