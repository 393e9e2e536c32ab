"""Judges codegen_exec: whether this run fixed the bugs in the sources, and every test of the suite says so."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_execgo.plan.verdict import TaskOutcome, Verdict, VerifierContext

CLOCK_SLACK_NS = 50_000_000
"""How far a file's time may lag behind the kernel's: file systems stamp with a coarse clock."""

HARMLESS_FLAGS = {"-I", "-S", "-B", "-E", "-s", "-u"}


def verify(context: VerifierContext) -> Verdict:
    """Judge the patched project, the test outcome and the report; every reason is a sentence with figures."""
    sources = _sources(context.workspace / "project")
    original = _sources(context.scenario_dir / "fixtures" / "project")
    wanted = _tests_in(context.scenario_dir / "fixtures" / "project" / "tests")
    problems = [*_tampered(context), *_foreign_code(context)]
    report = _read_report(context, problems)
    if report is None:
        return Verdict.of(problems, sources=sources, tests=len(wanted))
    patch, outcome = _mapping(report.get("patch")), _mapping(report.get("outcome"))
    problems += _identity(context, report, patch, outcome)
    problems += _patched(patch, sources, original)
    problems += _tested(outcome, sources, wanted)
    problems += _witnessed(context, report, patch, outcome)
    problems += _written_in_time(context)
    tests = _mapping(outcome.get("tests"))
    counts = dict(Counter(str(result) for result in tests.values()))
    patched = sorted(_mapping(patch.get("files")))
    return Verdict.of(problems, sources=sources, tests=len(wanted), counts=counts, patched=patched)


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


def _foreign_code(context: VerifierContext) -> Iterator[str]:
    """A module that meddles with the interpreter could make its own tests pass."""
    allowed = set(_strings(context.expected.get("allowed_imports")))
    forbidden = set(_strings(context.expected.get("forbidden_names")))
    for path in _files(context.workspace / "project" / "timesheet"):
        name = path.relative_to(context.workspace).as_posix()
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            yield f"{name} is not valid Python: {error}"
            continue
        imported, used = _imports_and_names(tree)
        for module in sorted(module for module in imported if module.split(".")[0] not in allowed):
            yield f"{name} imports {module}, which is not one of {', '.join(sorted(allowed))}"
        yield from (f"{name} uses {word}, which a module of this project has no need of" for word in sorted(used & forbidden))


def _imports_and_names(tree: ast.AST) -> tuple[set[str], set[str]]:
    imported, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
    return imported, used


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


def _sources(project: Path) -> dict[str, str]:
    return {path.relative_to(project).as_posix(): _sha256(path) for path in _files(project / "timesheet") if path.suffix == ".py"}


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
