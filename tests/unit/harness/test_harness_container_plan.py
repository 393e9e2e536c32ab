from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness import container_plan
from pytest_execgo.harness.container_network import INNER_PORTS
from pytest_execgo.harness.container_plan import ServiceImage, caller, choose_images, plan_container
from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.plan.stack import Service

URLS = {service: f"http://{service}:{port}" for service, port in INNER_PORTS.items()}


def planned(folder: Path, service: Service, image: ServiceImage, **settings: Any) -> container_plan.ContainerPlan:
    foreign = frozenset() if image.ours else frozenset({service})
    told = ServiceOptions(StackSettings(**settings), folder, "secret", URLS, ("127.0.0.1:20000",), foreign)
    return plan_container(service, image, told, "1000:1000")


def ours(service: Service) -> ServiceImage:
    return ServiceImage(f"ours/{service}:1", ours=True, port=INNER_PORTS[service])


@pytest.mark.parametrize("service", list(Service))
def test_our_services_listen_where_the_others_look_for_them(tmp_path: Path, service: Service) -> None:
    plan = planned(tmp_path, service, ours(service))
    assert plan.command is not None
    assert plan.command[:2] == ["-addr", f":{INNER_PORTS[service]}"]
    assert plan.port == INNER_PORTS[service]
    assert (plan.user, plan.folder, plan.image) == ("1000:1000", tmp_path, f"ours/{service}:1")
    assert "secret" in plan.environment.values()


def test_folders_are_seen_at_their_own_paths(tmp_path: Path) -> None:
    stack, out, plans, cwd = (tmp_path / name for name in ("out/stack", "out", "plans", "cwd"))
    plans.mkdir()
    extra = {Service.FIXTURES: ["-scenarios", str(plans), "-scenarios", str(tmp_path / "missing")]}
    told = {"file_roots": (out,), "extra_args": extra}
    fixtures = planned(stack, Service.FIXTURES, ours(Service.FIXTURES), **told)
    assert fixtures.mounts == {out: True, plans: False}  # the stack's folder lies in one of them
    assert fixtures.command is not None
    assert fixtures.command[-4:] == extra[Service.FIXTURES]
    kernel = planned(stack, Service.KERNEL, ours(Service.KERNEL), cwd=cwd, **told)
    assert kernel.mounts == {out: True, cwd: True}
    assert kernel.folder == cwd
    assert stack.is_dir()
    assert cwd.is_dir()


def test_somebodys_kernel_is_started_with_execgos_own_flags(tmp_path: Path) -> None:
    image = ServiceImage("theirs:1", ours=False, port=8080, command=("/execgo",))
    plan = planned(tmp_path, Service.KERNEL, image)
    assert plan.command is not None
    assert plan.command[:7] == ["/execgo", "-addr", ":8080", "-grpc-addr", "127.0.0.1:0", "-data-dir", f"{tmp_path}/kernel-data"]
    assert "secret" not in plan.environment.values()


def test_somebodys_runtime_is_started_as_its_image_says(tmp_path: Path) -> None:
    image = ServiceImage("theirs:1", ours=False, port=18080, command=("runtime",))
    plan = planned(tmp_path, Service.RUNTIME, image)
    assert (plan.command, plan.port, plan.environment) == (None, 18080, {})
    assert planned(tmp_path, Service.RUNTIME, image, extra_args={Service.RUNTIME: ["-v"]}).command == ["runtime", "-v"]


class FakeEngine:
    """An engine that has some images, by what is known of them."""

    def __init__(self, **images: dict[str, Any]) -> None:
        self.known = images
        self.api = self

    def inspect_image(self, reference: str) -> dict[str, Any]:
        if reference not in self.known:
            raise docker.errors.ImageNotFound("no such image")
        return {"Id": reference, "Config": self.known[reference]}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Service]]]:
    """What is built, as a base and services."""
    seen: list[tuple[str, list[Service]]] = []

    def build(client: object, base: str, services: list[Service], tell: object) -> dict[Service, str]:
        seen.append((base, services))
        return {service: f"built/{service}" for service in services}

    monkeypatch.setattr(container_plan, "service_images", build)
    return seen


def choose(engine: FakeEngine, given: dict[Service, str], base: str | None = "base") -> dict[Service, ServiceImage]:
    return choose_images(engine, given, base, lambda line: None)


def test_images_that_are_not_given_are_ours(built: list[tuple[str, list[Service]]]) -> None:
    images = choose(FakeEngine(), {})
    assert images == {service: ServiceImage(f"built/{service}", ours=True, port=INNER_PORTS[service]) for service in Service}
    assert built == [("base", list(Service))]


def test_nothing_is_built_for_what_is_given(built: list[tuple[str, list[Service]]]) -> None:
    engine = FakeEngine(execgo={"Entrypoint": ["/execgo"], "Cmd": ["-addr", ":1"], "ExposedPorts": {"9000/tcp": {}}})
    images = choose(engine, {Service.KERNEL: "execgo"})
    assert images[Service.KERNEL] == ServiceImage("execgo", ours=False, port=8080)  # it is told where to listen
    assert built == [("base", [Service.RUNTIME, Service.FIXTURES])]


def test_an_image_without_an_entry_point_keeps_its_command(built: list[tuple[str, list[Service]]]) -> None:
    images = choose(FakeEngine(execgo={"Entrypoint": None, "Cmd": ["/bin/execgo"]}), {Service.KERNEL: "execgo"})
    assert images[Service.KERNEL].command == ("/bin/execgo",)


def test_somebodys_runtime_listens_where_its_image_says(built: list[tuple[str, list[Service]]]) -> None:
    exposed: dict[str, object] = {"53/udp": {}, "18080/tcp": {}, "19090/tcp": {}}
    images = choose(FakeEngine(theirs={"Cmd": ["run"], "ExposedPorts": exposed}), {Service.RUNTIME: "theirs"})
    assert images[Service.RUNTIME] == ServiceImage("theirs", ours=False, port=18080, command=("run",))


def test_an_image_of_ours_is_told_by_its_label(built: list[tuple[str, list[Service]]]) -> None:
    mine = {"Labels": {"org.pytest-execgo.service": "kernel"}, "Entrypoint": ["python3"], "Cmd": None}
    assert choose(FakeEngine(mine=mine), {Service.KERNEL: "mine"})[Service.KERNEL].ours
    with pytest.raises(UsageError, match="the image mine can't be the runtime: it is our kernel"):
        choose(FakeEngine(mine=mine), {Service.RUNTIME: "mine"})
    with pytest.raises(UsageError, match="the image theirs can't be the fixtures: it is none of ours"):
        choose(FakeEngine(theirs={}), {Service.FIXTURES: "theirs"})


def test_containers_run_as_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1234)
    monkeypatch.setattr("os.getgid", lambda: 99)
    assert caller(rootless=False) == "1234:99"
    assert caller(rootless=True) == "0:0"  # which is the caller outside
