"""What every backend promises, run against each of them with the real services."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_execgo.core.engine.cleanup import remove_labelled
from pytest_execgo.core.engine.ownership import OWNER_LABEL
from pytest_execgo.core.errors import StackError, Unsupported
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.external import ExternalStack
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Capability, Endpoints, Service, Stack

HEALTH = {Service.KERNEL: "/health", Service.RUNTIME: "/readyz", Service.FIXTURES: "/health"}


def kernel_script(folder: Path) -> Path:
    """Our kernel, dressed as a binary that knows ExecGo's flags only."""
    script = folder / "execgo"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m pytest_execgo serve kernel "$@"\n')
    script.chmod(0o755)
    return script


OWNED = ("embedded", "native", "containers")
BACKENDS = (*OWNED, "external")


@contextmanager
def prepared(backend: str, folder: Path, base: str) -> Iterator[Stack]:
    """Prepare a stack that is not up yet; an external one points at an embedded one that is."""
    settings = StackSettings(environ=os.environ, shutdown_timeout=1)
    owned: EmbeddedStack | ContainerStack
    if backend == "native":
        owned = NativeStack(kernel_script(folder), folder / "native", settings)
    elif backend == "containers":
        owned = ContainerStack(folder / "containers", settings, base_image=base)
    else:
        owned = EmbeddedStack(folder / "embedded", settings)
    stack: Stack = owned
    try:
        if backend == "external":
            endpoints = owned.up()
            stack = ExternalStack(endpoints.kernel, endpoints.runtime, endpoints.fixtures, endpoints.token)
        yield stack
        stack.down()
    finally:
        owned.down()


def base_of(request: pytest.FixtureRequest, backend: str) -> str:
    """Return the base image that a backend needs; skips where it needs one and there is none."""
    return cast("str", request.getfixturevalue("base_image")) if backend == "containers" else ""


@pytest.fixture(params=BACKENDS)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, not up yet."""
    with prepared(request.param, tmp_path, base_of(request, request.param)) as stack:
        yield stack


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack of each backend for the tests that leave it as it was."""
    base = base_of(request, request.param)
    with prepared(request.param, tmp_path_factory.mktemp(request.param), base) as stack:
        stack.up()
        yield stack


@pytest.fixture
def stack(shared: Stack) -> Iterator[Stack]:
    """A stack that is up, all three services running, whatever the test before did to it."""
    yield shared
    for service in Service:
        if Capability.DISCONNECT in shared.capabilities:
            shared.connect(service)
        if Capability.LIMIT in shared.capabilities:
            shared.limit(service)
    for status in shared.status():
        if not status.running and Capability.RESTART in shared.capabilities:
            shared.restart(status.service)


@pytest.fixture
def endpoints(stack: Stack) -> Endpoints:
    return stack.endpoints()


def need(stack: Stack, *capabilities: Capability) -> None:
    missing = [capability for capability in capabilities if capability not in stack.capabilities]
    if missing:
        pytest.skip(f"the {stack.backend} backend declares that it can't: {', '.join(missing)}")


def call(endpoints: Endpoints, path: str, body: Any = None, *, url: str | None = None, token: bool = True) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request((url or endpoints.kernel) + path, data)
    if endpoints.token and token:
        request.add_header("Authorization", f"Bearer {endpoints.token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def answers(endpoints: Endpoints, service: Service) -> bool:
    try:
        call(endpoints, HEALTH[service], url=getattr(endpoints, service))
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionRefusedError):
            raise
        return False
    return True


def finished(endpoints: Endpoints, task: dict[str, Any]) -> dict[str, Any]:
    """Run one task and return its record at the end."""
    call(endpoints, "/tasks", {"tasks": [task]})
    deadline = time.monotonic() + 60
    while True:
        record = cast("dict[str, Any]", call(endpoints, f"/tasks/{task['id']}"))
        if record["status"] not in ("pending", "running"):
            return record
        assert time.monotonic() < deadline, record
        time.sleep(0.01)


