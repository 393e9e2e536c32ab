"""vuln_scan: exactly the expected findings, from the feed that was fetched, published once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_execgo.plan.verdict import Verdict, VerifierContext

Execute = Callable[..., VerifierContext]
Judge = Callable[[VerifierContext], Verdict]
Tamper = Callable[[VerifierContext], VerifierContext]


def _with_output(context: VerifierContext, task_id: str, output: Any) -> VerifierContext:
    return replace(context, tasks={**context.tasks, task_id: replace(context.tasks[task_id], output=output)})


def _with_request(context: VerifierContext, change: Callable[[Any], None]) -> VerifierContext:
    task = context.tasks["publish_notice"]
    envelope = json.loads(json.dumps(task.envelope))
    change(envelope["input"])
    return replace(context, tasks={**context.tasks, "publish_notice": replace(task, envelope=envelope)})


def _rewritten(context: VerifierContext, change: Callable[[Any], None]) -> VerifierContext:
    """Change the report everywhere: its file, the writer's output, and the notice that was published."""
    path = context.workspace / "out" / "vulnerabilities.json"
    report = json.loads(path.read_text("utf-8"))
    change(report)
    path.write_text(json.dumps(report), "utf-8")
    context = _with_output(context, "write_report", {"report": report})

    def publish(request: Any) -> None:
        body = json.loads(request["body"])
        body["payload"].update(report_sha256=hashlib.sha256(path.read_bytes()).hexdigest(), counts=report["counts"])
        request["body"] = json.dumps(body)

    return _with_request(context, publish)


