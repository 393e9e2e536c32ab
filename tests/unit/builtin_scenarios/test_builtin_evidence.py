"""multi_step_agent: no datum is lost, invented or altered at any hop without being named."""

from __future__ import annotations

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


def _with_records(context: VerifierContext, change: Callable[[list[Any]], None]) -> VerifierContext:
    change(context.tasks["normalise_ci_runs"].output["records"])
    return context


def _with_brief(context: VerifierContext, change: Callable[[Any], None]) -> VerifierContext:
    path = context.workspace / "out" / "brief.json"
    brief = json.loads(path.read_text("utf-8"))
    change(brief)
    path.write_text(json.dumps(brief), "utf-8")
    return _with_output(context, "render_brief", brief)


def _with_text(context: VerifierContext, old: str, new: str) -> VerifierContext:
    """Change the rendered text everywhere."""

    def change(brief: Any) -> None:
        assert old in brief["markdown"]
        brief["markdown"] = brief["markdown"].replace(old, new, 1)
        (context.workspace / "out" / "brief.md").write_text(brief["markdown"], "utf-8")

    return _with_brief(context, change)


def source_cut_short(context: VerifierContext) -> VerifierContext:
    content = context.tasks["read_ci_runs"].output["content"]
    return _with_output(context, "read_ci_runs", {"content": content[:-80], "size": len(content) - 80})


def source_changed(context: VerifierContext) -> VerifierContext:
    (context.workspace / "sources" / "deployments.csv").write_text("deployment\n")
    return context


def feed_refused(context: VerifierContext) -> VerifierContext:
    return _with_output(context, "fetch_advisories", {"status_code": 500, "body": "{}"})


def record_lost(context: VerifierContext) -> VerifierContext:
    return _with_records(context, lambda records: records.remove(next(one for one in records if one["key"] == "ci-1048")))


def record_invented(context: VerifierContext) -> VerifierContext:
    return _with_records(context, lambda records: records.append({**records[0], "key": "ci-1099", "seen": 1}))


def record_altered(context: VerifierContext) -> VerifierContext:
    return _with_records(context, lambda records: records[1].update(value=9451))


def repeat_forgotten(context: VerifierContext) -> VerifierContext:
    return _with_records(context, lambda records: records[0].update(seen=2))


def record_without_form(context: VerifierContext) -> VerifierContext:
    return _with_records(context, lambda records: records[0].update(value=83210.0))


def good_line_rejected(context: VerifierContext) -> VerifierContext:
    context.tasks["normalise_ci_runs"].output["rejected"].append("{}")
    return context


def brief_lost_one(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief["records"].pop(0))


def brief_out_of_order(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief["records"].insert(0, brief["records"].pop(4)))


def total_altered(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief["totals"]["ci_run"].update(total=1))


def excess_altered(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief["records"][1].update(over_by=1))


def stale_brief(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief.update(run_id="run-zero"))


def rejections_hidden(context: VerifierContext) -> VerifierContext:
    return _with_brief(context, lambda brief: brief.update(rejected=0))


def brief_that_no_task_put_out(context: VerifierContext) -> VerifierContext:
    return _with_output(context, "render_brief", {})


def figure_altered(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "131.007 s | 11.007 s", "131.070 s | 11.007 s")


def figures_swapped(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "| 9.45 s |", "| 9.731 s |")


def figure_added(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "Rejected: 5", "Rejected: 5 (7 expected)")


def count_altered(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "Records: 60", "Records: 5")


def line_removed(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "| 2026-03-02T09:05:48Z | ci_run | ci-1048 | unit tests | 79.988 s | - |\n", "")


def line_repeated(context: VerifierContext) -> VerifierContext:
    line = "| 2026-03-02T09:05:48Z | ci_run | ci-1048 | unit tests | 79.988 s | - |\n"
    return _with_text(context, line, line * 2)


def total_altered_in_text(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "| 996.345 s | 131.007 s |", "| 996.345 s | 122.004 s |")


