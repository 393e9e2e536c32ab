"""The scripted model in a real service: over plain HTTP, and as the `openai` client sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import requests

from pytest_execgo.core.bundle import bundle_root
from pytest_execgo.plan.validate import check_plan

ASK = [{"role": "system", "content": "You plan work."}, {"role": "user", "content": "Plan it."}]
SCHEMA = {"type": "object", "properties": {"stages": {"type": "array", "items": {}}}, "required": ["stages"]}
TOOL = {"type": "function", "function": {"name": "submit_plan", "parameters": SCHEMA}}
LONG_MS = 600_000


class Service:
    """A running service; `log` is what it wrote to standard error."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "log"
        read, write = os.pipe()
        argv = [sys.executable, "-m", "fixtures_service", "-addr", "127.0.0.1:0", "-ready-fd", str(write), *options]
        environment = {**os.environ, "PYTHONPATH": str(bundle_root()), "EXECGO_FIXTURES_TOKEN": "t"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, pass_fds=[write], env=environment, cwd=folder, stderr=log)
        os.close(write)
        with os.fdopen(read) as ready:
            self.url = f"http://127.0.0.1:{json.loads(ready.readline())['port']}"
        self.session = requests.Session()
        self.session.trust_env = False

    def base(self, path: str = "vuln_scan/plain/1") -> str:
        return f"{self.url}/model/{path}/v1"

    def order(self, fault: str | None, **more: Any) -> None:
        headers = {"authorization": "Bearer t"}
        self.session.put(f"{self.url}/control/model", json={"fault": fault, **more}, headers=headers, timeout=30).raise_for_status()

    def hits(self) -> int:
        headers = {"authorization": "Bearer t"}
        return int(self.session.get(f"{self.url}/control/model", headers=headers, timeout=30).json()["hits"]["planner"])

    def ask(self, *, timeout: float = 30, **more: Any) -> requests.Response:
        body = {"model": "m", "messages": ASK, **more}
        live = bool(more.get("stream"))
        return self.session.post(f"{self.base()}/chat/completions", json=body, timeout=timeout, stream=live)

    def stop(self) -> int:
        self.session.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("model"))
    yield service
    assert service.stop() == 0
    assert service.log.read_text() == ""


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The service of this module, without faults."""
    yield shared
    shared.order(None)


@pytest.fixture
def openai_client(service: Service) -> Iterator[Callable[..., Any]]:
    """The official client, made for a path of the model; what it raises is in the package."""
    openai = pytest.importorskip("openai", reason="needs the openai package: pip install 'pytest-execgo[langgraph]'")
    clients = []

    def made(path: str = "vuln_scan/plain/1", **options: Any) -> Any:
        settings = {"max_retries": 0, "timeout": 30, **options}
        clients.append(openai.OpenAI(base_url=service.base(path), api_key="none", **settings))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


def hear(response: requests.Response) -> tuple[bytes, requests.RequestException | None]:
    """Read an answer to its end; return what came, and what the reading ended with."""
    heard = b""
    try:
        for piece in response.iter_content(None):
            heard += piece
    except requests.RequestException as error:
        return heard, error
    return heard, None


# -- plain HTTP -----------------------------------------------------------------------------------------------------------


def test_many_requests_on_one_connection_cost_little_each(service: Service) -> None:
    """Bounds the server's delayed answers (40 ms each, if it let the system gather them), not its speed."""
    service.ask()
    took = []
    for _ in range(51):
        began = time.monotonic()
        assert service.ask().status_code == 200
        took.append(time.monotonic() - began)
    assert median(took) < 0.03


@pytest.mark.parametrize("stream", [False, True])
def test_a_dropped_connection_has_no_answer(service: Service, stream: bool) -> None:
    service.order("dropped", count=1)
    with pytest.raises(requests.ConnectionError):
        service.ask(stream=stream)
    assert service.hits() == 1
    assert service.ask().status_code == 200


