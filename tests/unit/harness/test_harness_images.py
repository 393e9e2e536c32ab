"""What goes into the images of our services, and how the parts are fetched."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.utils import canonicalize_name

from pytest_execgo.core.engine.images import ImageError
from pytest_execgo.core.errors import MissingDependency
from pytest_execgo.harness import image_build, image_parts
from pytest_execgo.harness.image_build import Interpreter, fetch_wheels, service_images
from pytest_execgo.harness.image_parts import code_files, pinned_packages
from pytest_execgo.plan.stack import Service

SERVERS = ("pytest_execgo.__main__", "pytest_execgo.cli.serve", "pytest_execgo.kernel", "pytest_execgo.runtime", "fixtures_service")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Every module that the services import, now or when they need it; of other packages their names."""
    graph = grimp.build_graph("pytest_execgo", "fixtures_service", include_external_packages=True)
    services = {one for name in SERVERS for one in (name, *graph.find_descendants(name))}
    return services | {one for service in services for one in graph.find_upstream_modules(service)}


def test_all_of_our_code_that_the_services_import_is_in_the_images(imported: set[str]) -> None:
    places = {name.removeprefix("pytest_execgo/bundle/") for name in code_files()}
    for module in imported:
        if module.partition(".")[0] in ("pytest_execgo", "fixtures_service"):
            path = module.replace(".", "/")
            assert {f"{path}.py", f"{path}/__init__.py"} & places, f"{module} is missing from the images"


def test_every_package_that_the_services_import_is_in_the_images(imported: set[str]) -> None:
    there = {pin.partition("==")[0] for pin in pinned_packages()}
    distributions = packages_distributions()
    for name in {module.partition(".")[0] for module in imported} - {*sys.stdlib_module_names, "pytest_execgo", "fixtures_service"}:
        if name not in ("docker", "requests", "wasmtime"):  # there is no engine inside, nor that sandbox
            assert {canonicalize_name(one) for one in distributions[name]} & there, f"{name} is missing from the images"


def test_packages_are_pinned_with_what_they_need() -> None:
    pins = dict(pin.split("==") for pin in pinned_packages())
    assert list(pins) == sorted(pins)
    assert {"uvloop", "pydantic-core", "typing-extensions", "anyio", "click"} <= pins.keys()
    assert pins["pydantic"] == version("pydantic")
    assert not {"pytest", "testcontainers", "docker", "colorama", "jinja2"} & pins.keys()


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_parts, "PACKAGES", ("nowhere-to-be-found",))
    with pytest.raises(MissingDependency, match="need nowhere-to-be-found, which is not installed"):
        pinned_packages()


def test_code_is_laid_out_as_in_a_wheel_without_compiled_files() -> None:
    files = code_files()
    assert not [name for name in files if name.endswith(".pyc") or "__pycache__" in name]
    data = "pytest_execgo/bundle/fixtures_service/data/advisories.json"
    assert b"advisories" in files[data]
    assert any(re.fullmatch(r"pytest_execgo/bundle/scenarios/codegen_exec/plans/.+\.json", name) for name in files)
    assert not [name for name in files if "recordings" in name or "/plugin/" in name]
    metadata = files[f"pytest_execgo-{version('pytest-execgo')}.dist-info/METADATA"].decode()
    assert f"Version: {version('pytest-execgo')}\n" in metadata


def test_a_server_runs_from_these_files_alone(tmp_path: Path) -> None:
    for name, content in code_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for service in Service:
        command = [sys.executable, "-P", "-m", "pytest_execgo", "serve", service, "--help"]
        done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, cwd="/", capture_output=True, text=True)
        assert "usage:" in done.stdout, done.stderr
    where = "import pytest_execgo, pytest_execgo.kernel; print(pytest_execgo.kernel.__file__)"
    done = subprocess.run([sys.executable, "-c", where], env={"PYTHONPATH": str(tmp_path)}, cwd="/", capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_wheels_are_asked_for_the_bases_c_library() -> None:
    debian = Interpreter((3, 11), "x86_64", "2.36").platforms
    assert debian[0] == "manylinux_2_36_x86_64"
    assert debian[-2:] == ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    assert Interpreter((3, 12), "aarch64", "").platforms == ["musllinux_1_2_aarch64", "musllinux_1_1_aarch64"]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip is asked for; it fetches one wheel."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        Path(command[command.index("--dest") + 1], "one-1-py3-none-any.whl").write_bytes(b"wheel")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("subprocess.run", run)
    return calls


def test_wheels_come_from_this_interpreters_pip(pip: list[list[str]]) -> None:
    assert fetch_wheels(["one==1"], Interpreter((3, 12), "aarch64", "2.31")) == {"one-1-py3-none-any.whl": b"wheel"}
    (command,) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "3.12"
    assert "manylinux_2_31_aarch64" in command
    assert command[-1] == "one==1"


@pytest.mark.parametrize(
    ("said", "code", "remedy"),
    [
        ("/usr/bin/python3: No module named pip\n", "no_pip", "ensurepip"),
        ("WARNING: Location 'x' is ignored\nERROR: No matching distribution found for one==1\n", "no_wheels", "PIP_INDEX_URL"),
    ],
)
def test_pip_without_an_index_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch, said: str, code: str, remedy: str) -> None:
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr("subprocess.run", lambda command, **options: failed)
    with pytest.raises(ImageError) as raised:
        fetch_wheels(["one==1"], Interpreter((3, 12), "x86_64", "2.31"))
    assert raised.value.code == code
    assert remedy in raised.value.hint
    assert "WARNING" not in raised.value.message
    assert code == "no_pip" or "No matching distribution found for one==1" in raised.value.message


