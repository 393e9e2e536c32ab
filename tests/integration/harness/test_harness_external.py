from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_execgo.core.errors import StackError
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.external import ExternalStack
from pytest_execgo.harness.ports import PortReservation
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.seen_folder import sees_folder
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Endpoints, Service
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.stacks import make_stack

MakeStack = Callable[..., ProcessStack]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services answer late: how busy the machine is decides nothing here."""
    monkeypatch.setattr("pytest_execgo.harness.external._TIMEOUT", 30)


def test_a_stack_that_runs_is_used_and_left_alone(fake_stack: MakeStack) -> None:
    running = fake_stack()
    theirs = running.up()
    stack = ExternalStack(theirs.kernel + "/", theirs.runtime, theirs.fixtures, token="t")
    endpoints = stack.up()
    assert (endpoints.kernel, endpoints.runtime, endpoints.fixtures) == (theirs.kernel, theirs.runtime, theirs.fixtures)
    assert endpoints.token == "t"
    stack.down()
    assert all(status.running for status in running.status())
    running.kill(Service.RUNTIME)
    assert [status.running for status in stack.status()] == [True, False, True]
    assert "refused" in stack.describe_failure(Service.RUNTIME)


def test_each_service_that_can_not_be_reached_is_named_with_its_option(fake_stack: MakeStack) -> None:
    kernel = fake_stack().up().kernel
    nobody = PortReservation()
    with pytest.raises(StackError) as raised:
        ExternalStack(kernel, nobody.url, nobody.url).up()
    nobody.close()
    message = raised.value.message
    assert f"the runtime (--execgo-runtime-url) is not ready: GET {nobody.url}/readyz" in message
    assert f"the fixtures (--execgo-fixtures-url) is not ready: GET {nobody.url}/health" in message
    assert "--execgo-url" not in message


def test_a_service_that_does_not_answer_is_given_up(fake_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.harness.external._TIMEOUT", 0.2)
    running = fake_stack()
    theirs = running.up()
    running.pause(Service.KERNEL)
    with pytest.raises(StackError, match=r"the kernel \(--execgo-url\) is not ready: .*timed out"):
        ExternalStack(theirs.kernel, theirs.runtime, theirs.fixtures).up()


@pytest.fixture
def real_runtime(tmp_path: Path) -> Iterator[Endpoints]:
    """Where a stack with a real runtime service is."""
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ=os.environ, shutdown_timeout=1))
    try:
        yield stack.up()
    finally:
        stack.down()


def test_a_runtime_that_does_not_see_the_artifacts_is_an_error_of_the_stack(real_runtime: Endpoints, tmp_path: Path) -> None:
    theirs = real_runtime
    ExternalStack(theirs.kernel, theirs.runtime, theirs.fixtures, theirs.token, folder=tmp_path).up()
    elsewhere = tmp_path / "elsewhere"
    stack = ExternalStack(theirs.kernel, theirs.runtime, theirs.fixtures, theirs.token, folder=elsewhere)
    with pytest.raises(StackError) as raised:
        stack.up()
    assert raised.value.code == "workspace_unseen"
    assert str(elsewhere) in raised.value.message
    assert "--execgo-out" in raised.value.hint
    with pytest.raises(StackError, match="not checked yet"):
        stack.endpoints()


def test_a_sweep_s_own_folder_is_what_the_runtime_is_asked_for(real_runtime: Endpoints, tmp_path: Path) -> None:
    theirs = real_runtime
    urls = {"url": theirs.kernel, "runtime-url": theirs.runtime, "fixtures-url": theirs.fixtures, "token": str(theirs.token)}
    settings = Settings.parse(effective({"backend": "external", **urls}, {}, {}), tmp_path)
    with pytest.raises(StackError, match=r"does not see the folder .*/nowhere"):
        make_stack(settings, tmp_path / "nowhere").up()


def test_a_runtime_that_runs_no_commands_is_believed(fake_stack: MakeStack, tmp_path: Path) -> None:
    theirs = fake_stack().up()
    folder = tmp_path / "elsewhere"
    assert ExternalStack(theirs.kernel, theirs.runtime, theirs.fixtures, folder=folder).up().runtime == theirs.runtime


@pytest.mark.parametrize(
    ("said", "sees"),
    [
        ("chdir {}: no such file or directory", False),
        ("fork/exec /bin/true: no such file or directory", True),
        ("chdir {}: permission denied", True),
    ],
)
def test_only_a_clear_word_about_the_folder_counts(tmp_path: Path, said: str, sees: bool) -> None:
    body = json.dumps({"handle_id": "h", "status": "failed", "error": {"code": "x", "message": said.format(tmp_path)}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert sees_folder(f"http://127.0.0.1:{server.server_address[1]}", tmp_path, timeout=30) is sees
        server.shutdown()
