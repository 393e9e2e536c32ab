"""Judges vuln_scan: whether the report holds exactly the expected findings, from this run's feed, and one notice was published."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pytest_execgo.plan.verdict import TaskOutcome, Verdict, VerifierContext

REPORT = "out/vulnerabilities.json"
LOCK = "project/requirements.lock"


class Finding(NamedTuple):
    """One advisory that concerns one pinned version."""

    id: str
    package: str
    version: str
    severity: str

    def __str__(self) -> str:
        return f"{self.id} in {self.package} {self.version} ({self.severity})"


def verify(context: VerifierContext) -> Verdict:
    """Judge the report, where it came from, and the notice; every reason is a sentence with figures."""
    problems = [*_tampered(context)]
    wanted = Counter(_finding(one) for one in _list(context.expected.get("findings")))
    raw, report = _read_report(context, problems)
    if report is None:
        return Verdict.of(problems, wanted=wanted.total())
    groups = _mapping(report.get("by_severity"))
    found = Counter(_finding(one) for group in groups.values() for one in _list(group))
    problems += _origin(context, report)
    problems += _compared(wanted, found)
    problems += _grouped(report, groups)
    if report.get("pins") != context.expected.get("pins"):
        problems.append(f"the report counts {report.get('pins')} pins, {LOCK} has {context.expected.get('pins')}")
    problems += _published(context, report, hashlib.sha256(raw).hexdigest())
    counts = Counter(one.severity for one in found.elements())
    return Verdict.of(problems, wanted=wanted.total(), found=found.total(), by_severity=dict(counts))


def _read_report(context: VerifierContext, problems: list[str]) -> tuple[bytes, Mapping[str, Any] | None]:
    try:
        raw = (context.workspace / REPORT).read_bytes()
        report = json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the report {REPORT} can't be read: {error}")
        return b"", None
    if not isinstance(report, dict):
        problems.append(f"the report {REPORT} holds a {type(report).__name__}, not an object")
        return raw, None
    return raw, report


def _origin(context: VerifierContext, report: Mapping[str, Any]) -> Iterator[str]:
    """The report must be of this run, put out by a task, and made from what this run fetched and found."""
    if (report.get("run_id"), report.get("seed")) != (context.run_id, context.seed):
        yield (
            f"the report belongs to run {report.get('run_id')!r} with seed {report.get('seed')!r}, "
            f"not to this run {context.run_id!r} with seed {context.seed}"
        )
    outputs = [task.output for task in context.tasks.values() if task.status == "success"]
    if not any(output == report or _mapping(output).get("report") == report for output in outputs):
        yield f"none of the {len(outputs)} successful tasks put out the report that {REPORT} holds"
    answers = [_mapping(outcome.output) for outcome in _requests(context, "GET", "advisories").values()]
    bodies = [answer["body"] for answer in answers if answer.get("status_code") == 200 and isinstance(answer.get("body"), str)]
    if not bodies:
        seen = ", ".join(str(answer.get("status_code")) for answer in answers) or "none"
        yield f"none of {len(answers)} requests for the advisory feed was answered with 200 and a body (status: {seen})"
    elif report.get("feed_sha256") not in [hashlib.sha256(body.encode()).hexdigest() for body in bodies]:
        yield f"the report was made from a feed with SHA-256 {report.get('feed_sha256')!r}, which none of {len(bodies)} answers has"
    lock = hashlib.sha256((context.scenario_dir / "fixtures" / LOCK).read_bytes()).hexdigest()
    if report.get("manifest_sha256") != lock:
        yield f"the report was made from a lock file with SHA-256 {report.get('manifest_sha256')!r}, {LOCK} has {lock}"


def _compared(wanted: Counter[Finding], found: Counter[Finding]) -> Iterator[str]:
    missing, extra = wanted - found, found - wanted
    for one in sorted(missing.elements()):
        other = next((two for two in extra if two[:3] == one[:3]), None)
        if other:
            yield f"{one.id} in {one.package} {one.version} is reported as {other.severity}, its severity is {one.severity}"
            missing -= Counter([one])
            extra -= Counter([other])
    if missing:
        yield f"{missing.total()} of {wanted.total()} expected findings are missing: {_listed(missing)}"
    twice = Counter({one: times for one, times in extra.items() if one in wanted})
    if twice:
        yield f"{twice.total()} findings are reported more than once: {_listed(twice)}"
    if extra := extra - twice:
        yield f"{extra.total()} of {found.total()} reported findings are not expected: {_listed(extra)}"


def _grouped(report: Mapping[str, Any], groups: Mapping[str, Any]) -> Iterator[str]:
    for name, group in groups.items():
        for one in (_finding(entry) for entry in _list(group)):
            if one.severity != name:
                yield f"{one} stands in the group {name!r}"
    counts = {name: len(_list(group)) for name, group in groups.items()}
    if report.get("counts") != counts:
        yield f"the report claims the counts {report.get('counts')}, its groups hold {counts}"


def _published(context: VerifierContext, report: Mapping[str, Any], digest: str) -> Iterator[str]:
    """Exactly one effect, under a key of this run, about the report as it lies in the workspace."""
    requests = _requests(context, "POST", "effects")
    effects = {str(_mapping(_json(_mapping(outcome.output).get("body"))).get("effect_id")) for outcome in requests.values()}
    if len(effects) != 1:
        yield f"{len(requests)} requests to the effect sink left {len(effects)} effects, not one"
    for name, outcome in requests.items():
        status = _mapping(outcome.output).get("status_code")
        if status not in (200, 201):
            yield f"the effect sink answered {name} with status {status}, not 201 (applied) or 200 (known already)"
        sent = _mapping(outcome.envelope.get("input") or outcome.envelope.get("params"))
        headers = {str(header).lower(): value for header, value in _mapping(sent.get("headers")).items()}
        key = headers.get("idempotency-key")
        if not str(key).startswith(context.run_id):
            yield f"{name} published under the key {key!r}, which does not begin with {context.run_id!r}"
        payload = _mapping(_mapping(_json(sent.get("body"))).get("payload"))
        if payload.get("report_sha256") != digest:
            yield f"{name} published a report with SHA-256 {payload.get('report_sha256')!r}, {REPORT} has {digest}"
        if payload.get("counts") != report.get("counts"):
            yield f"{name} published the counts {payload.get('counts')}, the report has {report.get('counts')}"


def _requests(context: VerifierContext, method: str, path: str) -> dict[str, TaskOutcome]:
    """Return the finished HTTP tasks of the plan that went to one path of a service, by id."""
    found = {}
    for task in (task for stage in context.plan.stages for task in stage.task_graph.tasks):
        params = _mapping(task.input or task.params)
        same = str(params.get("method") or "GET").upper() == method and re.search(rf"/{path}/?(\?.*)?$", str(params.get("url")))
        if same and task.id in context.tasks:
            found[task.id] = context.tasks[task.id]
    return found


def _tampered(context: VerifierContext) -> Iterator[str]:
    fixtures = context.scenario_dir / "fixtures"
    for path in sorted(path for path in fixtures.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        there = context.workspace / path.relative_to(fixtures)
        if not there.is_file() or there.read_bytes() != path.read_bytes():
            yield f"{path.relative_to(fixtures).as_posix()} of the scenario is missing or was modified in the workspace"


def _finding(entry: Any) -> Finding:
    return Finding(*(str(_mapping(entry).get(field)) for field in Finding._fields))


def _listed(findings: Iterable[Finding]) -> str:
    return ", ".join(map(str, sorted(findings)))


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
