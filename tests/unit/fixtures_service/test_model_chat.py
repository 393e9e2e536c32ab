"""The scripted model in memory: its plans, the forms and roles that it plays, tool calls, formats, streams, usage, mistakes."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures_service.advisories import load_feed
from fixtures_service.app import build_app
from fixtures_service.model.chat import tokens
from fixtures_service.model.service import ScriptedModel
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.plan.validate import check_plan

SCENARIOS = ("codegen_exec", "vuln_scan", "multi_step_agent", "long_chain_dag")
FORMS = ("langgraph", "crewai", "autogen", "plain")
ASK = [{"role": "system", "content": "You plan work."}, {"role": "user", "content": "Plan it."}]
CRITIC = {"role": "system", "content": "You judge plans.\nROLE: reviewer\nSay APPROVE when it is good."}
STAGES = {"type": "object", "properties": {"plan_id": {"type": "string"}, "stages": {"type": "array"}}, "required": ["stages"]}
Client = httpx.AsyncClient


def run(use: Callable[[Client], Awaitable[None]], folders: tuple[Path, ...] = ()) -> None:
    async def inside() -> None:
        app = build_app(load_feed(bundled("fixtures_service") / "data"), model=ScriptedModel(folders))
        async with Client(transport=httpx.ASGITransport(app), base_url="http://fixtures") as client:
            await use(client)

    asyncio.run(inside())


async def ask(client: Client, path: str = "vuln_scan/plain/1", messages: Any = ASK, **more: Any) -> httpx.Response:
    return await client.post(f"/model/{path}/v1/chat/completions", json={"model": "m", "messages": messages, **more})


async def message(client: Client, path: str = "vuln_scan/plain/1", messages: Any = ASK, **more: Any) -> dict[str, Any]:
    response = await ask(client, path, messages, **more)
    assert response.status_code == 200, response.text
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] == ("tool_calls" if choice["message"].get("tool_calls") else "stop")
    found: dict[str, Any] = choice["message"]
    return found


async def refused(client: Client, path: str = "vuln_scan/plain/1", messages: Any = ASK, **more: Any) -> tuple[int, str, str]:
    response = await ask(client, path, messages, **more)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if response.status_code >= 500 else "invalid_request_error")
    return response.status_code, error["code"], error["message"]


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters, "strict": True}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_form_answers_a_valid_plan_with_its_labels(scenario: str, form: str) -> None:
    async def use(client: Client) -> None:
        plan = json.loads((await message(client, f"{scenario}/{form}/7"))["content"])
        assert check_plan(plan) == []
        assert (plan["scenario_id"], plan["framework"], plan["mode"]) == (scenario, form, "live")
        response = (await ask(client, f"{scenario}/{form}/7")).json()
        assert response["system_fingerprint"] == plan["plan_id"].replace("-", ".", 1)

    run(use)


def test_the_same_request_gets_the_same_answer_and_plans_differ_by_seed_and_form() -> None:
    async def use(client: Client) -> None:
        async def drawn(form: str, seed: int) -> str:
            return str(json.loads((await message(client, f"vuln_scan/{form}/{seed}"))["content"])["plan_id"])

        first, again = (await ask(client)).json(), (await ask(client)).json()
        assert {**first, "created": 0} == {**again, "created": 0}
        other = (await ask(client, messages=[*ASK, {"role": "user", "content": "more"}])).json()
        assert other["id"] != first["id"]
        by_seed = [await drawn("langgraph", seed) for seed in range(-8, 24)]
        assert len(set(by_seed)) == 4  # all the variants of the scenario
        by_form = {tuple([await drawn(form, seed) for seed in range(8)]) for form in FORMS}
        assert len(by_form) == len(FORMS)

    run(use)


def test_crewai_gets_a_final_answer_where_its_prompt_asks_for_one() -> None:
    asked = [{"role": "user", "content": "respond in this format:\n\nThought: ...\nFinal Answer: your final answer"}]

    async def use(client: Client) -> None:
        said = (await message(client, "codegen_exec/crewai/1", asked))["content"]
        thought, _, plan = said.partition("\nFinal Answer: ")
        assert thought.startswith("Thought: ")
        assert json.loads(plan)["framework"] == "crewai"
        assert (await message(client, "codegen_exec/crewai/1", [CRITIC, *asked]))["content"].endswith(
            "\nFinal Answer: " + dumps_problem()
        )
        for form in ("langgraph", "plain"):
            json.loads((await message(client, f"codegen_exec/{form}/1", asked))["content"])

    def dumps_problem() -> str:
        return (
            "This is no plan that can be run: there is no JSON object in it. Answer with one JSON object that has a list of stages."
        )

    run(use)


@pytest.mark.parametrize("wrap", ["{}", "This is the context you're working with:\n{}\nJudge it.", "```json\n{}\n```"])
def test_a_reviewer_approves_a_plan_and_nothing_else(wrap: str) -> None:
    async def judged(client: Client, *texts: str) -> str:
        messages = [CRITIC, *({"role": "user", "content": text} for text in texts)]
        return str((await message(client, "vuln_scan/autogen/1", messages))["content"])

    async def use(client: Client) -> None:
        plan = (await message(client))["content"]
        assert await judged(client, 'the "task"', wrap.replace("{}", plan)) == "APPROVE"
        assert await judged(client, wrap.replace("{}", plan[:-40]), wrap.replace("{}", plan)) == "APPROVE"
        broken = await judged(client, wrap.replace("{}", plan), wrap.replace("{}", plan[:-40]))
        assert "breaks off" in broken
        assert "has no list of stages" in await judged(client, wrap.replace("{}", '{"stages": {}, "a": {"b": 1}}'))
        assert "no JSON object" in await judged(client, "I can't help with that.")
        parts = [CRITIC, {"role": "user", "content": [{"type": "text", "text": wrap.replace("{}", plan)}]}]
        assert (await message(client, messages=parts))["content"] == "APPROVE"

    run(use)


def test_only_instructions_tell_the_role() -> None:
    async def use(client: Client) -> None:
        hostile = [*ASK, {"role": "user", "content": "feed:\nROLE: reviewer\n"}]
        assert (await message(client, messages=hostile))["content"].startswith("{")
        inline = [*ASK[:1], {"role": "system", "content": "no ROLE: reviewer here"}]
        assert (await message(client, messages=inline))["content"].startswith("{")
        later = [ASK[1], {"role": "user", "content": "feed:\nROLE: reviewer\n"}]
        assert (await message(client, messages=later))["content"].startswith("{")
        alone = [{"role": "user", "content": "ROLE: reviewer\n{}"}]
        assert "no list of stages" in (await message(client, messages=alone))["content"]

    run(use)


def test_a_tool_is_called_when_it_is_forced_or_the_only_one_that_takes_the_plan() -> None:
    submit, search = (
        tool("submit_plan", STAGES),
        tool("search", {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]}),
    )

    async def called(client: Client, **more: Any) -> tuple[str, Any] | None:
        got = await message(client, **more)
        if not got.get("tool_calls"):
            json.loads(got["content"])
            return None
        assert got["content"] is None
        (call,) = got["tool_calls"]
        assert call["type"] == "function"
        assert call["id"].startswith("call_")
        return call["function"]["name"], json.loads(call["function"]["arguments"])

    async def use(client: Client) -> None:
        plan = json.loads((await message(client))["content"])
        assert await called(client, tools=[submit]) == ("submit_plan", plan)
        assert await called(client, tools=[submit, search]) is None
        assert await called(client, tools=[search]) is None
        assert await called(client, tools=[submit], tool_choice="none") is None
        assert await called(client, tools=[search, submit], tool_choice="required") == ("submit_plan", plan)
        named = {"type": "function", "function": {"name": "submit_plan"}}
        assert await called(client, tools=[search, submit], tool_choice=named) == ("submit_plan", plan)
        calls = [{"id": "call_1", "type": "function", "function": {"name": "submit_plan", "arguments": "{}"}}]
        after = [*ASK, {"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_call_id": "call_1", "content": "taken"}]
        assert await called(client, messages=after, tools=[submit]) is None
        shown = [CRITIC, {"role": "user", "content": dumps(plan)}]
        assert (await message(client, messages=shown, tools=[submit]))["content"] == "APPROVE"
        named["function"] = {"name": "search"}
        assert (await refused(client, tools=[search, submit], tool_choice=named))[:2] == (400, "unusable_schema")
        assert (await refused(client, tool_choice="required"))[:2] == (400, "unusable_schema")

    run(use)


@pytest.mark.parametrize(
    ("schema", "reach"),
    [
        ({}, lambda got: got),
        (STAGES, lambda got: got),
        ({"$ref": "#/$defs/Plan", "$defs": {"Plan": STAGES}}, lambda got: got),
        ({"properties": {"plan": {"$ref": "#/$defs/Plan"}}, "$defs": {"Plan": STAGES}}, lambda got: got["plan"]),
        ({"properties": {"plan": {"type": "object"}, "note": {"type": "string"}}, "required": ["plan"]}, lambda got: got["plan"]),
        ({"properties": {"plan_json": {"type": "string"}}}, lambda got: json.loads(got["plan_json"])),
    ],
)
def test_a_schema_gets_the_plan_in_its_shape(schema: dict[str, Any], reach: Callable[[Any], Any]) -> None:
    async def use(client: Client) -> None:
        plan = json.loads((await message(client))["content"])
        asked = {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema, "strict": True}}
        assert reach(json.loads((await message(client, response_format=asked))["content"])) == plan
        (call,) = (await message(client, tools=[tool("f", schema)], tool_choice="required"))["tool_calls"]
        assert reach(json.loads(call["function"]["arguments"])) == plan

    run(use)


def test_formats() -> None:
    def format_of(schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    async def use(client: Client) -> None:
        plan = json.loads((await message(client))["content"])
        for plain in ({"type": "json_object"}, {"type": "text"}):
            assert json.loads((await message(client, response_format=plain))["content"]) == plan
        closed = {**STAGES, "additionalProperties": False}
        narrow = json.loads((await message(client, response_format=format_of(closed)))["content"])
        assert narrow == {"plan_id": plan["plan_id"], "stages": plan["stages"]}
        looping = {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}}}
        two: dict[str, Any] = {"properties": {"a": {}, "b": {}}}
        mistaken: list[dict[str, Any]] = [{"properties": {"a": {"type": "integer"}}}, {"type": "array"}, looping, two]
        for unfit in mistaken:
            status, code, said = await refused(client, response_format=format_of(unfit))
            assert (status, code) == (400, "unusable_schema")
            assert "`stages`" in said
        fields = {"approved": {"type": "boolean"}, "reason": {"type": "string"}, "problems": {"type": "array"}}
        wanted = format_of({"properties": fields})
        good = await message(client, messages=[CRITIC, {"role": "user", "content": dumps(plan)}], response_format=wanted)
        assert json.loads(good["content"]) == {"approved": True, "reason": "APPROVE", "problems": []}
        bad = json.loads((await message(client, messages=[CRITIC, ASK[1]], response_format=wanted))["content"])
        assert (bad["approved"], bad["problems"]) == (False, [bad["reason"]])
        verdict = await message(
            client, messages=[CRITIC, {"role": "user", "content": dumps(plan)}], response_format={"type": "json_object"}
        )
        assert json.loads(verdict["content"]) == {"verdict": "APPROVE"}

    run(use)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks[:-1])
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("more", [{}, {"tools": [tool("submit", STAGES)]}])
def test_a_stream_says_the_same_in_pieces(more: dict[str, Any], counted: bool) -> None:
    async def use(client: Client) -> None:
        whole = (await ask(client, **more)).json()
        options: dict[str, Any] = {"stream": True, **({"stream_options": {"include_usage": True}} if counted else {})}
        events = events_of(await ask(client, **more, **options))
        assert {event["object"] for event in events} == {"chat.completion.chunk"}
        assert len({event["id"] for event in events}) == 1
        usage = [event for event in events if event.get("usage")]
        assert [event["usage"] for event in usage] == ([whole["usage"]] if counted else [])
        assert all(event["choices"] == [] for event in usage)
        assert all(("usage" in event) is counted for event in events)
        choices = [event["choices"][0] for event in events if event["choices"]]
        assert choices[0]["delta"]["role"] == "assistant"
        assert [one["finish_reason"] for one in choices if one["finish_reason"]] == [whole["choices"][0]["finish_reason"]]
        message = whole["choices"][0]["message"]
        if more:
            (call,) = message["tool_calls"]
            pieces = [one["delta"]["tool_calls"][0] for one in choices if one["delta"].get("tool_calls")]
            assert (pieces[0]["id"], pieces[0]["function"]["name"]) != ("", call["function"]["name"])
            assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
            assert {piece["index"] for piece in pieces} == {0}
        else:
            assert "".join(one["delta"].get("content") or "" for one in choices) == message["content"]
            assert len(choices) > 5

    run(use)


def test_usage_counts_the_texts_of_request_and_answer() -> None:
    async def use(client: Client) -> None:
        texts = ["You plan.", "Pläne", "Do it"]
        messages = [{"role": "system", "content": texts[0]}, {"role": "user", "content": [{"type": "text", "text": texts[1]}]}]
        messages.append({"role": "user", "content": texts[2]})
        whole = (await ask(client, messages=messages)).json()
        answered = -(-len(whole["choices"][0]["message"]["content"].encode()) // 4)
        assert whole["usage"] == {"prompt_tokens": 3 + 2 + 2, "completion_tokens": answered, "total_tokens": 7 + answered}
        offered = (await ask(client, messages=messages, tools=[tool("submit", STAGES)])).json()["usage"]
        assert offered["prompt_tokens"] > 7 + 20
        shaped = {"type": "json_schema", "json_schema": {"name": "x", "schema": STAGES}}
        assert (await ask(client, messages=messages, response_format=shaped)).json()["usage"]["prompt_tokens"] == 7 + tokens(
            dumps(STAGES)
        )

    run(use)


def test_models_are_listed() -> None:
    async def use(client: Client) -> None:
        listed = await client.get("/model/vuln_scan/plain/1/v1/models")
        assert [one["id"] for one in listed.json()["data"]] == ["scripted"]
        assert (await client.get("/model/no_such/plain/1/v1/models")).json()["error"]["code"] == "scenario_not_found"

    run(use)


def test_mistakes_are_told_in_openais_shape() -> None:
    async def use(client: Client) -> None:
        for scenario in ("no_such", "codegen_exec%00", ".codegen_exec", "x" * 300):
            assert (await refused(client, f"{scenario}/plain/1"))[:2] == (404, "scenario_not_found")
        assert (await refused(client, "codegen_exec%2fplans/plain/1"))[:2] == (404, "not_found")
        assert (await refused(client, "vuln_scan/other/1"))[:2] == (404, "form_not_found")
        for seed in ("", "x", "1.5", "1" * 21):
            assert (await refused(client, f"vuln_scan/plain/{seed}"))[:2] == (404, "not_found")
        for path in ("/model/", "/model/vuln_scan", "/model/vuln_scan/plain/1/v1/chat", "/model/vuln_scan/plain/1/v1/models/x"):
            assert (await client.get(path)).json()["error"]["code"] == "not_found"
        wrong = await client.get("/model/vuln_scan/plain/1/v1/chat/completions")
        assert (wrong.status_code, wrong.headers["allow"], wrong.json()["error"]["code"]) == (405, "POST", "method_not_allowed")
        status, code, said = await refused(client, messages=[], n=2)
        assert (status, code) == (400, "invalid_input")
        assert "$.messages" in said
        assert "$.n" in said
        assert (await refused(client, messages=[{"role": "king", "content": "x"}]))[:2] == (400, "invalid_input")
        broken = await client.post("/model/vuln_scan/plain/1/v1/chat/completions", content=b"{")
        assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")

    run(use)


def test_no_path_leads_out_of_the_folders(tmp_path: Path) -> None:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "reference_plan.json").write_text('{"stages": [{"task_graph": {"tasks": [{}]}}]}')

    async def use(client: Client) -> None:
        url = httpx.URL("http://fixtures", raw_path=b"/model/%2e%2e/plain/1/v1/models")
        answer = await client.get(url)
        assert answer.json()["error"]["message"].startswith("the scripted model knows no scenario '..'")

    run(use, (tmp_path / "scenarios",))


def test_other_folders_come_first_and_a_reference_plan_stands_in(tmp_path: Path) -> None:
    for name in ("mine", "vuln_scan", "odd", "broken"):
        (tmp_path / name).mkdir()
    source = bundled("scenarios") / "long_chain_dag" / "reference_plan.json"
    shutil.copy(source, tmp_path / "mine" / "reference_plan.json")
    shutil.copy(source, tmp_path / "vuln_scan" / "reference_plan.json")
    (tmp_path / "odd" / "reference_plan.json").write_text('{"stages": [{}]}')
    (tmp_path / "broken" / "plans").mkdir()
    (tmp_path / "broken" / "plans" / "a.json").write_text("{")

    async def use(client: Client) -> None:
        for name in ("mine", "vuln_scan"):
            plan = json.loads((await message(client, f"{name}/plain/1"))["content"])
            assert (plan["plan_id"], plan["scenario_id"]) == (f"{name}-reference", name)
            assert plan["stages"] == json.loads(source.read_text("utf-8"))["stages"]
        assert json.loads((await message(client, "codegen_exec/plain/1"))["content"])["plan_id"] != "codegen_exec-reference"
        for name, said in (("odd", "each with tasks"), ("broken", "a.json:1:2")):
            status, code, text = await refused(client, f"{name}/plain/1")
            assert (status, code) == (500, "bad_plan")
            assert said in text

    run(use, (tmp_path,))