def test_a_stalled_stream_says_a_little_and_then_nothing(service: Service) -> None:
    service.order("stalled_stream", parameters={"chunks": 4, "ms": 200})
    with service.ask(stream=True) as response:
        heard, ended = hear(response)
    assert isinstance(ended, requests.exceptions.ChunkedEncodingError)
    assert heard.count(b"\n\n") == 4
    assert b"[DONE]" not in heard
    service.order("stalled_stream", parameters={"ms": LONG_MS})
    with service.ask(stream=True, timeout=5) as response:
        heard, ended = hear(response)
    assert heard.count(b"\n\n") == 3
    assert "timed out" in str(ended)


def test_a_stalled_answer_has_a_head_alone(service: Service) -> None:
    service.order("stalled_stream", parameters={"ms": 200})
    url, body = f"{service.base()}/chat/completions", {"model": "m", "messages": ASK}
    with service.session.post(url, json=body, timeout=30, stream=True) as response:
        assert response.status_code == 200
        assert int(response.headers["content-length"]) > 1000
        heard, ended = hear(response)
    assert heard == b""
    assert isinstance(ended, requests.exceptions.ChunkedEncodingError)


def test_a_slow_first_byte_comes_late_and_whole(service: Service) -> None:
    service.order("slow_first_byte", parameters={"ms": 300})
    began = time.monotonic()
    assert check_plan(json.loads(service.ask().json()["choices"][0]["message"]["content"])) == []
    assert time.monotonic() - began >= 0.3
    service.order("slow_first_byte", parameters={"ms": LONG_MS})
    with pytest.raises(requests.ReadTimeout):
        service.ask(timeout=0.2)


