"""check_plan and load_plan: every problem at once, each at its place."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.problems import PlanInvalid, Problem
from pytest_execgo.plan.validate import check_plan, load_plan

Document = dict[str, Any]
T0 = "$.stages[0].task_graph.tasks"
T1 = "$.stages[1].task_graph.tasks"
WATCH = {"poll_interval_ms": 60_000, "max_attempts": 10**6}


def noop(name: str, *depends_on: str) -> Document:
    return {"id": name, "type": "noop", "depends_on": list(depends_on)}


def tasks(plan: Document, stage: int = 0) -> list[Any]:
    found: list[Any] = plan["stages"][stage]["task_graph"]["tasks"]
    return found


def unbound(plan: Document) -> Document:
    plan["stages"][1]["bindings"] = []
    return plan


def test_a_good_plan_has_no_problems_and_loads(make_plan: Callable[[], Document]) -> None:
    document = make_plan()
    assert check_plan(document, allowed_tools=["os.noop", "os.file", "runtime.command"], max_tasks=5) == []
    plan = load_plan(document)
    assert isinstance(plan, StandardPlan)
    assert [task.id for stage in plan.stages for task in stage.task_graph.tasks] == ["fetch", "parse", "merge", "run", "save"]
    assert load_plan(plan.model_dump()) == plan
    assert document == make_plan(), "the document is left as it was"


SHAPE: list[tuple[str, Callable[[Document], Any], str, str, str]] = [
    ("no stages", lambda p: p.update(stages=[]), "$.stages", "empty", "at least 1"),
    ("empty graph", lambda p: p["stages"][0]["task_graph"].update(tasks=[]), T0, "empty", "at least 1"),
    ("missing field", lambda p: p.pop("plan_id"), "$.plan_id", "missing", "'plan_id' is missing"),
    ("missing task id", lambda p: tasks(p)[1].pop("id"), f"{T0}[1].id", "missing", "'id' is missing"),
    ("missing type", lambda p: tasks(p)[1].pop("type"), f"{T0}[1].type", "missing", "'type' is missing"),
    ("missing stage id", lambda p: p["stages"][0].pop("stage_id"), "$.stages[0].stage_id", "missing", "'stage_id'"),
    ("empty id", lambda p: tasks(p)[2].update(id=""), f"{T0}[2].id", "bad_value", "at least 1 character"),
    (
        "unknown field",
        lambda p: tasks(p)[0].update(dependson=[]),
        f"{T0}[0].dependson",
        "unknown_field",
        "did you mean 'depends_on'?",
    ),
    ("unknown top field", lambda p: p.update(stage=[]), "$.stage", "unknown_field", "did you mean 'stages'?"),
    ("odd field name", lambda p: p.update({"it's a.b": 1}), r"$['it\'s a.b']", "unknown_field", "allowed: plan_id"),
    ("bad mode", lambda p: p.update(mode="replya"), "$.mode", "bad_value", "did you mean 'replay'?"),
    ("bool as int", lambda p: tasks(p)[0].update(retry=True), f"{T0}[0].retry", "bad_value", "found true; allowed: an integer"),
    (
        "text as int",
        lambda p: tasks(p)[0].update(timeout="5"),
        f"{T0}[0].timeout",
        "bad_value",
        'found the text "5"; allowed: an integer',
    ),
    (
        "negative timeout",
        lambda p: tasks(p)[0].update(timeout=-1),
        f"{T0}[0].timeout",
        "bad_value",
        "found the number -1; allowed: at least 0",
    ),
    ("huge timeout", lambda p: tasks(p)[0].update(timeout=86_400_001), f"{T0}[0].timeout", "bad_value", "at most 86400000"),
    ("fraction as int", lambda p: tasks(p)[0].update(retry=1.5), f"{T0}[0].retry", "bad_value", "found the number 1.5"),
    ("task is no object", lambda p: tasks(p).append("noop"), f"{T0}[3]", "bad_value", 'found the text "noop"; allowed: an object'),
    (
        "tasks is no list",
        lambda p: p["stages"][0]["task_graph"].update(tasks={}),
        T0,
        "bad_value",
        "an object with 0 fields; allowed: a list",
    ),
    ("dependency is no text", lambda p: tasks(p)[1].update(depends_on=[1]), f"{T0}[1].depends_on[0]", "bad_value", "allowed: text"),
    ("NaN", lambda p: tasks(p)[0]["params"].update(message=float("nan")), f"{T0}[0].params.message", "not_finite", "nan"),
    ("infinite timeout", lambda p: tasks(p)[0].update(timeout=float("inf")), f"{T0}[0].timeout", "not_finite", "inf"),
    ("infinite retry", lambda p: tasks(p)[0].update(retry=float("inf")), f"{T0}[0].retry", "not_finite", "inf"),
    ("surrogate as id", lambda p: p.update(plan_id="\ud800"), "$.plan_id", "bad_text", "character 0"),
    ("5000 digits", lambda p: tasks(p)[0].update(timeout=10**5000), f"{T0}[0].timeout", "number_too_large", "bits"),
    (
        "lone surrogate",
        lambda p: tasks(p)[0]["params"].update(message="ab\ud800"),
        f"{T0}[0].params.message",
        "bad_text",
        "character 2",
    ),
    ("surrogate as key", lambda p: tasks(p)[0].update({"\udfff": 1}), rf"{T0}[0]['\udfff']", "bad_text", "surrogate"),
    ("no JSON", lambda p: p.update(raw_trace_ref=b"x"), "$.raw_trace_ref", "not_json", "a Python bytes"),
    ("number as key", lambda p: tasks(p)[0]["params"].update({3: 1}), f"{T0}[0].params", "bad_key", "allowed: text"),
    ("schema version", lambda p: p.update(schema_version="9"), "$.schema_version", "bad_value", "allowed: 0.1.0"),
]

MEANING: list[tuple[str, Callable[[Document], Any], str, str, str]] = [
    (
        "stage id twice",
        lambda p: p["stages"][1].update(stage_id="collect"),
        "$.stages[1].stage_id",
        "duplicate_stage_id",
        "$.stages[0]",
    ),
    ("task id twice", lambda p: tasks(p).append(noop("fetch")), f"{T0}[3].id", "duplicate_task_id", f"taken by {T0}[0]"),
    ("task id in two stages", lambda p: tasks(p, 1).append(noop("merge")), f"{T1}[2].id", "duplicate_task_id", f"taken by {T0}[2]"),
    ("blank id", lambda p: tasks(p).append(noop(" ")), f"{T0}[3].id", "blank_id", "blank"),
    (
        "unknown dependency",
        lambda p: tasks(p)[1].update(depends_on=["fetsh"]),
        f"{T0}[1].depends_on[0]",
        "unknown_dependency",
        "mean 'fetch'?",
    ),
    (
        "dependency across stages",
        lambda p: tasks(p, 1)[1].update(depends_on=["merge"]),
        f"{T1}[1].depends_on[0]",
        "unknown_dependency",
        "'collect'",
    ),
    ("self", lambda p: tasks(p)[1]["depends_on"].append("parse"), f"{T0}[1].depends_on[1]", "self_dependency", "itself"),
    ("cycle", lambda p: tasks(p)[0].update(depends_on=["merge"]), f"{T0}[0].depends_on", "cycle", "fetch -> merge -> fetch"),
    ("unknown type", lambda p: tasks(p)[0].update(type="shel"), f"{T0}[0].type", "unknown_tool", "did you mean 'shell'?"),
    (
        "unknown os tool",
        lambda p: tasks(p, 1)[1].update(tool_name="files"),
        f"{T1}[1].tool_name",
        "unknown_tool",
        "did you mean 'file'?",
    ),
    ("no os tool", lambda p: tasks(p, 1)[1].pop("tool_name"), f"{T1}[1].tool_name", "unknown_tool", "missing"),
    (
        "unknown kind",
        lambda p: tasks(p, 1)[0]["input"]["execution"].update(kind="comand"),
        f"{T1}[0].input.execution.kind",
        "unknown_tool",
        "'command'?",
    ),
    ("no kind", lambda p: tasks(p, 1)[0]["input"].clear(), f"{T1}[0].input.execution.kind", "unknown_tool", "missing"),
    (
        "placeholder",
        lambda p: tasks(p)[0]["params"].update(message="${{workspac}}"),
        f"{T0}[0].params.message",
        "unknown_placeholder",
        "mean 'workspace'?",
    ),
    (
        "placeholder as name",
        lambda p: tasks(p)[0]["params"].update({"${{ seed }}": 1}),
        f"{T0}[0].params['${{{{ seed }}}}']",
        "placeholder_in_name",
        "values only",
    ),
    (
        "long watch",
        lambda p: p["stages"][1]["submit_policy"].update(WATCH),
        "$.stages[1].submit_policy",
        "budget_too_long",
        "a day",
    ),
    (
        "absolute artifact",
        lambda p: p["stages"][1].update(expected_artifacts=["/etc/passwd"]),
        "$.stages[1].expected_artifacts[0]",
        "artifact_outside",
        "relative",
    ),
    (
        "artifact upwards",
        lambda p: p["stages"][1].update(expected_artifacts=["a/../../b"]),
        "$.stages[1].expected_artifacts[0]",
        "artifact_outside",
        "relative",
    ),
]


def assert_only(problems: list[Problem], path: str, code: str, words: str) -> None:
    """The expected problem, and no other that one defect made up."""
    assert [(problem.path, problem.code) for problem in problems] == [(path, code)]
    assert words in problems[0].message


@pytest.mark.parametrize(("change", "path", "code", "words"), [row[1:] for row in SHAPE], ids=[row[0] for row in SHAPE])
def test_shape(plan: Document, change: Callable[[Document], Any], path: str, code: str, words: str) -> None:
    change(unbound(plan))
    problems = [problem for problem in check_plan(plan) if problem.code != "unknown_dependency"]  # ids that vanished are missed
    assert_only(problems, path, code, words)


@pytest.mark.parametrize(("change", "path", "code", "words"), [row[1:] for row in MEANING], ids=[row[0] for row in MEANING])
def test_meaning(plan: Document, change: Callable[[Document], Any], path: str, code: str, words: str) -> None:
    change(unbound(plan))
    assert_only(check_plan(plan), path, code, words)


def test_the_scenarios_limits(plan: Document) -> None:
    problems = check_plan(plan, allowed_tools=["os.noop", "os.fil", "runtime.emit"], max_tasks=4)
    assert [(problem.path, problem.code) for problem in problems] == [
        ("$.stages", "too_many_tasks"),
        (f"{T1}[0].type", "tool_not_allowed"),
        (f"{T1}[1].type", "tool_not_allowed"),
    ]
    assert "5 tasks; allowed: at most 4" in problems[0].message
    assert "did you mean 'os.fil'?" in problems[2].message
    assert check_plan(plan, allowed_tools=[])[0].code == "tool_not_allowed"


def test_every_knot_is_named_once(plan: Document) -> None:
    unbound(plan)
    plan["stages"][0]["task_graph"]["tasks"] = [
        noop("a", "b"),
        noop("b", "c"),
        noop("c", "a"),
        noop("x", "y", "a"),
        noop("y", "x"),
        noop("free"),
    ]
    problems = check_plan(plan)
    assert [problem.message.rpartition(": ")[2] for problem in problems] == ["a -> b -> c -> a", "x -> y -> x"]


def test_everything_is_listed_at_once_in_order_of_place(plan: Document) -> None:
    plan["framework"] = 3
    tasks(plan)[0].update(type="nop", timeout=-5)
    tasks(plan)[1].update(depends_on=["gone"])
    tasks(plan)[2] = None
    tasks(plan).extend(noop(f"n{index}") for index in range(9))
    tasks(plan)[11]["retry"] = "x"
    plan["stages"][1]["bindings"][0]["source_path"] = "a..b"
    with pytest.raises(PlanInvalid) as caught:
        load_plan(plan)
    expected = [
        "$.framework",
        "$.stages[1].bindings[0].source_path",
        f"{T0}[0].timeout",
        f"{T0}[0].type",
        f"{T0}[1].depends_on[0]",
        f"{T0}[2]",
        f"{T0}[11].retry",
    ]
    assert sorted(problem.path for problem in caught.value.problems) == sorted(expected)
    paths = [problem.path for problem in caught.value.problems]
    assert paths.index(f"{T0}[2]") < paths.index(f"{T0}[11].retry"), "numbers sort as numbers"
    assert caught.value.code == "plan_invalid"
    assert "(7 problems)" in caught.value.message
    assert all(f"\n  {problem.path}: {problem.message}" in caught.value.message for problem in caught.value.problems)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.problems, str(copied)) == (caught.value.problems, str(caught.value))


def test_nesting_without_end_is_a_problem(plan: Document) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    anything: Document = {}
    tasks(plan, 1)[0]["input"]["metadata"] = anything
    anything["x"] = deep
    (problem,) = check_plan(plan)
    assert problem.code == "too_deep"
    ring: Document = {}
    ring["self"] = ring
    anything["x"] = ring
    assert [problem.code for problem in check_plan(plan)] == ["too_deep"]


def test_ten_thousand_tasks_with_ten_thousand_defects(plan: Document) -> None:
    unbound(plan)
    many = [noop(f"t{index}", f"t{index - 1}" if index else "t9999") for index in range(10_000)]
    plan["stages"][0]["task_graph"]["tasks"] = copy.deepcopy(many)
    (problem,) = check_plan(plan)
    assert problem.code == "cycle"
    assert len(problem.message) < 300
    for task in tasks(plan):
        task.update(type="x" + task["id"], depends_on=["no" + task["id"]])
    assert len(check_plan(plan)) == 20_000
