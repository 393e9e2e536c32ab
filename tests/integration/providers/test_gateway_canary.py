"""A provider's key stays with the gateway: it is in no record, no answer, no log, no traceback, no child process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests

from pytest_execgo.core.containment.environment import command_environment
from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness.settings import child_environment
from pytest_execgo.plan.provider import Provider
from pytest_execgo.providers.gateway import Gateway
from pytest_execgo.providers.upstream import Call, Upstream, UpstreamFailed
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.providers import make_provider
from pytest_execgo.wiring.settings import Settings

if TYPE_CHECKING:
    from tests.integration.providers.conftest import Model, Sending

CHAT = {"model": "m", "messages": []}


@pytest.fixture
def key(model: Model, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", model.key)
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    return model.key


@pytest.fixture
def provider(key: str) -> Provider:
    values = effective({"provider": "openai", "model": "m"}, {}, {})
    return make_provider(Settings.parse(values, Path("/p")), os.environ, "")


def telling(key: str) -> list[Callable[[Sending], None]]:
    """Answers of a service that says the key wherever it can."""
    authorization = f"Bearer {key}"

    def streamed(send: Sending) -> None:
        send.stream_head()
        for at in range(0, len(key), 5):
            send.event({"choices": [{"index": 0, "delta": {"content": key[at : at + 5]}}]})
        send.event({"choices": [], "note": key})
        for at in range(0, len(key), 5):
            send.chunk(f"{': ' if not at else ''}{key[at : at + 5]}".encode())
        send.raw(b"0\r\n\r\n")

    def broken_off(send: Sending) -> None:
        send.sized(key.encode(), 1000, "text/plain")
        send.cut()

    return [
        lambda send: send.json({"error": {"message": f"Incorrect API key: {key}"}}, 401, x_request_id=key, x_ratelimit_key=key),
        lambda send: send.json({"error": authorization}, 500),
        lambda send: send.json({key: [authorization, {"a": key.replace("/", "\\/")}]}),
        lambda send: send.body(f"<p>{quote(key, safe='')} {key}".encode(), "text/html", 400),
        broken_off,
        lambda send: send.json({}, 302, location=f"https://elsewhere/?key={key}"),
        streamed,
    ]


def shown(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_nothing_that_leaves_the_gateway_holds_it(
    gateway: Gateway, model: Model, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model.answers = telling(model.key)
    seen: list[str] = []
    access = provider.access("s", "f", 1)
    with gateway.open(access, deadline_ms=60_000) as session:
        for _ in range(len(model.answers) - 1):  # one of them is tried again
            try:
                answer = requests.post(
                    f"{session.url}/chat/completions", json=CHAT, headers={"authorization": "Bearer x"}, timeout=30
                )
                seen += [answer.text, str(answer.headers)]
            except requests.RequestException as error:
                seen.append(str(error))
        seen.append(requests.get(session.url, headers={"cookie": model.key}, timeout=30).text)
        seen += [repr(thing) for thing in (provider, access, session, session.log, session.redactor, session.upstream, gateway)]
    assert len(model.asked) == 7
    assert all(asked.headers["authorization"] == f"Bearer {model.key}" for asked in model.asked), "the service did get it"
    seen += [one.model_dump_json() for one in session.exchanges]
    seen += [session.usage.model_dump_json(), caplog.text]
    assert len(session.exchanges) == 7
    assert "chat/completions" in caplog.text
    for text in seen:
        assert model.key not in text
        assert model.key.removeprefix("sk-canary") not in text, "nor the better part of it"
        assert quote(model.key, safe="") not in text


def test_no_traceback_holds_it_even_with_its_locals(model: Model, provider: Provider) -> None:
    model.answers = [lambda send: send.cut()]
    upstream = Upstream(provider.access("s", "f", 1))
    with pytest.raises(UpstreamFailed) as failed:
        upstream.ask(Call("POST", "/chat/completions", "", {}, b"{}"), 30)
    upstream.close()
    text = shown(failed.value)
    assert "upstream_unreachable" in text
    assert model.key not in text


def test_no_error_of_a_wrong_setting_holds_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"https://u:{key}@h")
    settings = Settings.parse(effective({"provider": "openai", "model": "m"}, {}, {}), Path("/p"))
    with pytest.raises(UsageError) as refused:
        make_provider(settings, os.environ, "")
    assert key not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("allowed", [command_environment, child_environment], ids=["commands", "services"])
def test_no_child_process_has_it(key: str, allowed: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    def environment_and_arguments(env: dict[str, str]) -> Any:
        script = "import sys; print('up', flush=True); sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            folder = Path(f"/proc/{child.pid}")
            return (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()

    assert key.encode() in environment_and_arguments(dict(os.environ)), "this way it would be seen"
    assert key.encode() not in environment_and_arguments(allowed(os.environ))
