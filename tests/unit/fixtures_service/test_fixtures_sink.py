"""The effect sink's evidence and its memory: fencing tokens, arrivals, lives, torn and corrupt lines."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures_service.advisories import Feed
from fixtures_service.app import build_app
from fixtures_service.journal import FILE, Journal
from fixtures_service.sink import Arrival, Delivery, Effect, EffectSink
from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.errors import ExecGoError, UsageError

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]
ARRIVAL = Arrival(1)


def run(scenario: Scenario, sink: EffectSink | None = None) -> None:
    async def inside() -> None:
        transport = httpx.ASGITransport(build_app(Feed(version=1, advisories=[]), "", sink))
        async with httpx.AsyncClient(transport=transport, base_url="http://fixtures") as client:
            await scenario(client)

    asyncio.run(inside())


async def post(client: httpx.AsyncClient, key: str, payload: Any = 1, **headers: str) -> httpx.Response:
    names = {"task": b"X-Execgo-Task", "token": b"X-Fencing-Token"}
    sent = [(b"Idempotency-Key", key.encode()), *((names[name], value.encode()) for name, value in headers.items())]
    return await client.post("/effects", json={"kind": "ticket", "payload": payload}, headers=sent)


async def log(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    deliveries: list[dict[str, Any]] = (await client.get("/effects/deliveries")).json()["deliveries"]
    return deliveries


def life(folder: Path) -> EffectSink:
    return EffectSink(Journal(folder))


def end(sink: EffectSink) -> None:
    assert sink.journal is not None
    sink.journal.close()


def deliver(sink: EffectSink, key: str, payload: Any = 1, token: int | None = None) -> Delivery:
    return sink.deliver(key, Effect(kind="ticket", payload=payload), 10, replace(ARRIVAL, token=token))


def test_a_delivery_tells_when_it_came_from_which_task_and_in_which_life() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        before = time.monotonic_ns()
        await client.put("/control/mode", json={"latency_ms": 30})
        await post(client, "k", task="run:stage:täsk:1", token="7")
        await client.put("/control/mode", json={})
        await post(client, "k")
        first, second = await log(client)
        assert before < first["received_ns"] < first["monotonic_ns"] - 20_000_000
        assert (first["task"], first["token"], first["kind"]) == ("run:stage:täsk:1", 7, "ticket")
        assert (second["task"], second["token"]) == (None, None)
        assert first["boot_id"] == second["boot_id"] == (await client.get("/health")).json()["boot_id"]

    run(scenario)
    assert EffectSink().boot_id != EffectSink().boot_id


def test_a_stale_token_is_refused_and_logged_and_touches_no_other_key() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await post(client, "k", token="5")).status_code == 201
        assert (await post(client, "k", token="5")).status_code == 200
        assert (await post(client, "k", token="8")).status_code == 200
        late = await post(client, "k", token="7")
        assert (late.status_code, late.json()["error"]["code"]) == (409, "fenced")
        assert late.json()["error"]["details"] == {"effect_id": "effect-1", "sequence": 4, "highest_token": 8}
        assert (await post(client, "k")).status_code == 200
        assert (await post(client, "k", 2, token="9")).json()["error"]["code"] == "conflict"
        assert (await post(client, "k", token="8")).json()["error"]["code"] == "fenced"
        assert (await post(client, "other", token="0")).status_code == 201
        outcomes = [one["outcome"] for one in await log(client)]
        assert outcomes == ["applied", "repeated", "repeated", "fenced", "repeated", "conflict", "fenced", "applied"]
        assert len((await client.get("/effects")).json()["effects"]) == 2

    run(scenario)


@pytest.mark.parametrize("token", ["", "x", "-1", "1.0", "1" * 19, "٣"])
def test_a_token_that_is_no_number_is_refused_and_nothing_is_done(token: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await post(client, "k", token=token)
        assert refused.status_code == 400
        assert refused.json()["error"]["details"]["problems"][0]["path"] == "header X-Fencing-Token"
        assert await log(client) == []

    run(scenario)


def test_effects_deliveries_and_tokens_outlive_a_life(tmp_path: Path) -> None:
    first = life(tmp_path)
    payload = {"text": "ä\u2028</script>", "number": 1e22, "big": 10**400, "deep": [[[None]]]}
    deliver(first, "a", payload, token=3)
    deliver(first, "a", payload)
    deliver(first, "b", 2)
    kept, applied, size = first.deliveries, first.applied, first.stored_bytes
    end(first)
    second = life(tmp_path)
    assert second.deliveries == kept
    assert second.applied == applied
    assert second.stored_bytes == size == 20
    assert deliver(second, "a", payload, token=2).outcome == "fenced"
    assert deliver(second, "a", payload).outcome == "repeated"
    assert deliver(second, "a", "other").outcome == "conflict"
    new = deliver(second, "c")
    assert (new.sequence, new.effect_id, new.boot_id) == (7, "effect-7", second.boot_id)
    assert second.boot_id != first.boot_id
    end(second)
    third = life(tmp_path)
    assert third.deliveries == second.deliveries
    assert third.describe() == {"kept": True, "deliveries": 7, "torn": 0}
    third.reset()
    assert deliver(third, "a", "new").sequence == 1
    end(third)
    last = life(tmp_path)
    assert [one.payload for one in last.applied.values()] == ["new"]
    end(last)


def test_a_line_torn_at_any_byte_is_cut_off_counted_and_delivered_anew(tmp_path: Path) -> None:
    sink = life(tmp_path)
    deliver(sink, "a")
    whole = (tmp_path / FILE).stat().st_size
    deliver(sink, "b")
    end(sink)
    written = (tmp_path / FILE).read_bytes()
    for size in range(whole + 1, len(written)):
        (tmp_path / FILE).write_bytes(written[:size])
        sink = life(tmp_path)
        assert (list(sink.applied), sink.describe()["torn"]) == (["a"], 1)
        assert deliver(sink, "b").outcome == "applied"
        end(sink)
        sink = life(tmp_path)
        assert (list(sink.applied), sink.describe()["torn"]) == (["a", "b"], 1)
        sink.reset()
        assert sink.describe() == {"kept": True, "deliveries": 0, "torn": 0}
        end(sink)


def _lines(damage: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda text: b"".join(damage(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("damage", "line", "said"),
    [
        (_lines(lambda rows: [rows[0], b"\0" * 40 + b"\n", rows[2]]), 2, "Invalid JSON"),
        (_lines(lambda rows: [rows[0], rows[1][:50] + b"\n", rows[2]]), 2, "Invalid JSON"),
        (_lines(lambda rows: [rows[0], rows[2]]), 2, "it holds delivery 3, where 2 should be"),
        (_lines(lambda rows: [rows[0], rows[0], rows[1], rows[2]]), 2, "it holds delivery 1, where 2 should be"),
        (_lines(lambda rows: [b"{}\n", *rows[1:]]), 1, "delivery"),
        (_lines(lambda rows: [*rows[:2], rows[2].replace(b'"size":0', b'"size":"0"')]), 3, "size"),
        (_lines(lambda rows: [*rows[:2], rows[2].replace(b"repeated", b"applied")]), 3, "contradicts"),
        (_lines(lambda rows: [rows[0].replace(b'"payload":1', b'"payload":3'), *rows[1:]]), 1, "does not have its digest"),
    ],
)
def test_a_line_that_can_not_be_believed_is_named_and_left_alone(
    tmp_path: Path, damage: Callable[[bytes], bytes], line: int, said: str
) -> None:
    sink = life(tmp_path)
    for key in ("a", "b", "a"):
        deliver(sink, key)
    end(sink)
    path = tmp_path / FILE
    path.write_bytes(damaged := damage(path.read_bytes()))
    journal = Journal(tmp_path)
    with pytest.raises(ExecGoError) as refused:
        EffectSink(journal)
    journal.close()
    assert refused.value.code == "corrupt_journal"
    assert f"{path}, line {line}: " in refused.value.message
    assert said in refused.value.message
    assert path.read_bytes() == damaged


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    first = Journal(tmp_path / "data")
    with pytest.raises(UsageError, match=f"in use by another fixtures service \\(pid {os.getpid()}\\)"):
        Journal(tmp_path / "data")
    first.close()
    Journal(tmp_path / "data").close()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="-data-dir"):
        Journal(tmp_path / "file" / "below")


@pytest.mark.parametrize("written", [0, 20])
def test_a_delivery_that_can_not_be_kept_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    sink = life(tmp_path)
    deliver(sink, "a")
    before = (tmp_path / FILE).read_bytes()
    really = os.write

    def full(fd: int, data: bytes) -> int:
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(fd, data[:written])

    with monkeypatch.context() as patch:
        patch.setattr("fixtures_service.journal.os.write", full)
        with pytest.raises(HttpError, match="No space left") as refused:
            deliver(sink, "b")
    assert (refused.value.status, refused.value.code) == (503, "sink_unwritable")
    assert list(sink.applied) == ["a"]
    assert (tmp_path / FILE).read_bytes() == before
    assert deliver(sink, "b").sequence == 2
    end(sink)
    again = life(tmp_path)
    assert list(again.applied) == ["a", "b"]
    end(again)


def test_what_is_written_is_one_line_of_json_a_delivery(tmp_path: Path) -> None:
    sink = life(tmp_path)
    deliver(sink, "a", {"line": "one\ntwo\u2028three"})
    deliver(sink, "a", 2)
    end(sink)
    rows = [json.loads(line) for line in (tmp_path / FILE).read_bytes().split(b"\n")[:-1]]
    assert [row["delivery"]["outcome"] for row in rows] == ["applied", "conflict"]
    assert [row["payload"] for row in rows] == [{"line": "one\ntwo\u2028three"}, None]
