"""The fixtures service's client counts effects, or says what is wrong with the service."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.core.errors import StackError

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
