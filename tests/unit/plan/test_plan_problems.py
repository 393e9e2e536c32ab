"""Messages: names that were meant, places in files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.document import SourceDocument
from pytest_execgo.core.jsonvalue import clean_json, describe, parent_path, path_text
from pytest_execgo.plan.model import Task
from pytest_execgo.plan.problems import PlanInvalid, Problem, Suggester, invalid_file, located
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.shape import check_shape


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ((), "$"),
        (("stages", 0, "task_graph", "tasks", 1, "depends_on", 0), "$.stages[0].task_graph.tasks[1].depends_on[0]"),
        (("a.b", "c"), "$['a.b'].c"),
        (("it's", "\\", "x"), r"$['it\'s']['\\'].x"),
        (("line\nbreak",), r"$['line\u000abreak']"),
        (("", "1a", "ä"), "$['']['1a']['ä']"),
    ],
)
def test_places_and_what_is_around_them(parts: tuple[Any, ...], path: str) -> None:
    assert path_text(parts) == path
    assert parent_path(path) == path_text(parts[:-1])


def test_long_names_are_cut_in_places() -> None:
    assert len(path_text(["x" * 1000])) < 100


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (3, "the number 3"),
        pytest.param(10**5000, "a number of 16610 bits", id="5000 digits"),
        (1.5, "the number 1.5"),
        ('a"b', r'the text "a\"b"'),
        ("x" * 100, "xxx…"),
        ({"a": 1}, "an object with 1 field"),
        ([1, 2], "a list of 2"),
        (b"", "a Python bytes"),
    ],
)
def test_describe(value: Any, words: str) -> None:
    assert words in describe(value)
    assert len(describe(value)) < 100


def test_clean_json_leaves_good_values_as_they_are_and_copies_them() -> None:
    value = {"a": [1, 1.5, None, True, "ä😀"], "": {}}
    copied, faults = clean_json(value)
    assert (copied, faults) == (value, [])
    assert copied is not value
    assert copied["a"] is not value["a"]


def test_the_nearest_name_is_offered_only_when_one_is_near() -> None:
    suggest = Suggester()
    assert suggest.unknown("tool", "os.shel", ["os.file", "os.shell"]) == (
        "unknown tool 'os.shel'; did you mean 'os.shell'? allowed: os.file, os.shell"
    )
    assert suggest.unknown("tool", "zzz", ["os.file"]) == "unknown tool 'zzz'; allowed: os.file"
    assert suggest.unknown("tool", 3, []) == "unknown tool the number 3; allowed: none"
    assert suggest.allowed("", [f"n{index}" for index in range(40)]).endswith("n29, … (10 more)")


def test_searching_for_names_ends_some_time() -> None:
    suggest = Suggester()
    while suggest.left:
        assert "did you mean" in suggest.nearest("os.shel", ["os.shell"])
    assert suggest.nearest("os.shel", ["os.shell"]) == ""


def test_problems_of_a_file_stand_in_order_of_lines() -> None:
    source = SourceDocument(Path("s.yaml"), {}, {"$": 1, "$.a": 4, "$.b": 2})
    problems = [Problem("$.a.x[0]", "c", "one"), Problem("$.b", "c", "two"), Problem("$.zz", "c", "three")]
    assert located(source, problems) == ["s.yaml:1: $.zz: three", "s.yaml:2: $.b: two", "s.yaml:4: $.a.x[0]: one"]
    error = invalid_file("scenario", ["x", "y"])
    assert (error.code, error.message) == ("invalid_scenario", "the scenario can't be used (2 problems):\n  x\n  y")


def test_one_problem_is_singular() -> None:
    assert PlanInvalid([Problem("$.a", "c", "what")]).message == "the plan is invalid (1 problem):\n  $.a: what"


def test_a_plan_of_a_file_says_its_problems_with_their_file() -> None:
    invalid = PlanInvalid([Problem("$.a", "c", "what")], 0.5, ["p.json:3: $.a: what"])
    again = pickle.loads(pickle.dumps(invalid))
    for error in (invalid, again):
        assert error.message == "the plan is invalid (1 problem):\n  p.json:3: $.a: what"
        assert (error.lines, error.validity) == (("p.json:3: $.a: what",), 0.5)


def test_the_members_of_a_union_are_one_problem() -> None:
    _, _, problems = check_shape(ScenarioSpec, {"expected": 5})
    (problem,) = (problem for problem in problems if problem.path == "$.expected")
    assert problem.message == "found the number 5; allowed: an object or text"


def test_unknown_fields_of_inner_models_are_held_against_those_models() -> None:
    _, _, problems = check_shape(ScenarioSpec, {"effect_budget": {"max_task": 1}})
    (problem,) = (problem for problem in problems if problem.path == "$.effect_budget.max_task")
    assert problem.message == "unknown field 'max_task'; did you mean 'max_tasks'? allowed: max_tasks, max_effects"


def test_a_model_comes_only_from_a_document_without_problems() -> None:
    assert check_shape(Task, {"id": "a", "type": "noop", "params": {"x": 1}})[0] == Task(id="a", type="noop", params={"x": 1})
    found, clean, problems = check_shape(Task, {"id": "a", "type": "noop", "params": {"x": float("nan")}})
    assert (found, clean["params"], [problem.path for problem in problems]) == (None, {"x": None}, ["$.params.x"])