def text_changed_on_disk(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "out" / "brief.md"
    path.write_text(path.read_text("utf-8").replace("certificate rotation", "nothing much"), "utf-8")
    return context


def text_missing(context: VerifierContext) -> VerifierContext:
    (context.workspace / "out" / "brief.md").unlink()
    return context


def totals_removed(context: VerifierContext) -> VerifierContext:
    return _with_text(context, "| maintenance | 3 | 12900 s | 6300 s | 1 | 0 |\n", "")


def file_handed_over(context: VerifierContext) -> VerifierContext:
    (context.workspace / "out" / "records.json").write_text("[]")
    return context


def _with_plan(context: VerifierContext, change: Callable[[Any], None]) -> VerifierContext:
    document = context.plan.model_dump()
    change(document)
    return replace(context, plan=type(context.plan).model_validate(document))


def source_read_by_a_later_stage(context: VerifierContext) -> VerifierContext:
    def change(document: Any) -> None:
        document["stages"][2]["task_graph"]["tasks"][0]["input"]["execution"]["script"] += " < sources/ci_runs.jsonl"

    return _with_plan(context, change)


def stages_without_bindings(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda document: document["stages"][1].update(bindings=[]))


def two_stages(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda document: document["stages"].pop(0))


TAMPERINGS: list[tuple[Tamper, str]] = [
    (source_cut_short, "characters of the source ci_runs as they are"),
    (source_changed, "sources/deployments.csv of the scenario is missing or was modified"),
    (feed_refused, "none of 1 requests for the advisory feed was answered with 200 and a body (status: 500)"),
    (record_lost, "1 of 65 data are lost in the normalised records: ci_run ci-1048 (2026-03-02T09:05:48Z, 79988 ms)"),
    (record_invented, "data in the normalised records are in no source: ci_run ci-1099 (2026-03-02T08:14:05Z, 83210 ms)"),
    (record_altered, "2 of 65 data in the normalised records are in no source: ci_run ci-1042 (2026-03-02T08:14:40Z, 9451 ms)"),
    (repeat_forgotten, "1 of 65 data are lost in the normalised records: ci_run ci-1041"),
    (record_without_form, "the normalised records hold one that is no datum: {'kind': 'ci_run', 'key': 'ci-1041'"),
    (good_line_rejected, "normalisation rejected 6 entries, 5 of the sources' entries can't be read"),
    (brief_lost_one, "1 of 60 data are lost in the brief's records: maintenance mw-72"),
    (brief_out_of_order, "the brief's 60 records are not in order of time: number 1 is ci_run ci-1042"),
    (total_altered, "the brief's totals of ci_run are"),
    (
        excess_altered,
        "the brief says that maintenance mw-71 (2026-03-02T03:00:00Z, 6300000 ms) is over its limit by 1, it is by 900000",
    ),
    (stale_brief, "the brief belongs to run 'run-zero'"),
    (rejections_hidden, "the brief counts 0 rejected entries, there are 5"),
    (brief_that_no_task_put_out, "none of the 9 tasks put out what out/brief.json holds"),
    (figure_altered, "of the text has figures that trace to no datum: 2026-03-02T08:28:30Z ci-1044 131.070 11.007"),
    (figures_swapped, "of the text has figures that trace to no datum: 2026-03-02T08:14:40Z ci-1042 9.731"),
    (figure_added, "of the text has figures that trace to no datum: 7"),
    (count_altered, "the text does not say how many records, repeats and rejected entries there are: 60 missing"),
    (line_removed, "1 of 60 data have no line of their own in the text: 2026-03-02T09:05:48Z 79.988 ci-1048"),
    (line_repeated, "of the text has figures that trace to no datum: 2026-03-02T09:05:48Z ci-1048 79.988"),
    (total_altered_in_text, "of the text gives ci_run the figures 15 996.345 122.004 3 4"),
    (text_changed_on_disk, "is not the text that out/brief.json holds"),
    (text_missing, "the text out/brief.md can't be read"),
    (totals_removed, "1 of 4 kinds have no line with their totals in the text: maintenance"),
    (file_handed_over, "1 files beside the brief were left in the workspace: out/records.json"),
    (source_read_by_a_later_stage, "render_brief of the later stage render names the sources"),
    (stages_without_bindings, "stage normalise binds nothing from the stages before it"),
    (two_stages, "the plan has 2 stages, the scenario wants at least 3"),
]


@pytest.mark.parametrize(("tamper", "reason"), TAMPERINGS, ids=[tamper.__name__ for tamper, _ in TAMPERINGS])
def test_tampering_is_named(
    tamper: Tamper,
    reason: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    verdict = judge(tamper(copy_of(executed("multi_step_agent"))))
    assert not verdict.passed
    assert [one for one in verdict.reasons if reason in one], verdict.reasons


def test_feed_with_fewer_entries_is_named(execute: Execute, feed: str, judge: Judge) -> None:
    document = json.loads(feed)
    document["advisories"] = document["advisories"][1:]
    reasons = judge(execute("multi_step_agent", body=json.dumps(document))).reasons
    assert reasons == ["source advisories has 30 entries, the scenario expects 31"]


def test_what_is_no_feed_stops_the_run(execute: Execute, judge: Judge) -> None:
    context = execute("multi_step_agent", body="<html>", http_status=502)
    assert context.tasks["normalise_advisories"].status == "failed"
    assert "render_brief" not in context.tasks
    assert any("(status: 502)" in reason for reason in judge(context).reasons)
