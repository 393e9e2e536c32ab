"""What only the containers backend has: an engine, images, networks, and what they say when something is wrong."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_execgo.core.engine.images import BuildContext, ImageError, build_image
from pytest_execgo.core.engine.ownership import OWNER_LABEL, owner_labels
from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.harness.container_service import ServiceContainer
from pytest_execgo.harness.containers import STACK_LABEL, ContainerStack, host_address
from pytest_execgo.harness.image_build import service_images
from pytest_execgo.harness.record import StackRecord, read_stack_ports
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Endpoints, Service

KERNEL, RUNTIME, FIXTURES = Service
MakeStack = Callable[..., ContainerStack]


@pytest.fixture
def make(tmp_path: Path, base_image: str) -> Iterator[MakeStack]:
    """Make stacks: `make("folder", settings=…, images=…)`; all are down after the test."""
    made: list[ContainerStack] = []

    def one(name: str = "stack", **options: Any) -> ContainerStack:
        settings = StackSettings(**{"down_timeout": 30, **options.pop("settings", {})})  # an end is graceful, however long it takes
        made.append(ContainerStack(tmp_path / name, settings, base_image=base_image, **options))
        return made[-1]

    yield one
    for stack in made:
        stack.down()


@pytest.fixture
def image(engine: Any) -> Iterator[Callable[[str, str], str]]:
    """Build an image for a test: `image("name", "Dockerfile")`; it is gone after that."""
    built: list[str] = []

    def build(name: str, dockerfile: str) -> str:
        reference = f"pytest-execgo/test-{name}:{secrets.token_hex(6)}"
        build_image(engine, reference, BuildContext({"Dockerfile": dockerfile.encode()}))
        built.append(reference)
        return reference

    yield build
    for reference in built:
        engine.images.remove(reference, force=True)


def call(endpoints: Endpoints, url: str, body: Any = None, *, token: bool = True, timeout: float = 30) -> Any:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    if endpoints.token and token:
        request.add_header("Authorization", f"Bearer {endpoints.token}")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read() or "null")


def finished(endpoints: Endpoints, task: dict[str, Any], *, token: bool = True) -> dict[str, Any]:
    """Run one task in the kernel and return its record at the end."""
    call(endpoints, f"{endpoints.kernel}/tasks", {"tasks": [task]}, token=token)
    deadline = time.monotonic() + 60
    while True:
        record = cast("dict[str, Any]", call(endpoints, f"{endpoints.kernel}/tasks/{task['id']}", token=token))
        if record["status"] not in ("pending", "running"):
            return record
        assert time.monotonic() < deadline, record
        time.sleep(0.01)


def ours(engine: Any) -> list[dict[str, Any]]:
    """Everything of this process that the engine has, as the engine describes it."""
    filters = {"label": f"{OWNER_LABEL}={owner_labels()[OWNER_LABEL]}"}
    found = [engine.api.inspect_container(one["Id"]) for one in engine.api.containers(all=True, filters=filters)]
    return found + [one for one in engine.api.networks(filters=filters)]


def test_containers_are_marked_and_published_on_loopback_alone(engine: Any, make: MakeStack) -> None:
    stack = make()
    endpoints = stack.up()
    *containers, network = ours(engine)
    assert len({one["Labels"][STACK_LABEL] for one in [*(box["Config"] for box in containers), network]}) == 1
    published = {
        binding["HostIp"] + ":" + binding["HostPort"]
        for one in containers
        for bindings in one["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {url.removeprefix("http://") for url in (endpoints.kernel, endpoints.runtime, endpoints.fixtures)}
    assert all(20_000 <= int(one.partition(":")[2]) <= 32_000 for one in published)
    for one in containers:
        assert list(one["NetworkSettings"]["Networks"]) == [network["Name"]]
        assert one["HostConfig"]["Init"]
        assert one["HostConfig"]["PidsLimit"] > 0
        assert one["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    stack.down()
    assert ours(engine) == []
    assert [status.exit_code for status in stack.status()] == [0, 0, 0]


def test_two_stacks_are_strangers(make: MakeStack) -> None:
    first, second = make("first"), make("second")
    one, other = first.up(), second.up()
    assert {one.kernel, one.runtime, one.fixtures}.isdisjoint({other.kernel, other.runtime, other.fixtures})
    call(one, f"{one.kernel}/tasks", {"tasks": [{"id": "mine", "type": "noop"}]})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        call(other, f"{other.kernel}/tasks/mine")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(one, f"{other.kernel}/tasks/mine")
    first.down()
    assert call(other, f"{other.kernel}/health")["status"] == "ok"


def test_a_stack_comes_back_where_it_was_with_what_it_had(make: MakeStack, tmp_path: Path) -> None:
    settings = {"guarded": False}
    first = make("stack", settings=settings)
    before = first.up()
    finished(before, {"id": "kept", "type": "noop"})
    key = urllib.request.Request(f"{before.fixtures}/effects", b'{"kind": "ticket"}', {"Idempotency-Key": "run/1"})
    urllib.request.urlopen(key, timeout=10).close()
    first.down()
    again = make("stack", settings={**settings, "ports": read_stack_ports(tmp_path / "stack")})
    after = again.up()
    assert after == before
    assert call(after, f"{after.kernel}/tasks/kept")["status"] == "success"
    assert len(call(after, f"{after.fixtures}/effects?run=run/")["effects"]) == 1
    assert (tmp_path / "stack" / "kernel-history.jsonl").stat().st_size > 0


OWNER = """import os, signal, sys
from pathlib import Path
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.settings import StackSettings
print(ContainerStack(Path(sys.argv[1]), StackSettings(guarded=False), base_image=sys.argv[2]).up().kernel, flush=True)
signal.pause()
"""


def test_a_stack_takes_over_at_once_from_one_whose_owner_was_killed(make: MakeStack, tmp_path: Path, base_image: str) -> None:
    words = [sys.executable, "-c", OWNER, str(tmp_path / "stack"), base_image]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        kernel = owner.stdout.readline().strip()
        finished(Endpoints(kernel, "", ""), {"id": "kept", "type": "noop"})
        owner.kill()
    left = StackRecord.load(tmp_path / "stack")
    assert left is not None
    settings = {"guarded": False, "ports": left.ports}
    endpoints = make("stack", settings=settings).up()
    assert endpoints.kernel == kernel
    assert call(endpoints, f"{kernel}/tasks/kept")["status"] == "success"
    assert left.supervisor.end(None, 60)  # the dead owner's guard has looked for the last time
    assert call(endpoints, f"{kernel}/tasks/kept")["status"] == "success"


def test_a_folder_in_use_and_a_port_that_is_taken_are_said_plainly(engine: Any, make: MakeStack, tmp_path: Path) -> None:
    make("stack").up()
    with pytest.raises(StackError, match="is in use in"):
        make("stack").up()
    mine = len(ours(engine))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} for the runtime is taken"):
            make("other", settings={"ports": {RUNTIME: port}}).up()
    assert len(ours(engine)) == mine


def test_a_service_that_can_not_start_is_shown_with_its_last_words(engine: Any, make: MakeStack) -> None:
    stack = make(settings={"extra_args": {KERNEL: ["-bogus"]}})
    with pytest.raises(
        StackError, match=r"the kernel ended before it was ready: it ended with exit code 2; log: .*kernel\.log"
    ) as raised:
        stack.up()
    assert "  | " in raised.value.message
    assert "bogus" in raised.value.message
    assert ours(engine) == []


SLEEPY = 'FROM {base}\nENTRYPOINT ["python3", "-c", "import time; print(1, flush=True); time.sleep(600)"]\n'


def test_a_service_that_is_never_ready_is_given_up(make: MakeStack, image: Callable[[str, str], str], base_image: str) -> None:
    sleepy = image("sleepy", SLEEPY.format(base=base_image))
    with pytest.raises(StackError, match="the kernel was not ready within 15 s") as raised:  # in which the others are
        make(images={KERNEL: sleepy}, settings={"ready_timeout": 15}).up()
    assert "it is running" in raised.value.message
    assert raised.value.message.endswith("  | 1")


def test_who_waits_is_told_that_the_stack_goes_down(
    engine: Any, make: MakeStack, image: Callable[[str, str], str], base_image: str
) -> None:
    stack = make(images={KERNEL: image("sleepy", SLEEPY.format(base=base_image))}, settings={"ready_timeout": 300})

    def end() -> None:
        deadline = time.monotonic() + 60
        while not stack.logs(KERNEL) and time.monotonic() < deadline:
            time.sleep(0.02)
        stack.down()

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(StackError, match="is being taken down"):
        stack.up()
    ending.join()
    assert ours(engine) == []


def test_what_one_service_refuses_does_not_keep_the_rest_from_going(
    engine: Any, make: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make()
    stack.up()
    remove = ServiceContainer.remove

    def refused(container: ServiceContainer) -> None:
        if container.service is RUNTIME:
            raise StackError("engine_refused", "the engine can't remove the runtime")
        remove(container)

    monkeypatch.setattr(ServiceContainer, "remove", refused)
    with pytest.raises(StackError, match="can't remove the runtime"):
        stack.down()
    assert ours(engine) == []


FOREIGN = """FROM {ours}
LABEL org.pytest-execgo.service=
COPY Dockerfile /Dockerfile
ENTRYPOINT ["/opt/execgo/bin/python3", "-P", "-m", "pytest_execgo", "serve", "kernel"]
"""


def test_somebodys_kernel_image_is_an_execgo_without_a_token(
    engine: Any, make: MakeStack, image: Callable[[str, str], str], base_image: str, tmp_path: Path
) -> None:
    foreign = image("execgo", FOREIGN.format(ours=service_images(engine, base_image)[KERNEL]))
    endpoints = make(images={KERNEL: foreign}).up()
    execution = {"kind": "command", "program": "echo", "args": ["here"]}
    done = finished(endpoints, {"id": "run", "type": "runtime", "input": {"execution": execution}}, token=False)
    assert done["status"] == "success"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(endpoints, f"{endpoints.fixtures}/control/mode", token=False)
    assert not (tmp_path / "stack" / "kernel-history.jsonl").exists()


def test_images_that_will_not_do_are_refused_before_anything_starts(engine: Any, make: MakeStack, base_image: str) -> None:
    with pytest.raises(ImageError, match=r"the image localhost:1/nowhere:1 is not here and can't be pulled"):
        make(images={KERNEL: "localhost:1/nowhere:1"}).up()
    with pytest.raises(UsageError, match="can't be the fixtures: it is none of ours"):
        make(images={FIXTURES: base_image}).up()
    with pytest.raises(UsageError, match="can't be the runtime: it is our kernel"):
        make(images={RUNTIME: service_images(engine, base_image)[KERNEL]}).up()
    assert ours(engine) == []


def test_a_service_that_runs_out_of_memory_is_said_to_have_and_comes_back(make: MakeStack) -> None:
    stack = make()
    endpoints = stack.up()
    descriptor = stack.fileno()
    deadline = time.monotonic() + 60
    while select.select([descriptor], [], [], 0)[0]:  # the engine may still have to tell of what `up` did
        assert time.monotonic() < deadline
        stack.status()
    for megabytes in range(24, 400, 8):
        with suppress(StackError):  # less than what it holds already
            stack.limit(KERNEL, memory=megabytes << 20)
            break
    with suppress(OSError, http.client.HTTPException):
        for number in range(60):
            task = {"id": f"big{number}", "type": "noop", "params": {"message": "x" * (2 << 20)}}
            call(endpoints, f"{endpoints.kernel}/tasks", {"tasks": [task]}, timeout=20)
    deadline = time.monotonic() + 60
    # the engine tells of the end and of its reason in either order
    while stack.status()[0].running or "ran out" not in stack.describe_failure(KERNEL):
        assert time.monotonic() < deadline
        select.select([descriptor], [], [], 1)
    assert stack.status()[0].exit_code == -9
    assert "it was ended by SIGKILL; it ran out of the memory that it may have" in stack.describe_failure(KERNEL)
    stack.limit(KERNEL, memory=None)
    assert stack.revive(KERNEL)
    assert finished(endpoints, {"id": "after", "type": "noop"})["status"] == "success"
    assert "ran out" not in stack.describe_failure(KERNEL)


def test_a_service_whose_port_is_taken_meanwhile_can_be_brought_back_later(make: MakeStack) -> None:
    stack = make()
    endpoints = stack.up()
    stack.kill(FIXTURES)
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", int(endpoints.fixtures.rpartition(":")[2])))
        taker.listen()
        with pytest.raises(StackError, match="the container engine can't start the fixtures"):
            stack.restart(FIXTURES)
        now = stack.status()[2]
        assert (now.running, now.pid) == (False, None)
        assert "it could not be started" in stack.describe_failure(FIXTURES)
    assert stack.revive(FIXTURES)
    assert call(endpoints, f"{endpoints.fixtures}/health")


def test_bounds_reach_the_engine_and_are_lifted(engine: Any, make: MakeStack) -> None:
    stack = make()
    stack.up()

    def bounds() -> tuple[int, int]:
        host = next(one["HostConfig"] for one in ours(engine) if one.get("Name", "").endswith("-runtime"))
        return host["CpuQuota"], host["Memory"]

    stack.limit(RUNTIME, cpu=0.5, memory=256 << 20)
    assert bounds() == (50_000, 256 << 20)
    stack.limit(RUNTIME, cpu=1.5)
    quota, memory = bounds()
    assert quota == 150_000
    assert memory > 1 << 40
    stack.limit(RUNTIME)
    assert bounds()[0] == -1
    with pytest.raises(StackError, match=r"can't limit the runtime: .*[Mm]emory"):
        stack.limit(RUNTIME, memory=1024)


def test_every_watcher_is_told_when_a_container_ends_by_somebody_elses_hand(engine: Any, make: MakeStack) -> None:
    stack = make()
    stack.up()
    stack.status()
    kernel = next(one for one in ours(engine) if one.get("Name", "").endswith("-kernel"))
    engine.api.kill(kernel["Id"])
    assert select.select([stack.fileno()], [], [], 60)[0]
    deadline = time.monotonic() + 60
    while (now := stack.status()[0]).running:
        assert time.monotonic() < deadline
    assert (now.pid, now.exit_code) == (None, -9)
    with pytest.raises(StackError, match="the kernel can't be paused: it was ended by SIGKILL"):
        stack.pause(KERNEL)
    assert stack.revive(KERNEL)


class Recorder(http.server.BaseHTTPRequestHandler):
    """Refuses every request, and notes its path."""

    seen: list[str]

    def do_POST(self) -> None:
        type(self).seen.append(self.path)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def recorder() -> Iterator[tuple[str, list[str]]]:
    """Serve a recorder where containers reach it; give its URL and what it has seen."""
    seen: list[str] = []
    handler = type("Handler", (Recorder,), {"seen": seen})
    with http.server.ThreadingHTTPServer((host_address(), 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{server.server_address[0]!s}:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


def test_the_kernel_goes_through_links_on_this_machine(make: MakeStack, tmp_path: Path) -> None:
    with recorder() as (url, seen):
        stack = make(settings={"via": {RUNTIME: url, FIXTURES: url}, "file_roots": (tmp_path / "out",)})
        endpoints = stack.up()
        execution = {"kind": "command", "program": "echo"}
        assert finished(endpoints, {"id": "run", "type": "runtime", "input": {"execution": execution}})["status"] == "failed"
        assert "/api/v1/tasks" in seen
        asked = finished(endpoints, {"id": "feed", "type": "http", "params": {"url": f"{url}/advisories"}})
        assert asked["result"]["status_code"] == 503
        direct = finished(endpoints, {"id": "direct", "type": "http", "params": {"url": f"{endpoints.inner_fixtures}/health"}})
        assert direct["result"]["status_code"] == 200
        elsewhere = {"url": f"{url}".replace(url.rpartition(":")[2], "1")}
        assert finished(endpoints, {"id": "no", "type": "http", "params": elsewhere})["status"] == "failed"


def test_a_strict_kernel_keeps_to_its_folders(make: MakeStack, tmp_path: Path) -> None:
    endpoints = make(settings={"file_roots": (tmp_path / "out",)}).up()

    def write(name: str, path: Path) -> str:
        params = {"action": "write", "path": str(path), "content": "x"}
        return str(finished(endpoints, {"id": name, "type": "file", "params": params})["status"])

    assert write("inside", tmp_path / "out" / "workspace" / "file") == "success"
    assert (tmp_path / "out" / "workspace" / "file").read_text() == "x"
    assert write("outside", tmp_path / "elsewhere") == "failed"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can stand in for another; for others every test here is this one")
def test_what_services_write_belongs_to_a_caller_who_is_not_root(
    make: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, out = 12_345, tmp_path / "out"
    out.mkdir()
    os.chown(out, user, user)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):  # which pytest made for root alone
        folder.chmod(0o711)
    monkeypatch.setattr("pytest_execgo.harness.containers.caller", lambda rootless: f"{user}:{user}")
    stack = make("out/stack", settings={"file_roots": (out,)})
    stack.folder.mkdir()
    os.chown(stack.folder, user, user)
    endpoints = stack.up()
    script = f"id -u > {out}/script; cat {out}/script"
    execution = {"kind": "command", "program": "sh", "args": ["-c", f"id -u | tee {out}/command"]}
    assert finished(endpoints, {"id": "s", "type": "shell", "params": {"script": script}})["result"]["stdout"] == f"{user}\n"
    assert finished(endpoints, {"id": "c", "type": "runtime", "input": {"execution": execution}})["status"] == "success"
    assert (out / "command").read_text() == f"{user}\n"
    assert {path.stat().st_uid for path in (out / "script", out / "command", stack.folder / "kernel-history.jsonl")} == {user}


def test_the_scripted_model_knows_the_projects_own_scenarios(make: MakeStack, tmp_path: Path) -> None:
    plan = {"stages": [{"stage_id": "one", "task_graph": {"tasks": [{"id": "a", "type": "noop"}]}}]}
    own = tmp_path / "project" / "scenarios"
    (own / "mine").mkdir(parents=True)
    (own / "mine" / "reference_plan.json").write_text(json.dumps(plan))
    endpoints = make(settings={"extra_args": {FIXTURES: ["-scenarios", str(own)]}}).up()
    for scenario in ("mine", "codegen_exec"):
        assert call(endpoints, f"{endpoints.fixtures}/model/{scenario}/langgraph/1/v1/models")["data"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        call(endpoints, f"{endpoints.fixtures}/model/nobodys/langgraph/1/v1/models")


def test_images_are_built_by_hand(base_image: str, command_line: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command_line("harness", "build", "--base-image", base_image, timeout=600)
    assert done.returncode == 0, done.stderr
    table = [line.split() for line in done.stdout.splitlines() if line.startswith("pytest-execgo/")]
    assert [row[0].partition(":")[0] for row in table] == [f"pytest-execgo/{service}" for service in Service]
    assert all(int(row[1]) > 0 and row[2] == "MB" for row in table)
    missing = command_line("harness", "build", "--base-image", "localhost:1/nowhere:1")
    assert missing.returncode == 3
    assert "the image localhost:1/nowhere:1 is not here and can't be pulled" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_testcontainers_is_left_as_it_was(make: MakeStack) -> None:
    from testcontainers.core.config import testcontainers_config

    before = testcontainers_config.ryuk_disabled
    make().up()
    assert testcontainers_config.ryuk_disabled is before
    assert "testcontainers" not in {name.partition(".")[0] for name in _imports("pytest_execgo.harness.embedded")}


def _imports(module: str) -> list[str]:
    script = f"import sys, {module}; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
