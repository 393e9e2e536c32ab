"""The fixtures service's client reads the sink and sets the mode, or says what is wrong with the service."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.plan.fault import FixturesControl

if TYPE_CHECKING:
    from tests.unit.client.conftest import Service


@pytest.mark.parametrize("count", [0, 1, 7])
def test_effects_are_counted(service: Service, count: int) -> None:
    service.answer.body = json.dumps({"effects": [{"key": str(n)} for n in range(count)]}).encode()
    client = FixturesClient(service.url + "/")
    assert client.applied_effects() == count
    client.close()
    assert [(request.method, request.target) for request in service.requests] == [("GET", "/effects")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"effects": []}'),
        (404, b"not found"),
        (200, b"no json"),
        (200, b"{}"),
        (200, b'{"effects": null}'),
        (200, b"[]"),
        (200, b"1"),
    ],
)
def test_an_answer_that_is_no_list_of_effects_is_an_error_naming_the_service(service: Service, status: int, body: bytes) -> None:
    service.answer.status, service.answer.body = status, body
    client = FixturesClient(service.url)
    with pytest.raises(StackError, match=f"{service.url}/effects") as failed:
        client.applied_effects()
    client.close()
    assert failed.value.code == "fixtures_unreachable"


def test_a_service_that_is_gone_is_told_in_plain_words() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        client = FixturesClient(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(StackError) as failed:
            client.applied_effects()
        client.close()
    assert failed.value.message == f"the effect sink at {client.url}/effects did not answer: Connection refused"


def test_deliveries_are_those_of_the_run(service: Service) -> None:
    rows = [{"sequence": 1, "key": "run/1"}, {"sequence": 2, "key": "run/2"}]
    service.answer.body = json.dumps({"deliveries": rows}).encode()
    client = FixturesClient(service.url, token="t")
    assert client.deliveries("run/") == rows
    assert client.deliveries() == rows
    client.close()
    assert [request.target for request in service.requests] == ["/effects/deliveries?run=run%2F", "/effects/deliveries"]
    assert all("Authorization" not in request.headers for request in service.requests)


def test_the_mode_is_set_and_its_hits_are_read_with_the_token(service: Service) -> None:
    hits = {"latency": 0, "error": 2, "inject": 1}
    service.answer.body = json.dumps({"latency_ms": 0, "hits": hits}).encode()
    client = FixturesClient(service.url, token="t")
    control: FixturesControl = client
    control.set_mode({"error_mode": "drop", "count": 2})
    assert control.hits() == hits
    client.close()
    put, got = service.requests
    assert (put.method, put.target, json.loads(put.body)) == ("PUT", "/control/mode", {"error_mode": "drop", "count": 2})
    assert (got.method, got.target) == ("GET", "/control/mode")
    assert {request.headers["Authorization"] for request in service.requests} == {"Bearer t"}


def test_a_fault_of_the_model_is_ordered_and_its_hits_are_read_with_the_token(service: Service) -> None:
    service.answer.body = json.dumps({"fault": "dropped", "hits": {"planner": 2, "reviewer": 0}}).encode()
    client = FixturesClient(service.url, token="t")
    control: FixturesControl = client
    control.set_model({"fault": "dropped", "count": 2})
    assert control.model_hits() == {"planner": 2, "reviewer": 0}
    client.close()
    put, got = service.requests
    assert (put.method, put.target, json.loads(put.body)) == ("PUT", "/control/model", {"fault": "dropped", "count": 2})
    assert (got.method, got.target) == ("GET", "/control/model")
    assert {request.headers["Authorization"] for request in service.requests} == {"Bearer t"}


def test_a_fault_of_the_model_that_is_refused_is_the_callers_mistake(service: Service) -> None:
    service.answer.status = 400
    service.answer.body = b'{"error": {"code": "invalid_input", "message": "$.fault: unknown", "details": {}}}'
    client = FixturesClient(service.url)
    with pytest.raises(UsageError, match=r"refuses the model: \$\.fault: unknown") as refused:
        client.set_model({"fault": "x"})
    assert refused.value.code == "bad_model_fault"
    client.close()


def test_a_mode_that_is_refused_is_the_callers_mistake(service: Service) -> None:
    service.answer.status = 400
    service.answer.body = b'{"error": {"code": "invalid_input", "message": "$.count: too small", "details": {}}}'
    client = FixturesClient(service.url)
    with pytest.raises(UsageError, match=r"refuses the mode: \$\.count: too small"):
        client.set_mode({"count": 0})
    client.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error": {"code": "unauthorized"}}'),
        (500, b'{"hits": {}}'),
        (400, b"{}"),
        (200, b"{}"),
        (200, b'{"hits": null}'),
        (200, b"garbage"),
        (200, b"[]"),
    ],
)
def test_a_control_plane_that_does_not_answer_as_it_should_is_named(service: Service, status: int, body: bytes) -> None:
    service.answer.status, service.answer.body = status, body
    client = FixturesClient(service.url)
    for ask in (client.hits, lambda: client.set_mode({})):
        with pytest.raises(StackError, match=f"{service.url}/control/mode") as failed:
            ask()
        assert failed.value.code == "fixtures_unreachable"
    client.close()


def test_a_list_that_is_none_is_an_error(service: Service) -> None:
    service.answer.body = b'{"deliveries": {"a": 1}}'
    client = FixturesClient(service.url)
    with pytest.raises(StackError, match="/effects/deliveries"):
        client.deliveries()
    client.close()
