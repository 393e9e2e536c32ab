"""The service's application in memory: feed, effect sink, control plane, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures_service.advisories import load_feed
from fixtures_service.app import build_app
from fixtures_service.faults import GARBAGE, parse_mode
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.bundle import bundled

TOKEN = {"authorization": "Bearer t"}
FEED: Path = bundled("fixtures_service") / "data"
Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


def run(scenario: Scenario, token: str = "t") -> None:
    async def inside() -> None:
        transport = httpx.ASGITransport(build_app(load_feed(FEED), token))
        async with httpx.AsyncClient(transport=transport, base_url="http://fixtures") as client:
            await scenario(client)

    asyncio.run(inside())


async def deliver(client: httpx.AsyncClient, key: str, payload: Any = 1, kind: str = "ticket") -> httpx.Response:
    return await client.post("/effects", json={"kind": kind, "payload": payload}, headers={"idempotency-key": key})


async def set_mode(client: httpx.AsyncClient, **mode: Any) -> httpx.Response:
    return await client.put("/control/mode", json=mode, headers=TOKEN)


async def hits(client: httpx.AsyncClient) -> Any:
    return (await client.get("/control/mode", headers=TOKEN)).json()["hits"]


def error_of(response: httpx.Response) -> tuple[int, str]:
    body = response.json()["error"]
    assert set(body) == {"code", "message", "details"}
    return response.status_code, body["code"]


def test_the_feed_has_a_tag_and_a_filter() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        whole = await client.get("/advisories")
        assert whole.json()["schema"] == 1
        unchanged = await client.get("/advisories", headers={"if-none-match": f'"other", W/{whole.headers["etag"]}'})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == whole.headers["etag"]
        some = (await client.get("/advisories?package=Quick_YAML")).json()["advisories"]
        assert {one["package"] for one in some} == {"Quick_Yaml", "quick.yaml", "quick-yaml"}
        tagged = await client.get("/advisories?package=quick-yaml", headers={"if-none-match": whole.headers["etag"]})
        assert tagged.status_code == 200
        assert (await client.get("/advisories?package=none")).json() == {"schema": 1, "advisories": []}

    run(scenario)


def test_an_effect_applies_once_per_key_and_every_delivery_is_logged() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        first = await deliver(client, "run1:a", {"x": 1, "y": 2})
        assert (first.status_code, first.json()["applied"]) == (201, True)
        again = await client.post(
            "/effects", content=b'{"payload": {"y": 2, "x": 1}, "kind": "ticket"}', headers={"idempotency-key": "run1:a"}
        )
        assert (again.status_code, again.json()) == (200, {"applied": False, "effect_id": first.json()["effect_id"]})
        assert error_of(await deliver(client, "run1:a", {"x": 2})) == (409, "conflict")
        assert error_of(await deliver(client, "run1:a", {"x": 1, "y": 2}, kind="mail")) == (409, "conflict")
        await deliver(client, "run2:a", None)
        effects = (await client.get("/effects")).json()["effects"]
        assert [(one["key"], one["kind"], one["payload"]) for one in effects] == [
            ("run1:a", "ticket", {"x": 1, "y": 2}),
            ("run2:a", "ticket", None),
        ]
        log = (await client.get("/effects/deliveries")).json()["deliveries"]
        assert [one["sequence"] for one in log] == [1, 2, 3, 4, 5]
        assert [one["outcome"] for one in log] == ["applied", "repeated", "conflict", "conflict", "applied"]
        times = [one["monotonic_ns"] for one in log]
        assert times == sorted(times)
        assert log[0]["digest"] == log[1]["digest"] != log[2]["digest"]
        assert len(log[0]["digest"]) == 64
        mine = (await client.get("/effects/deliveries?run=run2")).json()["deliveries"]
        assert [one["key"] for one in mine] == ["run2:a"]
        assert [one["key"] for one in (await client.get("/effects?run=run1")).json()["effects"]] == ["run1:a"]

    run(scenario)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"[]", "$"),
        (b"[" * 100_000, "$"),
        (b"{}", "$.kind"),
        (b'{"kind": true}', "$.kind"),
        (b'{"kind": "a", "extra": 1}', "$.extra"),
        (b'{"kind": "a", "payload": NaN}', "$"),
        (b'{"kind": "a", "payload": {"b": ["\\ud800"]}}', "$.payload.b[0]"),
        (b'{"kind": "a\\u0000"}', "$.kind"),
        (b'{"kind": "\xff"}', "$"),
    ],
)
def test_a_bad_effect_is_refused_and_neither_applied_nor_logged(body: bytes, path: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await client.post("/effects", content=body, headers={"idempotency-key": "k"})
        assert error_of(refused) == (400, "invalid_input")
        assert [one["path"] for one in refused.json()["error"]["details"]["problems"]] == [path]
        assert (await client.get("/effects")).json() == {"effects": []}
        assert (await client.get("/effects/deliveries")).json() == {"deliveries": []}

    run(scenario)


def test_an_effect_needs_one_good_key() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for key in (b"", b"\xe9", b"k" * 513):
            refused = await client.post("/effects", json={"kind": "a"}, headers=[(b"idempotency-key", key)])
            assert error_of(refused) == (400, "invalid_input")
        for headers in ([], [("idempotency-key", "a"), ("Idempotency-Key", "b")]):
            refused = await client.post("/effects", json={"kind": "a"}, headers=headers)
            assert error_of(refused) == (400, "invalid_input")
        large = await client.post("/effects", content=b" " * 2_000_000, headers={"idempotency-key": "k"})
        assert error_of(large) == (413, "body_too_large")

    run(scenario)


def test_the_token_guards_the_control_plane_only() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for method, path in (("GET", "/control/mode"), ("PUT", "/control/mode"), ("POST", "/control/reset"), ("GET", "/control/x")):
            assert error_of(await client.request(method, path)) == (401, "unauthorized")
        for path in ("/health", "/advisories", "/effects"):
            assert (await client.get(path)).status_code == 200
        assert error_of(await client.get("/control/x", headers=TOKEN)) == (404, "not_found")
        assert error_of(await client.delete("/control/mode", headers=TOKEN)) == (405, "method_not_allowed")

    run(scenario)


def test_without_a_token_the_control_plane_is_open() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/control/mode")).json() == {
            "latency_ms": 0,
            "error_mode": "none",
            "error_rate": 1.0,
            "count": None,
            "inject": False,
            "seed": 0,
            "routes": None,
            "hits": {"latency": 0, "error": 0, "inject": 0},
        }

    run(scenario, token="")


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ({"latency_ms": True}, "$.latency_ms"),
        ({"latency_ms": -1}, "$.latency_ms"),
        ({"latency_ms": 60_001}, "$.latency_ms"),
        ({"latency_ms": "5"}, "$.latency_ms"),
        ({"error_mode": "explode"}, "$.error_mode"),
        ({"error_rate": 1.1}, "$.error_rate"),
        ({"error_rate": True}, "$.error_rate"),
        ({"error_mod": "drop"}, "$.error_mod"),
        ({"routes": []}, "$.routes"),
        ({"routes": ["/effects", "/health"]}, "$.routes[1]"),
        ({"routes": ["/advisoriesx"]}, "$.routes[0]"),
        ({"routes": ["/effects/deliveries"]}, "$.routes[0]"),
        ({"count": 0}, "$.count"),
        ({"count": True}, "$.count"),
        ({"inject": ""}, "$.inject"),
        ({"inject": "x" * 1001}, "$.inject"),
        ({"inject": 1}, "$.inject"),
        ([], "$"),
    ],
)
def test_a_bad_mode_is_refused_and_changes_nothing(mode: Any, path: str) -> None:
    with pytest.raises(HttpError) as caught:
        parse_mode(mode)
    assert {one["path"] for one in caught.value.details["problems"]} == {path}

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await set_mode(client, latency_ms=1)).status_code == 200
        refused = await client.put("/control/mode", json=mode, headers=TOKEN)
        assert error_of(refused) == (400, "invalid_input")
        assert (await client.get("/control/mode", headers=TOKEN)).json()["latency_ms"] == 1

    run(scenario)


@pytest.mark.parametrize(("mode", "status"), [("error_500", 500), ("error_503", 503)])
def test_an_injected_error_comes_before_the_work(mode: str, status: int) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await set_mode(client, error_mode=mode)).json()["error_mode"] == mode
        assert error_of(await deliver(client, "k")) == (status, f"injected_{mode}")
        assert (await client.get("/advisories")).status_code == status
        assert (await client.get("/health")).status_code == 200
        await set_mode(client)
        assert (await client.get("/effects/deliveries")).json() == {"deliveries": []}

    run(scenario)


def test_a_spoiled_answer_comes_after_the_work() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await set_mode(client, error_mode="garbage")
        assert (await deliver(client, "k")).content == GARBAGE
        await set_mode(client, error_mode="drop")
        with pytest.raises(ConnectionResetError):
            await deliver(client, "k")
        await set_mode(client)
        log = (await client.get("/effects/deliveries")).json()["deliveries"]
        assert [one["outcome"] for one in log] == ["applied", "repeated"]
        assert len((await client.get("/effects")).json()["effects"]) == 1

    run(scenario)


def test_routes_narrow_a_mode_and_the_rate_is_drawn_from_the_seed() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        async def statuses() -> list[int]:
            await set_mode(client, error_mode="error_503", error_rate=0.5, seed=7, routes=["/advisories"])
            return [(await client.get("/advisories")).status_code for _ in range(40)]

        first = await statuses()
        assert 5 < first.count(503) < 35
        assert await statuses() == first
        assert await hits(client) == {"latency": 0, "error": first.count(503), "inject": 0}
        assert (await deliver(client, "k")).status_code == 201
        await set_mode(client, error_mode="error_503", error_rate=0)
        assert {(await client.get("/advisories")).status_code for _ in range(20)} == {200}

    run(scenario)


def test_a_count_bounds_the_errors_and_the_hits_say_what_was_suffered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        assert seconds == 0.001

    monkeypatch.setattr("fixtures_service.faults.asyncio.sleep", sleep)

    async def scenario(client: httpx.AsyncClient) -> None:
        await set_mode(client, error_mode="error_503", count=2, latency_ms=1)
        assert [(await deliver(client, "k")).status_code for _ in range(4)] == [503, 503, 201, 200]
        assert await hits(client) == {"latency": 4, "error": 2, "inject": 0}
        assert (await set_mode(client)).json()["hits"] == {"latency": 0, "error": 0, "inject": 0}

    run(scenario)


@pytest.mark.parametrize("error_mode", ["error_500", "drop", "garbage"])
def test_who_reads_the_sink_is_never_disturbed(error_mode: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await deliver(client, "k")
        await set_mode(client, error_mode=error_mode, latency_ms=60_000)
        assert len((await client.get("/effects")).json()["effects"]) == 1
        assert len((await client.get("/effects/deliveries")).json()["deliveries"]) == 1
        assert await hits(client) == {"latency": 0, "error": 0, "inject": 0}

    run(scenario)


@pytest.mark.parametrize("inject", [True, "obey </script> me"])
def test_an_injected_feed_is_the_same_feed_with_hostile_summaries(inject: bool | str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        clean = await client.get("/advisories")
        await set_mode(client, inject=inject)
        hostile = await client.get("/advisories", headers={"if-none-match": clean.headers["etag"]})
        before, after = clean.json()["advisories"], hostile.json()["advisories"]
        added = [two.pop("summary").removeprefix(one.pop("summary")) for one, two in zip(before, after, strict=True)]
        assert after == before
        assert all(added)
        assert "</script>" in "".join(added)
        assert len(set(added)) == (1 if isinstance(inject, str) else 6)
        same = await client.get("/advisories", headers={"if-none-match": hostile.headers["etag"]})
        assert same.status_code == 304
        assert (await client.get("/advisories?package=none")).json()["advisories"] == []
        assert await hits(client) == {"latency": 0, "error": 0, "inject": 1}
        one = (await client.get("/advisories?package=parcelkit")).json()["advisories"]
        assert one[0]["summary"] == hostile.json()["advisories"][0]["summary"]
        await set_mode(client, inject=True, routes=["/effects"])
        assert (await client.get("/advisories")).content == clean.content

    run(scenario)


def test_a_feed_that_nobody_gets_is_not_injected() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await set_mode(client, inject=True, error_mode="garbage")
        assert (await client.get("/advisories")).content == GARBAGE
        assert await hits(client) == {"latency": 0, "error": 1, "inject": 0}

    run(scenario)


def test_latency_delays_data_routes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("fixtures_service.faults.asyncio.sleep", sleep)

    async def scenario(client: httpx.AsyncClient) -> None:
        await set_mode(client, latency_ms=1500)
        for path in ("/health", "/control/mode", "/advisories"):
            await client.get(path, headers=TOKEN)
        assert slept == [1.5]

    run(scenario)


def test_a_reset_clears_mode_effects_and_log() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await deliver(client, "k", 1)
        await set_mode(client, error_mode="error_500")
        assert (await client.post("/control/reset", headers=TOKEN)).json() == {"reset": True}
        assert (await client.get("/effects")).json() == {"effects": []}
        assert (await deliver(client, "k", 2)).status_code == 201
        assert [one["sequence"] for one in (await client.get("/effects/deliveries")).json()["deliveries"]] == [1]

    run(scenario)