def running(stack: Stack, service: Service) -> bool:
    return next(status.running for status in stack.status() if status.service is service)


def test_up_returns_when_all_is_ready_and_down_ends_what_is_ours(fresh: Stack) -> None:
    with pytest.raises(StackError):
        fresh.endpoints()
    endpoints = fresh.up()
    assert fresh.endpoints() == endpoints
    assert all(answers(endpoints, service) for service in Service)
    assert [(status.service, status.running, status.url) for status in fresh.status()] == [
        (service, True, getattr(endpoints, service)) for service in Service
    ]
    fresh.down()
    fresh.down()
    ours = fresh.backend != "external"
    assert [answers(endpoints, service) for service in Service] == [not ours] * 3
    with pytest.raises(StackError):
        fresh.endpoints()


def test_tasks_run_in_the_kernel_and_in_the_runtime(stack: Stack, endpoints: Endpoints) -> None:
    shell = finished(endpoints, {"id": "shell", "type": "shell", "params": {"command": "echo", "args": ["hello"]}})
    assert (shell["status"], shell["result"]["stdout"]) == ("success", "hello\n")
    execution = {"kind": "command", "program": "python3", "args": ["-c", "import sys; print(sys.prefix)"]}
    remote = finished(endpoints, {"id": "runtime", "type": "runtime", "input": {"execution": execution}})
    assert remote["status"] == "success"
    # a plan's python3 is the Python that the services run on
    assert remote["result"]["output"]["stdout"].strip() == ("/opt/execgo" if stack.backend == "containers" else sys.prefix)


def test_tasks_find_the_fixtures_service(endpoints: Endpoints) -> None:
    url = f"{endpoints.fixtures_for_tasks}/advisories"
    asked = finished(endpoints, {"id": "feed", "type": "http", "params": {"url": url}})
    assert asked["result"]["status_code"] == 200
    code = f"import urllib.request; print('answer', urllib.request.urlopen({url!r}, timeout=10).status)"
    execution = {"kind": "command", "program": "python3", "args": ["-c", code]}
    remote = finished(endpoints, {"id": "remote_feed", "type": "runtime", "input": {"execution": execution}})
    assert remote["result"]["output"]["stdout"] == "answer 200\n"


def test_tasks_write_where_the_caller_reads(fresh: Stack, tmp_path: Path) -> None:
    endpoints = fresh.up()
    folder = next((status.log.parent for status in fresh.status() if status.log), tmp_path)
    target = folder / "written.txt"
    finished(endpoints, {"id": "write", "type": "file", "params": {"action": "write", "path": str(target), "content": "here"}})
    assert target.read_text() == "here"
    assert target.stat().st_uid == os.getuid()


GUARDED = {Service.KERNEL: "/tasks", Service.RUNTIME: "/api/v1/runtime/info", Service.FIXTURES: "/control/mode"}


@pytest.mark.parametrize("service", list(Service))
def test_who_has_no_token_is_refused(stack: Stack, endpoints: Endpoints, service: Service) -> None:
    if stack.backend == "native" and service is not Service.FIXTURES:
        pytest.skip("ExecGo knows no token, so a native kernel and the runtime that it calls are not guarded")
    url = getattr(endpoints, service)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(endpoints, GUARDED[service], url=url, token=False)
    call(endpoints, GUARDED[service], url=url)


@pytest.mark.parametrize("service", list(Service))
def test_restart_keeps_the_port(stack: Stack, endpoints: Endpoints, service: Service) -> None:
    need(stack, Capability.RESTART)
    stack.restart(service)
    assert stack.endpoints() == endpoints
    assert answers(endpoints, service)
    assert running(stack, service)


@pytest.mark.parametrize("service", list(Service))
def test_a_killed_service_refuses_connections_until_it_is_brought_back(
    stack: Stack, endpoints: Endpoints, service: Service
) -> None:
    need(stack, Capability.KILL, Capability.RESTART)
    stack.kill(service)
    assert not answers(endpoints, service)
    assert [status.service for status in stack.status() if not status.running] == [service]
    stack.restart(service)
    assert answers(endpoints, service)


