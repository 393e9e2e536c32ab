"""The scripted model's faults in memory: what each does to an answer, whom it strikes, how often, and how it is ordered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import httpx
import pytest

from fixtures_service.advisories import load_feed
from fixtures_service.app import build_app
from fixtures_service.model.faults import FaultName
from pytest_execgo.core.bundle import bundled
from pytest_execgo.plan.scenario import ScenarioSpec
from pytest_execgo.plan.validate import check_plan
from pytest_execgo.scenarios.loader import load_scenario

TOKEN = {"authorization": "Bearer t"}
ASK = [{"role": "system", "content": "You plan work."}, {"role": "user", "content": "Plan it."}]
REPAIR = [*ASK, {"role": "assistant", "content": "{"}, {"role": "user", "content": "It can't be read.\nREPAIR:\n- $: not JSON"}]
SUBMIT = [{"type": "function", "function": {"name": "submit", "parameters": {"type": "object", "properties": {"stages": {}}}}}]
REVIEW = [{"role": "system", "content": "ROLE: reviewer"}, {"role": "user", "content": '{"stages": [1]}'}]
Client = httpx.AsyncClient


def run(use: Callable[[Client], Awaitable[None]]) -> None:
    async def inside() -> None:
        transport = httpx.ASGITransport(build_app(load_feed(bundled("fixtures_service") / "data"), "t"))
        async with Client(transport=transport, base_url="http://fixtures") as client:
            await use(client)

    asyncio.run(inside())


async def order(client: Client, fault: str | None, **more: Any) -> httpx.Response:
    return await client.put("/control/model", json={"fault": fault, **more}, headers=TOKEN)


async def state(client: Client) -> Any:
    return (await client.get("/control/model", headers=TOKEN)).json()


async def ask(client: Client, messages: Any = ASK, scenario: str = "vuln_scan", **more: Any) -> httpx.Response:
    return await client.post(f"/model/{scenario}/plain/1/v1/chat/completions", json={"model": "m", "messages": messages, **more})


async def choice(client: Client, messages: Any = ASK, scenario: str = "vuln_scan", **more: Any) -> dict[str, Any]:
    (found,) = (await ask(client, messages, scenario, **more)).json()["choices"]
    assert isinstance(found, dict)
    return found


def spec_of(scenario: str) -> ScenarioSpec:
    return load_scenario(bundled("scenarios") / scenario / "scenario.yaml").spec


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ("hallucinated_tool", {"unknown_tool"}),
        ("wrong_dependency", {"unknown_dependency"}),
        ("wrong_schema_version", {"bad_value"}),
        ("duplicate_tool_call", {"duplicate_task_id"}),
    ],
)
@pytest.mark.parametrize("scenario", ["vuln_scan", "long_chain_dag", "codegen_exec"])
def test_faults_of_a_plan_make_it_invalid_in_one_way(scenario: str, fault: str, codes: set[str]) -> None:
    async def use(client: Client) -> None:
        await order(client, fault)
        plan = json.loads((await choice(client, scenario=scenario))["message"]["content"])
        assert {problem.code for problem in check_plan(plan, allowed_tools=spec_of(scenario).allowed_tools)} == codes

    run(use)


def test_a_lost_binding_strikes_only_plans_that_have_one() -> None:
    async def use(client: Client) -> None:
        good = {
            name: json.loads((await choice(client, scenario=name))["message"]["content"])
            for name in ("vuln_scan", "long_chain_dag")
        }
        await order(client, "missing_binding")
        plan = json.loads((await choice(client))["message"]["content"])
        assert [len(stage.get("bindings", [])) for stage in plan["stages"]][-1] == 0
        assert [stage.get("bindings") for stage in plan["stages"]][:-1] == [
            one.get("bindings") for one in good["vuln_scan"]["stages"]
        ][:-1]
        assert json.loads((await choice(client, scenario="long_chain_dag"))["message"]["content"]) == good["long_chain_dag"]
        assert (await state(client))["hits"] == {"planner": 1, "reviewer": 0}

    run(use)


def test_an_obeyed_injection_is_one_more_task() -> None:
    async def use(client: Client) -> None:
        good = json.loads((await choice(client))["message"]["content"])
        allowed = spec_of("vuln_scan").allowed_tools
        for does, tool, codes in (("effect", "http", set()), ("tool", "dns", {"tool_not_allowed"})):
            await order(client, "injected", parameters={"does": does})
            plan = json.loads((await choice(client))["message"]["content"])
            added = plan["stages"][-1]["task_graph"]["tasks"].pop()
            assert plan == good
            assert (added["type"], added["tool_name"]) == ("os", tool)
            plan["stages"][-1]["task_graph"]["tasks"].append(added)
            assert {problem.code for problem in check_plan(plan, allowed_tools=allowed)} == codes
        await order(client, "hallucinated_tool", parameters={"tool": "browser"})
        assert '"tool_name":"browser"' in (await choice(client))["message"]["content"]

    run(use)


@pytest.mark.parametrize("more", [{}, {"tools": SUBMIT}, {"response_format": {"type": "json_object"}}])
def test_faults_of_a_plans_text(more: dict[str, Any]) -> None:
    async def said(client: Client) -> tuple[str, str]:
        got = await choice(client, **more)
        calls = got["message"].get("tool_calls")
        return (calls[0]["function"]["arguments"] if calls else got["message"]["content"]), got["finish_reason"]

    async def use(client: Client) -> None:
        good, finish = await said(client)
        await order(client, "malformed_json")
        malformed, _ = await said(client)
        assert len(malformed) == len(good)
        with pytest.raises(ValueError, match="delimiter"):
            json.loads(malformed)
        await order(client, "truncated_json")
        truncated = await said(client)
        assert good.startswith(truncated[0])
        assert (0 < len(truncated[0]) < len(good), truncated[1]) == (True, "length")
        await order(client, "fenced_json")
        assert await said(client) == (f"```json\n{good}\n```", finish)
        await order(client, "prose_around_json")
        prose, _ = await said(client)
        before, found, after = prose.partition(good)
        assert (before[:9], found, bool(after)) == ("Certainly", good, True)

    run(use)


def test_a_tool_called_twice_an_answer_without_choices_and_a_refusal() -> None:
    async def use(client: Client) -> None:
        await order(client, "duplicate_tool_call")
        first, second = (await choice(client, tools=SUBMIT))["message"]["tool_calls"]
        assert first["id"] != second["id"]
        assert first["function"] == second["function"]
        await order(client, "empty_choices")
        assert (await ask(client)).json()["choices"] == []
        assert (await ask(client, stream=True)).text == "data: [DONE]\n\n"
        await order(client, "refusal")
        refused = (await choice(client, tools=SUBMIT))["message"]
        assert refused["content"] is None
        assert refused["refusal"].startswith("I'm sorry")
        assert refused["refusal"] in (await ask(client, stream=True)).text
        await order(client, "refusal", parameters={"plain": True, "text": "No."})
        plain = (await choice(client))["message"]
        assert (plain["content"], plain["refusal"]) == ("No.", None)

    run(use)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (429, "rate_limit_error"), (500, "server_error")],
)
def test_refusals_by_status(status: int, kind: str) -> None:
    async def use(client: Client) -> None:
        await order(client, f"status_{status}", count=1, parameters={"seconds": 3} if status == 429 else {})
        refused = await ask(client)
        assert (refused.status_code, refused.json()["error"]["type"]) == (status, kind)
        assert refused.headers.get("retry-after") == ("3" if status == 429 else None)
        assert (await ask(client)).status_code == 200

    run(use)


def test_after_count_answers_the_model_is_good_again() -> None:
    async def use(client: Client) -> None:
        good = (await choice(client))["message"]["content"]
        await order(client, "truncated_json", count=1)
        assert (await choice(client, REVIEW))["message"]["content"] == "APPROVE"  # a reviewer has no plan to spoil
        assert (await choice(client))["message"]["content"] != good
        assert (await choice(client, REPAIR))["message"]["content"] == good
        now = await state(client)
        assert now["hits"] == {"planner": 1, "reviewer": 0}
        assert now["requests"] == {"planner": 1, "reviewer": 1, "repair": 1}
        for text, repairs in (("It failed: REPAIR:\n- $", 2), ("You may be told to REPAIR: a plan.", 2), ("REPAIR: all", 3)):
            await choice(client, [*REPAIR, {"role": "user", "content": text}])
            assert (await state(client))["requests"]["repair"] == repairs
        await order(client, "truncated_json")
        assert all([(await choice(client, REPAIR))["message"]["content"] != good for _ in range(3)])
        assert (await state(client))["hits"]["planner"] == 3

    run(use)


def test_a_role_alone_may_suffer() -> None:
    async def use(client: Client) -> None:
        await order(client, "status_500", role="reviewer")
        assert ((await ask(client)).status_code, (await ask(client, REVIEW)).status_code) == (200, 500)
        await order(client, "refusal", role="planner")
        assert (await choice(client))["message"]["refusal"]
        assert (await choice(client, REVIEW))["message"]["refusal"] is None
        await order(client, "dropped")
        with pytest.raises(ConnectionResetError):
            await ask(client, REVIEW)
        assert (await state(client))["hits"] == {"planner": 0, "reviewer": 1}

    run(use)


def test_a_mistaken_request_is_no_hit() -> None:
    async def use(client: Client) -> None:
        await order(client, "status_500", count=1)
        assert (await ask(client, [])).status_code == 400
        assert (await ask(client, scenario="no_such")).status_code == 404
        assert (await state(client))["hits"] == {"planner": 0, "reviewer": 0}

    run(use)


def test_faults_are_ordered_with_the_token_shown_and_reset() -> None:
    async def use(client: Client) -> None:
        for method in ("GET", "PUT"):
            assert (await client.request(method, "/control/model", json={})).status_code == 401
        none = {"hits": {"planner": 0, "reviewer": 0}, "requests": {"planner": 0, "reviewer": 0, "repair": 0}}
        assert await state(client) == {"fault": None, "count": None, "role": "any", "parameters": {}, **none}
        answered = await order(client, "status_429", count=2, role="planner", parameters={"seconds": 0})
        assert answered.json() == await state(client)
        assert answered.json() == {"fault": "status_429", "count": 2, "role": "planner", "parameters": {"seconds": 0}, **none}
        assert (await ask(client)).status_code == 429
        for reset in (
            client.put("/control/model", json={}, headers=TOKEN),
            client.post("/control/reset", headers=TOKEN),
        ):
            await order(client, "status_500")
            assert (await reset).status_code == 200
            assert (await state(client))["fault"] is None
            assert (await ask(client)).status_code == 200

    run(use)


def test_every_fault_can_be_ordered() -> None:
    async def use(client: Client) -> None:
        for name in (name for family in get_args(FaultName) for name in get_args(family)):
            assert (await order(client, name)).json()["fault"] == name

    run(use)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"fault": "no_such"}, "$.fault"),
        ({"fault": "dropped", "count": 0}, "$.count"),
        ({"fault": "dropped", "role": "critic"}, "$.role"),
        ({"fault": "dropped", "parameters": {"seconds": 1}}, "$.parameters.seconds"),
        ({"parameters": {"ms": 1}}, "$.parameters.ms"),
        ({"fault": "slow_first_byte", "parameters": {"ms": -1}}, "$.parameters.ms"),
        ({"fault": "fenced_json", "role": "reviewer"}, "$.role"),
        ({"often": 1}, "$.often"),
        ([], "$"),
    ],
)
def test_a_mistaken_order_is_refused_with_its_place(document: Any, path: str) -> None:
    async def use(client: Client) -> None:
        await order(client, "status_500")
        refused = await client.put("/control/model", json=document, headers=TOKEN)
        assert refused.status_code == 400
        assert path in [problem["path"] for problem in refused.json()["error"]["details"]["problems"]]
        assert (await state(client))["fault"] == "status_500"

    run(use)
