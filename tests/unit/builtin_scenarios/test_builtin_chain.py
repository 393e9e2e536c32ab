"""long_chain_dag: the order of every edge, and the lineage of every step."""

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


def _with_task(context: VerifierContext, task_id: str, **changes: Any) -> VerifierContext:
    return replace(context, tasks={**context.tasks, task_id: replace(context.tasks[task_id], **changes)})


def _with_lineage(context: VerifierContext, change: Callable[[Any], None]) -> VerifierContext:
    """Change the lineage in the collector's output and in its file."""
    path = context.workspace / "out" / "lineage.json"
    lineage = json.loads(path.read_text("utf-8"))
    change(lineage)
    path.write_text(json.dumps(lineage), "utf-8")
    return _with_task(context, "collect_lineage", output=lineage)


def swapped_times(context: VerifierContext) -> VerifierContext:
    merge, left = context.tasks["merge"], context.tasks["enrich_left"]
    context = _with_task(context, "merge", started_ns=left.started_ns, finished_ns=left.finished_ns)
    return _with_task(context, "enrich_left", started_ns=merge.started_ns, finished_ns=merge.finished_ns)


def child_one_nanosecond_early(context: VerifierContext) -> VerifierContext:
    finished = context.tasks["ingest_1"].finished_ns
    assert finished is not None
    return _with_task(context, "ingest_2", started_ns=finished - 1)


def late_end_of_a_long_edge(context: VerifierContext) -> VerifierContext:
    started = context.tasks["audit"].started_ns
    assert started is not None
    return _with_task(context, "merge", finished_ns=started + 5)


def no_times(context: VerifierContext) -> VerifierContext:
    return _with_task(context, "refine_2", started_ns=None, finished_ns=None)


def ended_before_it_started(context: VerifierContext) -> VerifierContext:
    started = context.tasks["seal"].started_ns
    assert started is not None
    return _with_task(context, "seal", finished_ns=started - 7)


def task_failed(context: VerifierContext) -> VerifierContext:
    return _with_task(context, "shard_b", status="failed")


def task_missing(context: VerifierContext) -> VerifierContext:
    return replace(context, tasks={name: task for name, task in context.tasks.items() if name != "shard_b"})


def entry_dropped(context: VerifierContext) -> VerifierContext:
    return _with_lineage(context, lambda lineage: lineage["nodes"].pop("refine_3"))


def entry_invented(context: VerifierContext) -> VerifierContext:
    return _with_lineage(context, lambda lineage: lineage["nodes"].update(refine_5=lineage["nodes"]["refine_4"]))


def digest_altered(context: VerifierContext) -> VerifierContext:
    return _with_lineage(context, lambda lineage: lineage["nodes"]["seal"].update(lineage="0" * 64))


def parent_dropped(context: VerifierContext) -> VerifierContext:
    return _with_lineage(context, lambda lineage: lineage["nodes"]["seal"]["parents"].pop("ingest_1"))


def stale_lineage(context: VerifierContext) -> VerifierContext:
    return _with_lineage(context, lambda lineage: lineage.update(run_id="run-zero"))