@pytest.mark.parametrize("service", list(Service))
def test_only_a_service_that_has_ended_is_revived(stack: Stack, endpoints: Endpoints, service: Service) -> None:
    if Capability.RESTART not in stack.capabilities:
        with pytest.raises(Unsupported, match=stack.backend):
            stack.revive(service)
        return
    assert not stack.revive(service)
    stack.pause(service)
    assert not stack.revive(service)
    stack.resume(service)
    stack.kill(service)
    assert stack.revive(service)
    assert answers(endpoints, service)
    assert running(stack, service)


def test_effects_outlive_the_fixtures_service(stack: Stack, endpoints: Endpoints) -> None:
    need(stack, Capability.KILL, Capability.RESTART)
    body = json.dumps({"kind": "ticket", "payload": [1, None]}).encode()
    key = {"Idempotency-Key": "outlives/1", "X-Execgo-Task": "outlives:stage:task:1", "X-Fencing-Token": "4"}
    for _ in range(2):
        request = urllib.request.Request(f"{endpoints.fixtures}/effects", body, key)
        urllib.request.urlopen(request, timeout=10).close()
        stack.kill(Service.FIXTURES)
        stack.revive(Service.FIXTURES)
    deliveries = call(endpoints, "/effects/deliveries?run=outlives/", url=endpoints.fixtures)["deliveries"]
    assert [(one["outcome"], one["task"], one["token"]) for one in deliveries] == [
        ("applied", "outlives:stage:task:1", 4),
        ("repeated", "outlives:stage:task:1", 4),
    ]
    assert len({one["boot_id"] for one in deliveries}) == 2
    assert [one["payload"] for one in call(endpoints, "/effects?run=outlives/", url=endpoints.fixtures)["effects"]] == [[1, None]]


def test_a_paused_service_goes_on_where_it_was(stack: Stack, endpoints: Endpoints) -> None:
    need(stack, Capability.PAUSE)
    finished(endpoints, {"id": "before", "type": "noop"})
    stack.pause(Service.KERNEL)
    assert not running(stack, Service.KERNEL)
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(endpoints.kernel + "/health", timeout=0.3)
    stack.resume(Service.KERNEL)
    assert running(stack, Service.KERNEL)
    assert call(endpoints, "/tasks/before")["status"] == "success"


HOLD = "held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]); print('held')"


def test_a_bound_on_memory_holds_until_it_is_lifted(stack: Stack, endpoints: Endpoints) -> None:
    need(stack, Capability.LIMIT)
    execution = {"kind": "command", "program": "python3", "args": ["-c", HOLD.format(size=400 << 20)]}
    stack.limit(Service.RUNTIME, memory=160 << 20)
    assert finished(endpoints, {"id": "too_much", "type": "runtime", "input": {"execution": execution}})["status"] == "failed"
    if not running(stack, Service.RUNTIME):  # who is ended for want of memory is the system's choice
        stack.revive(Service.RUNTIME)
    stack.limit(Service.RUNTIME)
    done = finished(endpoints, {"id": "enough", "type": "runtime", "input": {"execution": execution}})
    assert (done["status"], done["result"]["output"]["stdout"]) == ("success", "held\n")


@pytest.mark.parametrize("service", list(Service))
def test_what_is_off_the_network_runs_on_and_comes_back(stack: Stack, endpoints: Endpoints, service: Service) -> None:
    need(stack, Capability.DISCONNECT)
    before = stack.status()
    stack.disconnect(service)
    stack.disconnect(service)
    assert not answers(endpoints, service)
    assert [answers(endpoints, other) for other in Service if other is not service] == [True, True]
    assert stack.status() == before
    stack.connect(service)
    stack.connect(service)
    assert answers(endpoints, service)
    assert stack.endpoints() == endpoints
    assert stack.status() == before


