"""codegen_exec: each way to fake a fix, a test run or a report is noticed, and named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.verdict import Verdict, VerifierContext

Execute = Callable[..., VerifierContext]
Judge = Callable[[VerifierContext], Verdict]
Tamper = Callable[[VerifierContext], VerifierContext]

SECOND = 1_000_000_000


def _rewrite_report(context: VerifierContext, change: Callable[[Any], None], *, everywhere: bool = False) -> VerifierContext:
    """Change the report's file, keeping its time; `everywhere`: in the collector's and the test run's output as well."""
    path = context.workspace / "out" / "report.json"
    times = path.stat()
    report = json.loads(path.read_text("utf-8"))
    change(report)
    path.write_text(json.dumps(report), "utf-8")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if not everywhere:
        return context
    changed = {"collect_report": report, "run_tests": report["outcome"], "apply_edits": report["patch"]}
    return replace(
        context, tasks={name: replace(task, output=changed.get(name, task.output)) for name, task in context.tasks.items()}
    )


def _append(context: VerifierContext, name: str, text: str) -> VerifierContext:
    path = context.workspace / name
    path.write_text(path.read_text("utf-8") + text, "utf-8")
    return context


def edited_test_file(context: VerifierContext) -> VerifierContext:
    return _append(context, "project/tests/check_pay.py", "\n# nothing to see\n")


def removed_test_file(context: VerifierContext) -> VerifierContext:
    (context.workspace / "project/tests/check_week.py").unlink()
    return context


def shadowing_module(context: VerifierContext) -> VerifierContext:
    (context.workspace / "project/decimal.py").write_text("Decimal = float\n")
    return context


def later_edit(context: VerifierContext) -> VerifierContext:
    return _append(context, "project/timesheet/pay.py", "\n# later\n")


def edit_outside_the_patch(context: VerifierContext) -> VerifierContext:
    return _append(context, "project/timesheet/statement.py", "\n# by the way\n")


def original_sources(context: VerifierContext) -> VerifierContext:
    shutil.copytree(context.scenario_dir / "fixtures" / "project", context.workspace / "project", dirs_exist_ok=True)
    return context


def broken_module(context: VerifierContext) -> VerifierContext:
    return _append(context, "project/timesheet/clock.py", "\ndef (:\n")