def dropped_finding(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        del report["by_severity"]["critical"][0]
        report["counts"]["critical"] -= 1

    return _rewritten(context, change)


def invented_finding(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        finding = {"id": "DEMO-2026-0019", "package": "parcelkit", "version": "2.2.0", "severity": "critical", "fixed": "9.9.9"}
        report["by_severity"]["critical"].append(finding)
        report["counts"]["critical"] += 1

    return _rewritten(context, change)


def repeated_finding(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        report["by_severity"]["low"] *= 2
        report["counts"]["low"] += 1

    return _rewritten(context, change)


def softened_severity(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        finding = report["by_severity"]["critical"].pop(0)
        report["by_severity"]["low"].append({**finding, "severity": "low"})
        report["counts"].update(critical=1, low=2)

    return _rewritten(context, change)


def wrong_group(context: VerifierContext) -> VerifierContext:
    def change(report: Any) -> None:
        report["by_severity"]["low"].append(report["by_severity"]["critical"].pop(0))
        report["counts"].update(critical=1, low=2)

    return _rewritten(context, change)


def wrong_version(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report["by_severity"]["low"][0].update(version="1.9.0rc2"))


def wrong_counts(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report["counts"].update(high=4))


def wrong_pins(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report.update(pins=15))


def stale_report(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report.update(run_id="run-zero"))


def report_that_no_task_put_out(context: VerifierContext) -> VerifierContext:
    return _with_output(context, "write_report", {"report": {}})


def other_feed(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report.update(feed_sha256="0" * 64))


def feed_was_refused(context: VerifierContext) -> VerifierContext:
    return _with_output(context, "fetch_advisories", {"status_code": 503, "body": "{}"})


def other_lock_file(context: VerifierContext) -> VerifierContext:
    return _rewritten(context, lambda report: report.update(manifest_sha256="0" * 64))


def changed_lock_file(context: VerifierContext) -> VerifierContext:
    (context.workspace / "project" / "requirements.lock").write_text("brightlog==3.1.4\n")
    return context


def rewritten_after_publication(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "out" / "vulnerabilities.json"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    return context


def publication_refused(context: VerifierContext) -> VerifierContext:
    return _with_output(context, "publish_notice", {"status_code": 503, "body": '{"effect_id": "effect-1"}'})


def publication_missing(context: VerifierContext) -> VerifierContext:
    return replace(context, tasks={name: task for name, task in context.tasks.items() if name != "publish_notice"})


def foreign_key(context: VerifierContext) -> VerifierContext:
    return _with_request(context, lambda request: request["headers"].update({"Idempotency-Key": "fixed"}))


def other_counts_published(context: VerifierContext) -> VerifierContext:
    def change(request: Any) -> None:
        body = json.loads(request["body"])
        body["payload"]["counts"]["critical"] = 0
        request["body"] = json.dumps(body)

    return _with_request(context, change)


TAMPERINGS: list[tuple[Tamper, str]] = [
    (dropped_finding, "1 of 14 expected findings are missing: DEMO-2026-0001 in parcelkit 2.2.0 (critical)"),
    (invented_finding, "1 of 15 reported findings are not expected: DEMO-2026-0019 in parcelkit 2.2.0 (critical)"),
    (repeated_finding, "1 findings are reported more than once: DEMO-2026-0005 in lumen-http 2.1.0 (low)"),
    (softened_severity, "DEMO-2026-0001 in parcelkit 2.2.0 is reported as low, its severity is critical"),
    (wrong_group, "DEMO-2026-0001 in parcelkit 2.2.0 (critical) stands in the group 'low'"),
    (wrong_version, "1 of 14 reported findings are not expected: DEMO-2026-0005 in lumen-http 1.9.0rc2 (low)"),
    (wrong_counts, "the report claims the counts {'critical': 2, 'high': 4"),
    (wrong_pins, "the report counts 15 pins, project/requirements.lock has 16"),
    (stale_report, "the report belongs to run 'run-zero'"),
    (report_that_no_task_put_out, "none of the 6 successful tasks put out the report"),
    (other_feed, "which none of 1 answers has"),
    (feed_was_refused, "none of 1 requests for the advisory feed was answered with 200 and a body (status: 503)"),
    (other_lock_file, "the report was made from a lock file with SHA-256 '000"),
    (changed_lock_file, "project/requirements.lock of the scenario is missing or was modified"),
    (rewritten_after_publication, "publish_notice published a report with SHA-256"),
    (publication_refused, "the effect sink answered publish_notice with status 503"),
    (publication_missing, "0 requests to the effect sink left 0 effects, not one"),
    (foreign_key, "published under the key 'fixed', which does not begin with 'run-one'"),
    (other_counts_published, "publish_notice published the counts {'critical': 0"),
]


@pytest.mark.parametrize(("tamper", "reason"), TAMPERINGS, ids=[tamper.__name__ for tamper, _ in TAMPERINGS])
def test_tampering_is_named(
    tamper: Tamper,
    reason: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    verdict = judge(tamper(copy_of(executed("vuln_scan"))))
    assert not verdict.passed
    assert [one for one in verdict.reasons if reason in one], verdict.reasons


def test_softened_severity_is_one_reason(
    executed: Callable[[str], VerifierContext], copy_of: Callable[[VerifierContext], VerifierContext], judge: Judge
) -> None:
    assert len(judge(softened_severity(copy_of(executed("vuln_scan")))).reasons) == 1


def test_feed_that_changed_changes_the_findings(execute: Execute, feed: str, judge: Judge) -> None:
    document = json.loads(feed)
    document["advisories"] = [one for one in document["advisories"] if one["id"] != "DEMO-2026-0022"]
    next(one for one in document["advisories"] if one["id"] == "DEMO-2026-0019")["ecosystem"] = "PyPI"
    reasons = judge(execute("vuln_scan", body=json.dumps(document))).reasons
    assert reasons == ["1 of 15 reported findings are not expected: DEMO-2026-0019 in parcelkit 2.2.0 (critical)"]


@pytest.mark.parametrize("body", ['{"error": "unavailable"}', "<html>", "[]", '{"advisories": [{}]}'])
def test_scan_fails_on_what_is_no_feed(body: str, execute: Execute, judge: Judge) -> None:
    context = execute("vuln_scan", body=body, http_status=503)
    assert context.tasks["scan"].status == "failed"
    assert "the feed or the lock file can't be read" in context.tasks["scan"].output["stderr"]
    assert "write_report" not in context.tasks
    assert any("can't be read" in reason for reason in judge(context).reasons)


def test_published_twice_as_two_effects_is_named(executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    context = executed("vuln_scan")
    document = context.plan.model_dump()
    (task,) = document["stages"][3]["task_graph"]["tasks"]
    document["stages"][3]["task_graph"]["tasks"].append({**task, "id": "publish_again"})
    published = context.tasks["publish_notice"]
    again = replace(published, task_id="publish_again", output={"status_code": 201, "body": '{"effect_id": "effect-2"}'})
    plan = type(context.plan).model_validate(document)
    reasons = judge(replace(context, plan=plan, tasks={**context.tasks, "publish_again": again})).reasons
    assert reasons == ["2 requests to the effect sink left 2 effects, not one"]
