"""Whatever a model says and a framework wraps it in: a plan that the checks accept, or an error that says what is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.plan.model import PlanContext, PromptPack, StandardPlan
from pytest_execgo.plan.planning import PlanningFailed
from pytest_execgo.plan.problems import PlanInvalid
from pytest_execgo.plan.validate import check_plan

CONTEXT = PlanContext(
    scenario_id="demo",
    framework="langgraph",
    mode="live",
    seed=1,
    objective="do it",
    scenario_input={},
    prompt_pack=PromptPack(),
    allowed_tools=["os.noop", "os.file", "runtime.command"],
    max_tasks=5,
)
NAMES = st.sampled_from(
    "stages steps stage_id id name task_graph tasks bindings submit_policy depends_on needs deps retry timeout type tool tool_name "
    "input args params plan result output normalization_warnings annotations description source_task_id target_task_id messages "
    "content values raw json_dict tasks_output".split()
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "a", "b c", "2", "{}", "noop", "os.file"])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=25
)
OBJECTS = st.dictionaries(NAMES, ANYTHING, max_size=5)
ODD = st.dictionaries(NAMES, ANYTHING, max_size=1)
IDS = st.sampled_from(["say", "then", "read it", "x" * 130, 2, 3.5, None, ""])
TASKS = st.tuples(IDS, ODD).map(lambda it: {"id": it[0], "type": "noop", **it[1]})
STAGES = st.tuples(IDS, st.lists(TASKS, min_size=1, max_size=2), ODD).map(
    lambda it: {"stage_id": it[0], "task_graph": {"tasks": it[1]}, **it[2]}
)
PLANS = st.tuples(st.lists(STAGES, min_size=1, max_size=2), ODD).map(lambda it: {"plan_id": "p", "stages": it[0], **it[1]})
QUICK = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(found: Any) -> StandardPlan | PlanInvalid | PlanningFailed:
    try:
        return normalize(found, CONTEXT, trace_ref="t")
    except (PlanInvalid, PlanningFailed) as error:
        return error


def tried(found: Any) -> None:
    before = copy.deepcopy(found)
    came = attempt(found)
    event(type(came).__name__)
    assert json.dumps(found) == json.dumps(before)
    if isinstance(came, PlanInvalid):
        assert came.problems
    elif isinstance(came, PlanningFailed):
        assert isinstance(found, str)
        assert came.code in ("planner_no_plan", "planner_wrong_shape", "planner_refused")
    else:
        assert check_plan(came.model_dump(mode="json"), allowed_tools=CONTEXT.allowed_tools, max_tasks=CONTEXT.max_tasks) == []
        assert all(line.startswith("$") for line in came.normalization_warnings if line not in ("", "a", "b c"))


@QUICK
@given(PLANS | OBJECTS)
def test_any_document_is_a_good_plan_or_refused_with_its_problems(document: dict[str, Any]) -> None:
    tried(document)


@QUICK
@given(
    PLANS | ANYTHING, st.integers(0, 400), st.integers(0, 60), st.text(max_size=10), st.sampled_from(["", "```json\n", "So: {x} "])
)
def test_any_text_is_a_good_plan_or_told_by_its_code(value: Any, at: int, cut: int, more: str, before: str) -> None:
    text = json.dumps(value)
    tried(before + text)
    tried(before + text[:at] + more + text[at + cut :])
    tried(json.dumps(text))


@QUICK
@given(OBJECTS, st.sampled_from(["langgraph", "crewai", "autogen"]))
def test_any_raw_output_is_replayed_or_refused(raw: dict[str, Any], framework: str) -> None:
    context = CONTEXT.model_copy(update={"framework": framework, "mode": "replay"})
    with contextlib.suppress(PlanInvalid, PlanningFailed):
        assert load_adapters()[framework].replay(context, raw).plan.framework == framework