def file_differs_from_output(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "out" / "lineage.json"
    path.write_text(path.read_text("utf-8").replace('"audit_left"', '"audit_lift"'), "utf-8")
    return context


def result_missing(context: VerifierContext) -> VerifierContext:
    (context.workspace / "out" / "lineage.json").unlink()
    return context


def marker_altered(context: VerifierContext) -> VerifierContext:
    path = context.workspace / "lineage" / "clean_c.txt"
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    return context


def marker_missing(context: VerifierContext) -> VerifierContext:
    (context.workspace / "lineage" / "clean_c.txt").unlink()
    return context


def marker_added(context: VerifierContext) -> VerifierContext:
    (context.workspace / "lineage" / "stray.txt").write_text("stray\n")
    return context


def _with_plan(context: VerifierContext, change: Callable[[dict[str, Any]], None]) -> VerifierContext:
    document = context.plan.model_dump()
    tasks = document["stages"][0]["task_graph"]["tasks"]
    change({task["id"]: task for task in tasks})
    return replace(context, plan=type(context.plan).model_validate(document))


def edge_missing_from_the_plan(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda tasks: tasks["audit"].update(depends_on=["audit_left", "audit_right"]))


def collector_too_early(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda tasks: tasks["collect_lineage"].update(depends_on=["publish_3"]))


def second_origin(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda tasks: tasks["ingest_1"].update(depends_on=[]))


def cycle_in_the_plan(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda tasks: tasks["ingest_1"].update(depends_on=["ingest_3"]))


def unknown_parent(context: VerifierContext) -> VerifierContext:
    return _with_plan(context, lambda tasks: tasks["ingest_2"].update(depends_on=["ingest_1", "ingest_0"]))


def no_collector(context: VerifierContext) -> VerifierContext:
    return _with_task(context, "collect_lineage", output={"stdout": "done"})


TAMPERINGS: list[tuple[Tamper, str]] = [
    (swapped_times, "edge merge -> enrich_left: the child started"),
    (child_one_nanosecond_early, "edge ingest_1 -> ingest_2: the child started 1 ns before its parent finished"),
    (late_end_of_a_long_edge, "edge merge -> audit: the child started 5 ns before its parent finished"),
    (no_times, "refine_2 has no start and end, so its order against 1 parents can't be shown"),
    (ended_before_it_started, "seal finished 7 ns before it started"),
    (task_failed, "shard_b did not succeed: its status is failed"),
    (task_missing, "shard_b did not succeed: it has no outcome"),
    (entry_dropped, "the output of collect_lineage lacks 1 of 27 steps: refine_3"),
    (entry_dropped, "out/lineage.json lacks 1 of 27 steps: refine_3"),
    (entry_invented, "holds 1 steps that the plan does not have: refine_5"),
    (digest_altered, "the output of collect_lineage gives seal the lineage 000000000000, recomputed it is"),
    (parent_dropped, "gives seal other parents than the 2 of the plan"),
    (stale_lineage, "out/lineage.json belongs to run 'run-zero' with seed 2909, not to this run 'run-one' with seed 2909"),
    (file_differs_from_output, "out/lineage.json lacks 1 of 27 steps: audit_left"),
    (result_missing, "the result out/lineage.json can't be read"),
    (marker_altered, "marker lineage/clean_c.txt has SHA-256"),
    (marker_missing, "step clean_c left no marker lineage/clean_c.txt"),
    (marker_added, "1 markers belong to no step of the plan: stray"),
    (edge_missing_from_the_plan, "gives audit other parents than the 2 of the plan"),
    (collector_too_early, "collect_lineage does not wait for 1 of 27 steps: seal"),
    (second_origin, "the graph has 2 steps without parents, not one origin: ingest_1, origin"),
    (cycle_in_the_plan, "the plan's 28 tasks form a cycle"),
    (unknown_parent, "1 parents are no tasks of the plan: ingest_0"),
    (no_collector, "none of the 28 tasks put out a collected lineage"),
]


@pytest.mark.parametrize(
    ("tamper", "reason"), TAMPERINGS, ids=[f"{tamper.__name__}-{number}" for number, (tamper, _) in enumerate(TAMPERINGS)]
)
def test_tampering_is_named(
    tamper: Tamper,
    reason: str,
    executed: Callable[[str], VerifierContext],
    copy_of: Callable[[VerifierContext], VerifierContext],
    judge: Judge,
) -> None:
    verdict = judge(tamper(copy_of(executed("long_chain_dag"))))
    assert not verdict.passed
    assert [one for one in verdict.reasons if reason in one], verdict.reasons


def test_every_edge_is_checked(executed: Callable[[str], VerifierContext], judge: Judge) -> None:
    """With all tasks at the same time, each of the plan's edges is a reason of its own."""
    context = executed("long_chain_dag")
    edges = [(name, task.id) for task in context.plan.stages[0].task_graph.tasks for name in task.depends_on]
    tasks = {name: replace(task, started_ns=1, finished_ns=3) for name, task in context.tasks.items()}
    reasons = judge(replace(context, tasks=tasks)).reasons
    assert sorted(reasons) == sorted(f"edge {a} -> {b}: the child started 2 ns before its parent finished" for a, b in edges)
    assert len(edges) == 34


def test_lineage_is_a_hash_over_everything_before(executed: Callable[[str], VerifierContext]) -> None:
    context = executed("long_chain_dag")
    origin = f"origin\n{context.run_id}\n{context.seed}\n"
    first = f"ingest_1\norigin {hashlib.sha256(origin.encode()).hexdigest()}\n"
    nodes = context.tasks["collect_lineage"].output["nodes"]
    assert nodes["ingest_1"]["lineage"] == hashlib.sha256(first.encode()).hexdigest()
    assert len(nodes) == 27


def test_step_fails_when_a_parent_has_not_run(execute: Execute) -> None:
    def too_early(document: Any) -> None:
        tasks = document["stages"][0]["task_graph"]["tasks"]
        next(task for task in tasks if task["id"] == "ingest_3")["depends_on"] = []
        tasks.sort(key=lambda task: task["id"] != "ingest_3")

    context = execute("long_chain_dag", edit=too_early)
    assert context.tasks["ingest_3"].status == "failed"
    assert "ingest_3 started although ingest_2 has left no marker" in context.tasks["ingest_3"].output["stderr"]


def test_small_graph_is_named(execute: Execute, judge: Judge) -> None:
    def shrink(document: Any) -> None:
        keep = ["origin", "ingest_1", "ingest_2", "collect_lineage"]
        graph = document["stages"][0]["task_graph"]
        graph["tasks"] = [task for task in graph["tasks"] if task["id"] in keep]
        graph["tasks"][-1]["depends_on"] = ["ingest_2"]

    assert judge(execute("long_chain_dag", edit=shrink)).reasons == [
        "the graph has steps 3, the scenario wants at least 24",
        "the graph has depth 3, the scenario wants at least 12",
        "the graph has fan_out 1, the scenario wants at least 3",
        "the graph has fan_in 1, the scenario wants at least 3",
        "the graph has diamonds 0, the scenario wants at least 2",
    ]


def test_another_graph_passes(execute: Execute, judge: Judge) -> None:
    """A live plan may choose its names, and add what the scenario's least graph does not have."""

    def rename(document: Any) -> None:
        text = (
            json.dumps(document)
            .replace("refine_", "polish-")
            .replace('"origin"', '"start"')
            .replace("lineage/origin.txt", "lineage/start.txt")
        )
        text = (
            text.replace('"origin\\n', '"start\\n')
            .replace("ingest_1 origin", "ingest_1 start")
            .replace('"collect_lineage"', '"gather"')
        )
        document.clear()
        document.update(json.loads(text))
        graph = document["stages"][0]["task_graph"]
        read = {"action": "read", "path": "${{ workspace }}/out/lineage.json"}
        graph["tasks"].append({"id": "look", "type": "os", "tool_name": "file", "input": read, "depends_on": ["gather"]})

    verdict = judge(execute("long_chain_dag", edit=rename))
    assert verdict.reasons == []
    assert verdict.details["steps"] == 27
