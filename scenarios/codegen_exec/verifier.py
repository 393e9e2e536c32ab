"""Judges codegen_exec: whether this run fixed the bugs in the sources, and every test of the suite says so.

Code that shares an interpreter with its tests can make them say anything. So the tests' outcome is evidence of what the plan
did, and what the modules do is found out apart from it: a process of its own (probe.py) calls them on inputs that the plan
doesn't see, and only this process knows what is right. The process is no sandbox: it guards the verdict, not the machine.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pytest_execgo.core.process import kill_group
from pytest_execgo.plan.verdict import TaskOutcome, Verdict, VerifierContext

CLOCK_SLACK_NS = 50_000_000
"""How far a file's time may lag behind the kernel's: file systems stamp with a coarse clock."""

HARMLESS_FLAGS = {"-I", "-S", "-B", "-E", "-s", "-u"}


PROBE_SECONDS = 10.0
"""How long the modules may take for all calls, which take a few milliseconds."""

OUTPUT_LIMIT = 1 << 20  # bytes of what the probe prints that are looked at

MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function of the project, and what must come of it: `returned`, or the exception named by `raised`."""

    function: str
    arguments: list[Any]
    returned: Any = None
    raised: str | None = None

    def answered_by(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer of the probe is the right one."""
        if self.raised is not None:
            return self.raised in _strings(answer.get("raised"))
        return "returned" in answer and bool(answer["returned"] == self.returned)


def verify(context: VerifierContext) -> Verdict:
    """Judge the patched project, the test outcome and the report; every reason is a sentence with figures."""
    modules = _modules(context.workspace / "project")
    sources, original = _digests(modules), _digests(_modules(context.scenario_dir / "fixtures" / "project"))
    wanted = _tests_in(context.scenario_dir / "fixtures" / "project" / "tests")
    calls = [Call(**call) for call in context.expected["calls"]]
    calls += _made_up(random.Random(f"{context.run_id}:{context.seed}"))  # noqa: S311 - repeatable, and new for each run
    details: dict[str, Any] = {"sources": sources, "tests": len(wanted), "calls": len(calls)}
    problems = list(_tampered(context))
    report = _read_report(context, problems)
    if report is not None:
        patch, outcome = _mapping(report.get("patch")), _mapping(report.get("outcome"))
        problems += _identity(context, report, patch, outcome)
        problems += _patched(patch, sources, original)
        problems += _tested(outcome, sources, wanted)
        problems += _witnessed(context, report, patch, outcome)
        problems += _written_in_time(context)
        details["counts"] = dict(Counter(str(result) for result in _mapping(outcome.get("tests")).values()))
        details["patched"] = sorted(_mapping(patch.get("files")))
    problems += _misbehaves(modules, calls, (context.scenario_dir / "probe.py").read_text("utf-8"))  # last: it runs what is judged
    return Verdict.of(problems, **details)


def _misbehaves(modules: Mapping[str, bytes], calls: Sequence[Call], probe: str) -> Iterator[str]:
    """Call the modules in another process, and compare here."""
    alone = "the modules, called outside of their tests,"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, content in modules.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        code, printed, complaint = _run(probe, folder, json.dumps([[call.function, call.arguments] for call in calls]))
    if code is None:
        yield f"{alone} gave no answer within {PROBE_SECONDS:g} s"
    elif code != 0 or not printed:
        last = (complaint.strip() or "no error").splitlines()[-1][:200]
        yield f"{alone} ended their process with exit code {code} after {len(printed)} bytes of answers: {last}"
    else:
        try:
            answers = json.loads(printed)
            fits = isinstance(answers, list) and len(answers) == len(calls)
            reasons = list(_compared(calls, answers)) if fits else None
        except (ValueError, RecursionError):  # no JSON, or nested too deeply to be read or shown
            reasons = None
        yield from [f"{alone} printed something else than {len(calls)} answers: {printed[:100]!r}"] if reasons is None else reasons


def _run(probe: str, folder: str, request: str) -> tuple[int | None, str, str]:
    """Run the probe; return its exit code (None: it had to be killed), standard output and standard error.

    Files, not pipes: a pipe stays open for as long as any process that the modules started holds it.
    """
    argv = [sys.executable, "-I", "-S", "-B", "-c", probe]  # -c: the process isn't told where the scenario is
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answers, tempfile.TemporaryFile() as errors:
        asked.write(request.encode())
        asked.seek(0)
        process = subprocess.Popen(argv, cwd=folder, env={}, stdin=asked, stdout=answers, stderr=errors, start_new_session=True)
        deadline = time.monotonic() + PROBE_SECONDS
        timer = threading.Timer(PROBE_SECONDS, kill_group, [process.pid])
        timer.start()
        try:
            code = process.wait()
        finally:
            timer.cancel()
            kill_group(process.pid)  # whatever the modules left running
        late = time.monotonic() >= deadline
        texts = []
        for file in (answers, errors):
            file.seek(0)
            texts.append(file.read(OUTPUT_LIMIT).decode(errors="replace"))
    return None if late else code, texts[0], texts[1]


def _compared(calls: Sequence[Call], answers: Sequence[Any]) -> Iterator[str]:
    wrong: dict[str, list[str]] = {}
    for number, (call, answer) in enumerate(zip(calls, map(_mapping, answers), strict=True), 1):
        if answer.get("function") != call.function:
            yield f"call {number} was of {call.function}, the answer is for {str(answer.get('function'))[:100]!r}"
            return
        if not call.answered_by(answer):
            got = json.dumps(answer.get("returned", next(iter(_strings(answer.get("raised"))), None)))[:200]
            example = f"{json.dumps(call.arguments)[1:-1]} gives {got}, not {json.dumps(call.raised or call.returned)}"
            wrong.setdefault(call.function, []).append(example)
    asked = Counter(call.function for call in calls)
    for function, examples in wrong.items():
        yield f"{function} is wrong for {len(examples)} of {asked[function]} inputs that are in no test: {examples[0]}"


def _made_up(chance: random.Random) -> Iterator[Call]:
    """Calls with inputs made up for this run; the right answers come from how the inputs are made, not from the project."""
    for _ in range(8):
        start, length = chance.randrange(MINUTES_A_DAY), chance.randrange(1, MINUTES_A_DAY)
        pause, times = chance.randint(0, length), [_time(start), _time(start + length)]
        yield Call("clock.shift_minutes", [*times, _duration(pause)], length - pause)
        yield Call("clock.shift_minutes", [*times, _duration(length + 1 + pause)], raised="ValueError")
        cents = chance.randrange(50_000)
        yield Call("pay.to_cents", [{"decimal": f"{cents / 100:.2f}5"}], cents + 1)
        # 3 and 6 divide the minutes, so that the hours are finite decimals and any right way comes to the same
        regular, extra, rate = chance.randrange(0, 2401, 3), chance.randrange(0, 600, 6), chance.randrange(1001, 6000)
        cents = ((2 * regular + 3 * extra) * rate + 60) // 120  # half a cent rounded up, in whole numbers throughout
        yield Call("pay.gross", [regular, extra, f"{rate / 100:.2f}"], cents)
    for _ in range(4):
        number, years = chance.randint(1, 52), sorted(chance.sample(range(2001, 2040), 3))
        worked = {(year, weekday): chance.randint(600, 1500) for year in years for weekday in chance.sample(range(1, 8), 2)}
        totals = [sum(minutes for (of, _), minutes in worked.items() if of == year) for year in years]
        days = [[{"date": str(date.fromisocalendar(year, number, day))}, minutes] for (year, day), minutes in worked.items()]
        chance.shuffle(days)
        yield Call("week.minutes_by_week", [days], totals)
        regular = sum(min(total, 2400) for total in totals)
        yield Call("week.overtime", [days], [regular, sum(totals) - regular])


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _duration(minutes: int) -> str:
    return f"{minutes // 60}h{minutes % 60}m"


def _read_report(context: VerifierContext, problems: list[str]) -> Mapping[str, Any] | None:
    path = context.workspace / "out" / "report.json"
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the report out/report.json can't be read: {error}")
        return None
    if not isinstance(report, dict):
        problems.append(f"the report out/report.json holds a {type(report).__name__}, not an object")
        return None
    return report


def _tampered(context: VerifierContext) -> Iterator[str]:
    """Everything but the package's modules must be as the scenario brought it, and nothing may be added beside it."""
    fixtures = context.scenario_dir / "fixtures"
    brought = {path.relative_to(fixtures).as_posix() for path in _files(fixtures)}
    for name in sorted(brought):
        there = context.workspace / name
        if not there.is_file() or there.is_symlink():
            yield f"{name} of the scenario is missing from the workspace"
        elif not _is_source(name) and _sha256(there) != _sha256(fixtures / name):
            yield f"{name} was modified: its SHA-256 is {_sha256(there)[:12]}, the scenario's is {_sha256(fixtures / name)[:12]}"
    for folder in ("project", "tools"):
        present = {path.relative_to(context.workspace).as_posix() for path in _files(context.workspace / folder)}
        yield from (f"{name} was added to the workspace, and is no file of the scenario" for name in sorted(present - brought))


def _identity(
    context: VerifierContext, report: Mapping[str, Any], patch: Mapping[str, Any], outcome: Mapping[str, Any]
) -> Iterator[str]:
    for what, document in (("report", report), ("patch", patch), ("test outcome", outcome)):
        if document.get("run_id") != context.run_id:
            yield f"the {what} belongs to run {document.get('run_id')!r}, not to this run {context.run_id!r}"
    if report.get("seed") != context.seed:
        yield f"the report's seed is {report.get('seed')!r}, this run's is {context.seed}"
    chain = [hashlib.sha256(f"{context.run_id}:{context.seed}".encode()).hexdigest()]
    for document in (patch, outcome):
        chain.append(hashlib.sha256(f"{chain[-1]}{_canonical(document)}".encode()).hexdigest())
    claimed = _strings(report.get("chain"))
    if claimed != chain:
        broken = next((i for i, link in enumerate(chain) if claimed[i : i + 1] != [link]), len(chain))
        yield f"the report's hash chain of {len(claimed)} links departs from this run's {len(chain)} at link {broken + 1}"


def _patched(patch: Mapping[str, Any], sources: Mapping[str, str], original: Mapping[str, str]) -> Iterator[str]:
    files = _mapping(patch.get("files"))
    changed = {name for name, digest in sources.items() if digest != original.get(name)}
    if not changed:
        yield f"none of the {len(original)} modules of the project was changed"
    for name in sorted(changed - set(files)):
        yield f"project/{name} was changed, but the patch in the report does not name it"
    for name, states in sorted(files.items()):
        before, after = _mapping(states).get("before"), _mapping(states).get("after")
        if before != original.get(name):
            yield f"the patch started from a project/{name} with SHA-256 {before}, the scenario's has {original.get(name)}"
        if after != sources.get(name):
            yield f"the patch left a project/{name} with SHA-256 {after}, the workspace's has {sources.get(name)}"


def _tested(outcome: Mapping[str, Any], sources: Mapping[str, str], wanted: set[str]) -> Iterator[str]:
    if outcome.get("sources") != sources:
        yield f"the tests ran on other sources than the {len(sources)} modules that are in the workspace now"
    tests = _mapping(outcome.get("tests"))
    if lost := sorted(wanted - set(tests)):
        yield f"{len(lost)} of {len(wanted)} tests in the test files have no outcome: {', '.join(lost)}"
    if invented := sorted(set(tests) - wanted):
        yield f"{len(invented)} outcomes belong to no test in the test files: {', '.join(invented)}"
    if bad := sorted(name for name in wanted & set(tests) if tests[name] != "passed"):
        yield f"{len(bad)} of {len(wanted)} tests did not pass: {', '.join(f'{name} ({tests[name]})' for name in bad)}"
    counts = dict(Counter(str(result) for result in tests.values()))
    if outcome.get("counts") != counts:
        yield f"the outcome claims the counts {outcome.get('counts')!r}, its tests add up to {counts}"


def _witnessed(
    context: VerifierContext, report: Mapping[str, Any], patch: Mapping[str, Any], outcome: Mapping[str, Any]
) -> Iterator[str]:
    """What the report says must be what tasks of this run printed, and the tools must really have been run."""
    if patch not in _printed_by(context, "tools/apply_edits.py"):
        yield "no finished task that ran tools/apply_edits.py printed the patch that the report holds"
    if outcome not in _printed_by(context, "tools/run_tests.py"):
        yield "no finished task that ran tools/run_tests.py printed the test outcome that the report holds"
    digest = hashlib.sha256(_canonical(patch).encode()).hexdigest()
    if outcome.get("patch") != digest:
        yield f"the tests ran for a patch with SHA-256 {outcome.get('patch')!r}, the report's patch has {digest!r}"
    if report not in _printed_by(context, "tools/collect_report.py"):
        yield "the report out/report.json differs from what every finished task that ran tools/collect_report.py printed"


def _written_in_time(context: VerifierContext) -> Iterator[str]:
    starts = [task.started_ns for task in context.tasks.values() if task.started_ns is not None]
    ends = [task.finished_ns for task in context.tasks.values() if task.finished_ns is not None]
    written = (context.workspace / "out" / "report.json").stat().st_mtime_ns
    if not starts or not ends:
        yield f"none of the {len(context.tasks)} tasks has a start and an end, so the report can't be placed in this run"
    elif written < min(starts) - CLOCK_SLACK_NS:
        yield f"the report was written {(min(starts) - written) / 1e6:.0f} ms before this run's first task started"
    elif written > max(ends) + CLOCK_SLACK_NS:
        yield f"the report was written {(written - max(ends)) / 1e6:.0f} ms after this run's last task finished"


def _printed_by(context: VerifierContext, script: str) -> list[Any]:
    """Outputs of the successful tasks that ran one of the scenario's tools with an isolated Python, and nothing else."""
    outputs = []
    for stage in context.plan.stages:
        for task in stage.task_graph.tasks:
            execution = _mapping(_mapping(task.input or task.params).get("execution"))
            finished: TaskOutcome | None = context.tasks.get(task.id)
            if task.type == "runtime" and finished and finished.status == "success" and _runs(context, execution, script):
                outputs.append(finished.output)
    return outputs


def _runs(context: VerifierContext, execution: Mapping[str, Any], script: str) -> bool:
    args = _strings(execution.get("args"))
    flags = list(itertools.takewhile(HARMLESS_FLAGS.__contains__, args))
    if not re.fullmatch(r"python3?(\.\d+)?", Path(str(execution.get("program"))).name) or "-I" not in flags:
        return False
    parts = (str(execution.get("cwd") or context.workspace), *args[len(flags) : len(flags) + 1])
    paths = [re.sub(r"\$\{\{\s*workspace\s*\}\}", lambda _: str(context.workspace), part) for part in parts]
    return len(paths) == 2 and Path(*paths).resolve() == (context.workspace / script).resolve()


def _tests_in(folder: Path) -> set[str]:
    """Return the ids of all test methods in a folder's test files, found in their syntax trees."""
    return {
        f"tests.{path.stem}.{case.name}.{method.name}"
        for path in sorted(folder.glob("check_*.py"))
        for case in ast.parse(path.read_bytes()).body
        if isinstance(case, ast.ClassDef)
        for method in case.body
        if isinstance(method, ast.FunctionDef) and method.name.startswith("test")
    }


def _modules(project: Path) -> dict[str, bytes]:
    """Return the package's modules; read once, so that what is hashed is what is called."""
    files = _files(project / "timesheet")
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files if path.suffix == ".py"}


def _digests(modules: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in modules.items()}


def _is_source(name: str) -> bool:
    return name.startswith("project/timesheet/") and name.endswith(".py")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
