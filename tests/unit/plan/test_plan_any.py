"""Any document at all: problems, never an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_execgo.plan.validate import check_plan, load_plan

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
Document = dict[str, Any]


def noop(name: str, *depends_on: str) -> Document:
    return {"id": name, "type": "noop", "depends_on": list(depends_on)}


def tasks(plan: Document, stage: int = 0) -> list[Any]:
    found: list[Any] = plan["stages"][stage]["task_graph"]["tasks"]
    return found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4),
    max_leaves=15,
)


@CALM
@given(JSON)
def test_any_value_gives_problems_and_never_an_exception(value: Any) -> None:
    problems = check_plan(value)
    assert problems
    assert all(problem.path.startswith("$") and problem.code and problem.message for problem in problems)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every part of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@settings(CALM, max_examples=300)
@given(st.data(), JSON)
def test_any_part_may_be_replaced_by_any_value(make_plan: Callable[[], Document], data: st.DataObject, value: Any) -> None:
    plan = make_plan()
    place = data.draw(st.sampled_from(places(plan)[1:]))
    holder: Any = plan
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    problems = check_plan(plan)
    assert all(problem.path.startswith("$") and problem.code and problem.message for problem in problems)
    if not problems:  # what is valid loads, and what was loaded is JSON
        json.dumps(load_plan(plan).model_dump(), allow_nan=False, ensure_ascii=False).encode()


@CALM
@given(st.data())
def test_a_valid_plan_with_one_defect_has_at_least_that_problem(make_plan: Callable[[], Document], data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 12))
    names = [f"t{index}" for index in range(size)]
    plan = make_plan()
    plan["stages"] = plan["stages"][:1]
    parents = [st.lists(st.sampled_from(names[:index]), unique=True) if index else st.just([]) for index in range(size)]
    tasks(plan)[:] = [noop(name, *data.draw(some)) for name, some in zip(names, parents, strict=True)]
    assert check_plan(plan) == []
    index = data.draw(st.integers(0, size - 2))
    later = data.draw(st.integers(index + 1, size - 1))
    kind = data.draw(st.sampled_from(["cycle", "unknown_dependency", "self_dependency", "duplicate_task_id"]))
    if kind == "cycle":
        tasks(plan)[index]["depends_on"].append(names[later])
        tasks(plan)[later]["depends_on"].append(names[index])
    elif kind == "duplicate_task_id":
        tasks(plan)[later]["id"] = names[index]
    else:
        tasks(plan)[index]["depends_on"].append("gone" if kind == "unknown_dependency" else names[index])
    assert kind in {problem.code for problem in check_plan(plan)}