def stale_report(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(context, lambda report: report.update(run_id="run-zero"))


def other_seed(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(context, lambda report: report.update(seed=1), everywhere=True)


def broken_chain(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        report["chain"][1] = "0" * 64

    return _rewrite_report(context, change, everywhere=True)


def lost_test(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        del report["outcome"]["tests"]["tests.check_pay.PayTest.test_whole_hours"]
        report["outcome"]["counts"] = {"passed": 18}

    return _rewrite_report(context, change, everywhere=True)


def skipped_test(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        report["outcome"]["tests"]["tests.check_pay.PayTest.test_whole_hours"] = "skipped"

    return _rewrite_report(context, change, everywhere=True)


def invented_test(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        report["outcome"]["tests"]["tests.check_pay.PayTest.test_all_is_well"] = "passed"

    return _rewrite_report(context, change, everywhere=True)


def wrong_counts(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(context, lambda report: report["outcome"].update(counts={"passed": 20}), everywhere=True)


def other_patch_tested(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(context, lambda report: report["outcome"].update(patch="f" * 64), everywhere=True)


def other_original(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(
        context, lambda report: report["patch"]["files"]["timesheet/pay.py"].update(before="e" * 64), everywhere=True
    )


def other_sources_tested(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(
        context, lambda report: report["outcome"]["sources"].update({"timesheet/pay.py": "e" * 64}), everywhere=True
    )


def patch_that_no_task_printed(context: VerifierContext) -> VerifierContext:
    return replace(context, tasks={**context.tasks, "apply_edits": replace(context.tasks["apply_edits"], output={})})


def report_that_no_task_printed(context: VerifierContext) -> VerifierContext:
    return _rewrite_report(context, lambda report: report.update(remark="all is well"))


def outcome_that_no_task_printed(context: VerifierContext) -> VerifierContext:
    outcome = {**context.tasks["run_tests"].output, "tests": {}}
    return replace(context, tasks={**context.tasks, "run_tests": replace(context.tasks["run_tests"], output=outcome)})


def outcome_of_a_failed_task(context: VerifierContext) -> VerifierContext:
    return replace(context, tasks={**context.tasks, "run_tests": replace(context.tasks["run_tests"], status="failed")})


def _with_execution(context: VerifierContext, task_id: str, **changes: Any) -> VerifierContext:
    document = context.plan.model_dump()
    for task in (task for stage in document["stages"] for task in stage["task_graph"]["tasks"]):
        if task["id"] == task_id:
            task["input"]["execution"].update(changes)
    return replace(context, plan=type(context.plan).model_validate(document))


def outcome_printed_by_another_program(context: VerifierContext) -> VerifierContext:
    return _with_execution(context, "run_tests", program="printf")


def outcome_of_another_script(context: VerifierContext) -> VerifierContext:
    return _with_execution(context, "run_tests", args=["-I", "-c", "print('{}')", "tools/run_tests.py"])


def runner_elsewhere(context: VerifierContext) -> VerifierContext:
    return _with_execution(context, "run_tests", cwd="${{ workspace }}/project")


def report_from_before_the_run(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "out" / "report.json"
    before = path.stat().st_mtime_ns - 3600 * SECOND
    os.utime(path, ns=(before, before))
    return context


def report_from_after_the_run(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "out" / "report.json"
    after = path.stat().st_mtime_ns + 3600 * SECOND
    os.utime(path, ns=(after, after))
    return context


def no_times(context: VerifierContext) -> VerifierContext:
    tasks = {name: replace(task, started_ns=None, finished_ns=None) for name, task in context.tasks.items()}
    return replace(context, tasks=tasks)


def no_report(context: VerifierContext) -> VerifierContext:
    (context.workspace / "out" / "report.json").unlink()
    return context


TAMPERINGS: list[tuple[Tamper, str]] = [
    (edited_test_file, "project/tests/check_pay.py was modified"),
    (removed_test_file, "project/tests/check_week.py of the scenario is missing"),
    (shadowing_module, "project/decimal.py was added"),
    (later_edit, "the patch left a project/timesheet/pay.py with SHA-256"),
    (edit_outside_the_patch, "project/timesheet/statement.py was changed, but the patch in the report does not name it"),
    (original_sources, "none of the 5 modules of the project was changed"),
    (broken_module, "ended their process with exit code 1 after 0 bytes of answers: SyntaxError: invalid syntax"),
    (stale_report, "the report belongs to run 'run-zero', not to this run 'run-one'"),
    (other_seed, "the report's seed is 1, this run's is 1701"),
    (broken_chain, "hash chain of 3 links departs from this run's 3 at link 2"),
    (lost_test, "1 of 19 tests in the test files have no outcome: tests.check_pay.PayTest.test_whole_hours"),
    (skipped_test, "1 of 19 tests did not pass: tests.check_pay.PayTest.test_whole_hours (skipped)"),
    (invented_test, "1 outcomes belong to no test in the test files: tests.check_pay.PayTest.test_all_is_well"),
    (wrong_counts, "claims the counts {'passed': 20}, its tests add up to {'passed': 19}"),
    (other_patch_tested, "the tests ran for a patch with SHA-256 'fff"),
    (other_original, "the patch started from a project/timesheet/pay.py with SHA-256 eee"),
    (other_sources_tested, "the tests ran on other sources than the 5 modules that are in the workspace now"),
    (patch_that_no_task_printed, "no finished task that ran tools/apply_edits.py printed the patch"),
    (report_that_no_task_printed, "differs from what every finished task that ran tools/collect_report.py printed"),
    (outcome_that_no_task_printed, "no finished task that ran tools/run_tests.py printed the test outcome"),
    (outcome_of_a_failed_task, "no finished task that ran tools/run_tests.py printed the test outcome"),
    (outcome_printed_by_another_program, "no finished task that ran tools/run_tests.py printed the test outcome"),
    (outcome_of_another_script, "no finished task that ran tools/run_tests.py printed the test outcome"),
    (runner_elsewhere, "no finished task that ran tools/run_tests.py printed the test outcome"),
    (report_from_before_the_run, "before this run's first task started"),
    (report_from_after_the_run, "after this run's last task finished"),
    (no_times, "none of the 5 tasks has a start and an end"),
    (no_report, "the report out/report.json can't be read"),
]


@pytest.mark.parametrize(("tamper", "reason"), TAMPERINGS, ids=[tamper.__name__ for tamper, _ in TAMPERINGS])
def test_tampering_is_named(
    tamper: Tamper,
    reason: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    verdict = judge(tamper(copy_of(executed("codegen_exec"))))
    assert not verdict.passed
    assert [one for one in verdict.reasons if reason in one], verdict.reasons


def _write_edits(document: Any, edits: list[dict[str, str]]) -> None:
    document["stages"][0]["task_graph"]["tasks"][0]["input"]["content"] = json.dumps({"edits": edits})


def _edits(document: Any) -> list[dict[str, str]]:
    edits: list[dict[str, str]] = json.loads(document["stages"][0]["task_graph"]["tasks"][0]["input"]["content"])["edits"]
    return edits


def test_unpatched_project_fails(execute: Execute, judge: Judge) -> None:
    reasons = judge(execute("codegen_exec", edit=lambda document: _write_edits(document, []))).reasons
    assert any("none of the 5 modules of the project was changed" in reason for reason in reasons)
    failing = next(reason for reason in reasons if "did not pass" in reason)
    assert failing.startswith("6 of 19 tests did not pass")
    assert "tests.check_clock.ShiftTest.test_night_shift_crosses_midnight (error)" in failing


@pytest.mark.parametrize(
    ("module", "failing", "wrong"),
    [
        ("clock", 3, ["clock.shift_minutes", "statement.statement"]),
        ("week", 2, ["week.minutes_by_week", "week.overtime"]),
        ("pay", 1, ["pay.to_cents", "pay.gross"]),
    ],
)
def test_each_bug_fails_tests_of_its_own(module: str, failing: int, wrong: list[str], execute: Execute, judge: Judge) -> None:
    def leave_out(document: Any) -> None:
        _write_edits(document, [edit for edit in _edits(document) if edit["path"] != f"timesheet/{module}.py"])

    tests, *behaviour = judge(execute("codegen_exec", edit=leave_out)).reasons
    assert tests.startswith(f"{failing} of 19 tests did not pass")
    assert [reason.split(" is wrong for ")[0] for reason in behaviour] == wrong


def test_another_way_to_fix_it_passes(execute: Execute, judge: Judge) -> None:
    """A live plan may write the fix, and name its tasks, as it likes."""

    def rewrite(document: Any) -> None:
        edits = _edits(document)
        edits[0] = {
            "path": "timesheet/clock.py",
            "find": "    worked = parse_time(end) - parse_time(start) - parse_duration(pause)\n",
            "replace": "    begun, ended = parse_time(start), parse_time(end)\n    if ended < begun:\n"
            "        ended += MINUTES_A_DAY\n    worked = ended - begun - parse_duration(pause)\n",
        }
        _write_edits(document, edits)
        text = (
            json.dumps(document).replace('"run_tests"', '"t2"').replace('"apply_edits"', '"t1"').replace('"collect_report"', '"t3"')
        )
        document.clear()
        document.update(json.loads(text))

    assert judge(execute("codegen_exec", edit=rewrite)).reasons == []


@pytest.mark.parametrize(
    "edit",
    [
        {"path": "tests/check_pay.py", "find": "13", "replace": "12"},
        {"path": "timesheet/../tests/check_pay.py", "find": "13", "replace": "12"},
        {"path": "timesheet/new.py", "find": "", "replace": "x = 1"},
        {"path": "timesheet/clock.py", "find": "no such text", "replace": "x"},
        {"path": "timesheet/clock.py", "find": "return", "replace": "yield"},
    ],
    ids=["tests", "traversal", "new file", "not found", "ambiguous"],
)
def test_patch_tool_refuses(edit: dict[str, str], execute: Execute, scenarios: Path) -> None:
    context = execute("codegen_exec", edit=lambda document: _write_edits(document, [edit]))
    assert context.tasks["apply_edits"].status == "failed"
    assert edit["path"] in context.tasks["apply_edits"].output["stderr"]
    for path in sorted((scenarios / "codegen_exec" / "fixtures" / "project").rglob("*.py")):
        relative = path.relative_to(scenarios / "codegen_exec" / "fixtures")
        assert (context.workspace / relative).read_bytes() == path.read_bytes()
