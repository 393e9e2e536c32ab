"""The scripted model of a real fixtures service, through the gateway, with its faults on order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pytest_execgo.core.bundle import bundle_root
from pytest_execgo.providers.gateway import Gateway
from pytest_execgo.providers.session import Session
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.providers import make_provider
from pytest_execgo.wiring.settings import Settings


@dataclass
class Fixtures:
    """The service."""

    url: str

    def order(self, fault: dict[str, Any]) -> None:
        requests.put(f"{self.url}/control/model", json=fault, timeout=30).raise_for_status()


@pytest.fixture
def fixtures() -> Iterator[Fixtures]:
    read, write = os.pipe()
    command = [sys.executable, "-P", "-m", "fixtures_service", "-addr", "127.0.0.1:0", "--ready-fd", str(write)]
    environment = {**os.environ, "PYTHONPATH": str(bundle_root())}
    with subprocess.Popen(command, pass_fds=[write], env=environment) as process:
        os.close(write)
        with os.fdopen(read) as ready:
            port = json.loads(ready.readline())["port"]
        yield Fixtures(f"http://127.0.0.1:{port}")
        process.terminate()
        process.wait(30)


@pytest.fixture
def session(fixtures: Fixtures) -> Iterator[Session]:
    settings = Settings.parse(effective({"provider": "mock"}, {}, {}), Path("/p"))
    access = make_provider(settings, {}, fixtures.url).access("codegen_exec", "langgraph", 11)
    with Gateway(backoff_s=0.01) as gateway, gateway.open(access, deadline_ms=600_000) as opened:
        yield opened


def ask(session: Session, **more: Any) -> requests.Response:
    body = {"model": "scripted-planner", "messages": [{"role": "user", "content": "Plan it."}], **more}
    return requests.post(f"{session.url}/chat/completions", json=body, timeout=60)


def test_it_plans_and_its_usage_is_counted(session: Session) -> None:
    plan = json.loads(ask(session).json()["choices"][0]["message"]["content"])
    assert plan["stages"]
    session.close()
    assert session.exchanges[0].response["choices"][0]["finish_reason"] == "stop"
    assert (session.usage.requests, session.usage.cost) == (1, None)
    assert (session.usage.completion_tokens or 0) > 10


def test_a_stream_says_the_same_as_one_answer(session: Session) -> None:
    whole = ask(session).json()
    assert ask(session, stream=True, stream_options={"include_usage": True}).text.rstrip().endswith("data: [DONE]")
    session.close()
    streamed = session.exchanges[1].response
    assert streamed["choices"][0]["message"]["content"] == whole["choices"][0]["message"]["content"]
    assert streamed["usage"] == whole["usage"]
    assert session.usage.completion_tokens == 2 * whole["usage"]["completion_tokens"]


@pytest.mark.parametrize(("fault", "status"), [("status_400", 400), ("status_401", 401), ("status_429", 429), ("status_500", 500)])
def test_its_faults_reach_the_planner(session: Session, fixtures: Fixtures, fault: str, status: int) -> None:
    fixtures.order({"fault": fault, "count": 100, "parameters": {"seconds": 0} if status == 429 else {}})
    assert ask(session).status_code == status
    session.close()
    assert [one.status for one in session.exchanges] == [status] * (3 if status >= 429 else 1)