def test_services_can_not_reach_what_is_off_the_network(stack: Stack, endpoints: Endpoints) -> None:
    need(stack, Capability.DISCONNECT)
    task = {"type": "http", "params": {"url": f"{endpoints.fixtures_for_tasks}/health"}, "timeout": 20_000}
    stack.disconnect(Service.FIXTURES)
    assert finished(endpoints, {"id": "cut_off", **task})["status"] == "failed"
    stack.connect(Service.FIXTURES)
    assert finished(endpoints, {"id": "reached", **task})["status"] == "success"


def test_a_restart_off_the_network_stays_off_it(stack: Stack, endpoints: Endpoints) -> None:
    need(stack, Capability.DISCONNECT, Capability.RESTART)
    stack.disconnect(Service.RUNTIME)
    stack.restart(Service.RUNTIME)
    assert running(stack, Service.RUNTIME)
    assert not answers(endpoints, Service.RUNTIME)
    stack.connect(Service.RUNTIME)
    execution = {"kind": "command", "program": "echo", "args": ["back"]}
    assert (
        finished(endpoints, {"id": "after", "type": "runtime", "retry": 5, "input": {"execution": execution}})["status"]
        == "success"
    )


def test_logs_are_text_or_refused(stack: Stack, endpoints: Endpoints) -> None:
    if Capability.LOGS not in stack.capabilities:
        with pytest.raises(Unsupported):
            stack.logs(Service.KERNEL)
        return
    finished(endpoints, {"id": "logged", "type": "noop"})
    assert len(stack.logs(Service.KERNEL, tail=1).splitlines()) <= 1
    said = {status.service: status.log for status in stack.status()}[Service.KERNEL]
    assert said is not None
    stack.restart(Service.KERNEL)  # by then what the kernel had to say is in the file
    assert '"listening"' in stack.logs(Service.KERNEL, tail=1000)
    before = said.read_text()
    told = stack.logs(Service.KERNEL, tail=10_000)
    assert told.startswith(before)
    assert said.read_text().startswith(told)  # it goes on
    lines = said.read_text().splitlines()
    assert len(set(lines)) == len(lines)


def test_what_is_not_declared_is_refused(stack: Stack, endpoints: Endpoints) -> None:
    acts: dict[Capability, Callable[[], object]] = {
        Capability.RESTART: lambda: stack.restart(Service.RUNTIME),
        Capability.KILL: lambda: stack.kill(Service.RUNTIME),
        Capability.PAUSE: lambda: stack.pause(Service.RUNTIME),
        Capability.LIMIT: lambda: stack.limit(Service.RUNTIME, memory=2**30),
        Capability.LOGS: lambda: stack.logs(Service.RUNTIME),
        Capability.DISCONNECT: lambda: stack.disconnect(Service.RUNTIME),
    }
    assert set(acts) == set(Capability)
    for capability in set(acts) - stack.capabilities:
        with pytest.raises(Unsupported, match=stack.backend):
            acts[capability]()
    assert answers(endpoints, Service.RUNTIME)


@pytest.mark.parametrize("backend", OWNED)
def test_nothing_outlives_an_owner_that_is_killed(request: pytest.FixtureRequest, tmp_path: Path, backend: str) -> None:
    script = Path(__file__).with_name("contract_owner.py")
    words = [backend, str(tmp_path / "stack"), base_of(request, backend), str(kernel_script(tmp_path))]
    with subprocess.Popen([sys.executable, str(script), *words], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        *urls, label = json.loads(owner.stdout.readline())
        if backend == "containers":
            engine = request.getfixturevalue("engine")
            request.addfinalizer(partial(remove_labelled, engine, OWNER_LABEL, label))  # so that nothing stays if this fails
        endpoints = Endpoints(*urls)
        assert answers(endpoints, Service.KERNEL)
        owner.send_signal(signal.SIGKILL)

    def there(service: Service) -> bool:
        try:
            return answers(endpoints, service)
        except (OSError, http.client.HTTPException):  # half of it still is
            return True

    deadline = time.monotonic() + 60
    while any(map(there, Service)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