class FakeEngine:
    """The images that an engine has by their ids, and what was built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has = {"base": "sha256:1"}
        self.built: list[tuple[str, str, dict[str, bytes]]] = []
        self.look = '[[3, 12], "x86_64", "2.36"]'
        monkeypatch.setattr(image_build, "image_id", lambda client, reference: self.has.get(reference))
        monkeypatch.setattr(image_build, "pull_image", lambda client, reference: None)
        monkeypatch.setattr(image_build, "run_once", lambda client, reference, command, labels: self.look)
        monkeypatch.setattr(image_build, "fetch_wheels", lambda pins, target: {"one.whl": b"wheel"})
        monkeypatch.setattr(image_build, "build_image", self.build)

    def build(self, client: object, reference: str, context: Any, *, target: str) -> None:
        self.built.append((reference, target, dict(context.files)))
        self.has[reference] = "sha256:built"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return FakeEngine(monkeypatch)


def test_images_are_built_once_and_named_by_what_is_in_them(engine: FakeEngine) -> None:
    said: list[str] = []
    images = service_images(engine, "base", tell=said.append)
    assert [(reference, target) for reference, target, _ in engine.built] == [
        (images[service], service.value) for service in Service
    ]
    assert len({reference.partition(":")[2] for reference in images.values()}) == 1
    files = engine.built[0][2]
    assert files["wheels/one.whl"] == b"wheel"
    assert {"Dockerfile", "code/pytest_execgo/__main__.py"} <= files.keys()
    assert said[-1] == f"building {images[Service.FIXTURES]}"
    assert service_images(engine, "base", tell=said.append) == images
    assert len(engine.built) == 3


def test_another_base_other_packages_or_other_code_give_another_name(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [service_images(engine, "base")[Service.KERNEL]]
    engine.has["base"] = "sha256:2"
    names.append(service_images(engine, "base")[Service.KERNEL])
    monkeypatch.setattr(image_build, "pinned_packages", lambda: ("one==2",))
    names.append(service_images(engine, "base")[Service.KERNEL])
    monkeypatch.setattr(image_build, "code_files", lambda: {"pytest_execgo/__init__.py": b""})
    names.append(service_images(engine, "base")[Service.KERNEL])
    assert len(set(names)) == 4


def test_only_the_image_that_is_missing_is_built(engine: FakeEngine) -> None:
    images = service_images(engine, "base")
    del engine.has[images[Service.RUNTIME]]
    engine.built.clear()
    service_images(engine, "base")
    assert [target for _, target, _ in engine.built] == ["runtime"]


def test_a_base_that_can_not_be_had_can_be_another(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(client: object, reference: str) -> None:
        raise ImageError("image_missing", f"the image {reference} is not here", "load it")

    monkeypatch.setattr(image_build, "pull_image", refuse)
    with pytest.raises(ImageError, match="the image base is not here") as raised:
        service_images(engine, "base")
    assert raised.value.hint.startswith("load it; or name one that is here")
    assert "--execgo-base-image" in raised.value.hint
    assert raised.value.code == "image_missing"


def test_a_base_with_an_older_python_is_refused(engine: FakeEngine) -> None:
    engine.look = '[[3, 9], "x86_64", "2.36"]'
    with pytest.raises(ImageError, match=r"base has Python 3\.9"):
        service_images(engine, "base")


def test_every_stage_of_the_images_is_marked_as_ours_by_its_first_step() -> None:
    lines = image_build._DOCKERFILE.read_text().splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    following = [next(line for line in lines[number + 1 :] if line) for number in stages]
    assert [line.partition("=")[0] for line in following] == [f"LABEL {image_build.SERVICE_LABEL}"] * 5
