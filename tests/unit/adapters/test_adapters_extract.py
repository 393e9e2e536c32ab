"""A plan is found in whatever a model says around it; what is no plan is told apart, and never taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.adapters.extract import find_plan, holds_plan, newest_plan
from pytest_execgo.adapters.normalize import normalize
from pytest_execgo.plan.model import PlanContext
from pytest_execgo.plan.planning import PlanningFailed

FENCE = "$: the code fence around the plan was taken off"
AROUND = "$: the text around the plan was left out"


def failure(text: str) -> PlanningFailed:
    with pytest.raises(PlanningFailed) as failed:
        find_plan(text)
    assert failed.value.layer == "planner"
    assert not failed.value.retryable
    assert not holds_plan(text)
    return failed.value


@pytest.mark.parametrize(
    ("around", "warnings"),
    [
        ("{}", []),
        ("\n  {} \n", []),
        ("```json\n{}\n```", [FENCE]),
        ("```\n{}\n```\n", [FENCE]),
        ("Sure! Here is the plan:\n{}\nGood luck.", [AROUND]),
        ("Sure:\n```json\n{}\n```", [AROUND]),
        ("It uses {{workspace}} and { braces }.\n{}", [AROUND]),
        ("Thought: done\nFinal Answer: {}", [AROUND]),
    ],
)
def test_what_stands_around_a_plan_is_taken_off_and_said(document: dict[str, Any], around: str, warnings: list[str]) -> None:
    text = json.dumps(document).join(around.replace("{{workspace}}", "WORKSPACE").split("{}")).replace("WORKSPACE", "{workspace}")
    found = find_plan(text)
    assert found.document == document
    assert found.warnings == warnings
    assert holds_plan(text)


def test_of_several_plans_the_last_one_counts(document: dict[str, Any]) -> None:
    first, example = {**document, "plan_id": "first"}, {"stage_id": "for example", "task_graph": {"tasks": []}}
    text = f"First {json.dumps(first)}, better {json.dumps(document)}, where a stage is {json.dumps(example)} and {{}}"
    found = find_plan(text)
    assert found.document == document
    assert found.warnings == ["$: of 2 plans in the text, the last one was taken"]


@pytest.mark.parametrize(
    ("wrap", "warnings"),
    [
        (lambda plan: {"plan": plan}, ["$.plan: became the plan"]),
        (lambda plan: {"result": {"plan": plan}, "confidence": 1}, ["$.result: became the plan", "$.plan: became the plan"]),
        (lambda plan: {"output": json.dumps(plan)}, ["$.output: became the plan"]),
    ],
)
def test_a_wrapped_plan_is_unwrapped(document: dict[str, Any], wrap: Callable[[Any], dict[str, Any]], warnings: list[str]) -> None:
    found = find_plan(wrap(document))
    assert (found.document, found.warnings) == (document, warnings)
    found = find_plan(json.dumps(wrap(document)))
    assert (found.document, found.warnings) == (document, warnings)
    found = find_plan(f"So: {json.dumps(wrap(document))}")
    assert (found.document, found.warnings) == (document, [AROUND, *warnings])


def test_two_wrapped_plans_are_none(document: dict[str, Any]) -> None:
    both = {"plan": document, "result": document}
    assert find_plan(both).document == both
    assert failure(json.dumps(both)).code == "planner_wrong_shape"


def test_json_within_json_and_a_bare_list_of_stages_are_plans(document: dict[str, Any]) -> None:
    found = find_plan(json.dumps(json.dumps(document)))
    assert (found.document, found.warnings) == (document, ["$: the plan was a JSON text within a JSON text"])
    found = find_plan(json.dumps(document["stages"]))
    assert (found.document, found.warnings) == ({"stages": document["stages"]}, ["$: a list of 1 became the plan's stages"])


def test_a_name_that_an_object_has_twice_is_said(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace('"plan_id": "p"', '"plan_id": "p", "framework": "x"')
    assert find_plan(text).warnings == ["$: of the fields named 'framework' in one object, the last one was taken"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "planner_no_plan", "the model said nothing"),
        (" \n", "planner_no_plan", "the model said nothing"),
        ("First I would read the files.", "planner_no_plan", "the model said: First I would read the files."),
        ("I'm sorry, but that is not something for me.", "planner_refused", "the model refused to plan"),
        ("As a careful model I cannot do this.", "planner_refused", "the model refused to plan"),
        ("[]", "planner_no_plan", "the model said: []"),
        ("3", "planner_no_plan", "the model said: 3"),
        ("{}", "planner_wrong_shape", "nothing in it has stages"),
        ('{"verdict": "fine"}', "planner_wrong_shape", "nothing in it has stages"),
        ('It is {"verdict": "fine"}.', "planner_wrong_shape", "nothing in it has stages"),
        ('{"stages": "three"}', "planner_wrong_shape", "nothing in it has stages"),
        ('{"stages": [', "planner_wrong_shape", "the plan is no JSON: Expecting value at character 12 of 12"),
        ('{"stages" [{"task_graph": {"tasks": []}}]}', "planner_wrong_shape", "Expecting ':' delimiter at character 10"),
        ("[" * 100_000 + "{", "planner_wrong_shape", "the plan is no JSON"),
        ('{"stages": ' + "[" * 100_000, "planner_wrong_shape", "it is nested too deeply"),
        ('{"plan": ' * 400 + "{}" + "}" * 400, "planner_wrong_shape", "nothing in it has stages"),
    ],
)
def test_what_is_no_plan_is_told_by_its_code(text: str, code: str, words: str) -> None:
    failed = failure(text)
    assert failed.code == code
    assert words in failed.message
    assert len(failed.message) < 400


def test_a_part_of_a_broken_plan_is_never_taken_for_the_plan(document: dict[str, Any]) -> None:
    whole = json.dumps(document)
    for text in (whole.replace('"plan_id":', '"plan_id"', 1), whole[:-1], whole[:-3], whole.replace('"mode": "replay",', "")[:-1]):
        assert failure(text).code == "planner_wrong_shape", text
        assert failure(f"Here: {text} Done.").code == "planner_wrong_shape"


def test_a_refusal_in_a_plan_is_no_refusal(document: dict[str, Any], context: PlanContext) -> None:
    document["stages"][0]["task_graph"]["tasks"][0]["input"] = {"message": "I'm sorry, I can't do that"}
    assert normalize(json.dumps(document), context, trace_ref="t").plan_id == "p"


def test_the_newest_plan_wins_over_what_was_said_after_it(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    assert newest_plan(["APPROVE", None, 5, text, "{}"]) == text
    assert newest_plan([{"verdict": "ok"}, {"plan": document}, text]) == {"plan": document}
    assert newest_plan(["not good", '{"stages": [', "hello"]) == '{"stages": ['
    assert newest_plan(["not good", " "]) == "not good"
    assert newest_plan(["", None, {}]) is None