@pytest.mark.parametrize("fault", ["stalled_stream", "slow_first_byte"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_kept_waiting_ends_when_the_service_stops(tmp_path: Path, fault: str, stream: bool) -> None:
    service = Service(tmp_path, "-shutdown-timeout", "25")
    service.order(fault, parameters={"ms": LONG_MS})
    url, body = f"{service.base()}/chat/completions", {"model": "m", "messages": ASK, "stream": stream}
    script = "import sys, requests; requests.post(sys.argv[1], data=sys.argv[2], timeout=60)"
    with subprocess.Popen([sys.executable, "-c", script, url, json.dumps(body)], stderr=subprocess.PIPE) as client:
        deadline = time.monotonic() + 30
        while service.hits() == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 20  # before the bound for open requests
        _, said = client.communicate(timeout=30)
    assert b"ConnectionError" in said or b"ChunkedEncodingError" in said
    assert service.log.read_text() == ""


def test_a_folder_of_scenarios_may_be_named(tmp_path: Path) -> None:
    plan = {"stages": [{"stage_id": "s", "task_graph": {"tasks": [{"id": "a", "type": "noop"}]}}]}
    (tmp_path / "own" / "mine").mkdir(parents=True)
    (tmp_path / "own" / "mine" / "reference_plan.json").write_text(json.dumps(plan))
    service = Service(tmp_path, "-scenarios", str(tmp_path / "own"))
    try:
        for name, status in (("mine", 200), ("vuln_scan", 200), ("no_such", 404)):
            url = f"{service.base(f'{name}/plain/1')}/chat/completions"
            answer = service.session.post(url, json={"model": "m", "messages": ASK}, timeout=30)
            assert answer.status_code == status
            if name == "mine":
                assert json.loads(answer.json()["choices"][0]["message"]["content"])["stages"] == plan["stages"]
    finally:
        assert service.stop() == 0


# -- the official client --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["langgraph", "crewai", "autogen", "plain"])
def test_the_client_reads_every_form(openai_client: Callable[..., Any], form: str) -> None:
    client = openai_client(f"codegen_exec/{form}/5")
    assert [model.id for model in client.models.list()] == ["scripted"]
    answer = client.chat.completions.create(model="m", messages=ASK)
    plan = json.loads(answer.choices[0].message.content)
    assert check_plan(plan) == []
    assert plan["framework"] == form
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    critic = [{"role": "system", "content": "ROLE: reviewer"}, {"role": "user", "content": json.dumps(plan)}]
    assert client.chat.completions.create(model="m", messages=critic).choices[0].message.content == "APPROVE"


def test_the_client_reads_streams_tool_calls_and_formats(openai_client: Callable[..., Any]) -> None:
    create = openai_client().chat.completions.create
    text = create(model="m", messages=ASK).choices[0].message.content
    chunks = list(create(model="m", messages=ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage.completion_tokens == -(-len(text.encode()) // 4)
    (call,) = create(model="m", messages=ASK, tools=[TOOL]).choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == json.loads(text)
    with openai_client().chat.completions.stream(model="m", messages=ASK, tools=[TOOL]) as stream:
        (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (streamed.function.name, streamed.function.arguments) == (call.function.name, call.function.arguments)
    shaped = {"type": "json_schema", "json_schema": {"name": "plan", "schema": SCHEMA}}
    assert json.loads(create(model="m", messages=ASK, response_format=shaped).choices[0].message.content) == json.loads(text)


@pytest.mark.parametrize(
    ("fault", "parameters", "raised"),
    [
        ("status_400", {}, "BadRequestError"),
        ("status_401", {}, "AuthenticationError"),
        ("status_429", {"seconds": 2}, "RateLimitError"),
        ("status_500", {}, "InternalServerError"),
        ("dropped", {}, "APIConnectionError"),
        ("slow_first_byte", {"ms": LONG_MS}, "APITimeoutError"),
        ("stalled_stream", {"ms": LONG_MS}, "APITimeoutError"),
    ],
)
def test_the_client_raises_what_the_fault_means(
    service: Service, openai_client: Callable[..., Any], fault: str, parameters: dict[str, Any], raised: str
) -> None:
    openai = sys.modules["openai"]
    client = openai_client(timeout=5.0 if raised == "APITimeoutError" else 30)
    service.order(fault, parameters=parameters)
    with pytest.raises(getattr(openai, raised)) as caught:
        client.chat.completions.create(model="m", messages=ASK)
    if raised == "RateLimitError":
        assert caught.value.response.headers["retry-after"] == "2"
        assert caught.value.code == "rate_limit_exceeded"
    assert service.hits() == 1


def test_the_client_retries_by_itself_and_then_succeeds(service: Service, openai_client: Callable[..., Any]) -> None:
    client = openai_client(max_retries=2)
    for fault in ("status_429", "status_500", "dropped"):
        service.order(fault, count=1, parameters={"seconds": 0} if fault == "status_429" else {})
        assert client.chat.completions.create(model="m", messages=ASK).choices
        assert service.hits() == 1


def test_the_client_reads_spoiled_answers(service: Service, openai_client: Callable[..., Any]) -> None:
    create = openai_client().chat.completions.create
    good = create(model="m", messages=ASK).choices[0].message.content
    for fault in ("malformed_json", "truncated_json", "fenced_json", "prose_around_json"):
        service.order(fault)
        whole = create(model="m", messages=ASK)
        assert whole.choices[0].finish_reason == ("length" if fault == "truncated_json" else "stop")
        chunks = create(model="m", messages=ASK, stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert said == whole.choices[0].message.content
        with pytest.raises(ValueError, match=r"line \d"):
            json.loads(said)
    for fault in ("hallucinated_tool", "wrong_dependency", "missing_binding", "wrong_schema_version", "injected"):
        service.order(fault)
        changed = create(model="m", messages=ASK).choices[0].message.content
        assert json.loads(changed) != json.loads(good)
    service.order("duplicate_tool_call")
    assert len(create(model="m", messages=ASK, tools=[TOOL]).choices[0].message.tool_calls) == 2
    service.order("empty_choices")
    assert create(model="m", messages=ASK).choices == []
    assert list(create(model="m", messages=ASK, stream=True)) == []
    service.order("refusal")
    message = create(model="m", messages=ASK).choices[0].message
    assert (message.content, bool(message.refusal)) == (None, True)


def test_the_client_hears_a_stalled_streams_beginning(service: Service, openai_client: Callable[..., Any]) -> None:
    service.order("stalled_stream", parameters={"chunks": 3, "ms": LONG_MS})
    chunks = openai_client(timeout=5.0).chat.completions.create(model="m", messages=ASK, stream=True)
    heard = [next(chunks) for _ in range(3)]
    assert heard[2].choices[0].delta.content
    with pytest.raises(Exception, match="timed out"):
        next(chunks)
