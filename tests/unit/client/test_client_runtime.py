"""What a runtime says of its sandboxes, and what it means when it says nothing of them."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from pytest_execgo.client.runtime import sandbox_problem
from pytest_execgo.core.errors import StackError

if TYPE_CHECKING:
    from tests.unit.client.conftest import Service


def test_a_sandbox_that_can_be_had(service: Service) -> None:
    service.answer.body = json.dumps({"mode": "native", "available": True, "reason": ""}).encode()
    assert sandbox_problem(service.url + "/", "native", "secret") is None
    (request,) = service.requests
    assert (request.method, request.target) == ("GET", "/api/v1/runtime/sandboxes/native")
    assert request.headers["Authorization"] == "Bearer secret"


def test_one_that_can_not_says_why(service: Service) -> None:
    service.answer.body = json.dumps({"mode": "docker", "available": False, "reason": "no engine; start one"}).encode()
    assert sandbox_problem(service.url, "docker") == "no engine; start one"
    assert "Authorization" not in service.requests[0].headers


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"error": {"code": "not_found"}}'),
        (404, b"404 page not found"),
        (405, b""),
        (200, b"[]"),
        (200, b'{"available": 1}'),
    ],
)
def test_a_runtime_that_knows_no_sandboxes(service: Service, status: int, body: bytes) -> None:
    service.answer.status, service.answer.body = status, body
    reason = sandbox_problem(service.url, "native")
    assert reason is not None
    assert "knows no sandboxes" in reason


def test_a_runtime_in_trouble_is_no_answer(service: Service) -> None:
    service.answer.status = 503
    with pytest.raises(StackError, match="status 503"):
        sandbox_problem(service.url, "native")


def test_a_runtime_that_is_gone_is_told_in_plain_words() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(StackError, match="Connection refused") as failed:
            sandbox_problem(f"http://127.0.0.1:{held.getsockname()[1]}", "native")
    assert failed.value.code == "runtime_unreachable"
