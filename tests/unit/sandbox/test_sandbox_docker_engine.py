"""Mode docker where there is no engine: said plainly, with what to do about it."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pytest_execgo.core.engine.connection import EngineMissing
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.confinement import ConfinedCommand
from pytest_execgo.sandbox import docker
from pytest_execgo.sandbox.docker import DockerConfinement


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect() -> NoReturn:
        raise EngineMissing("no_container_engine", "no container engine answers at unix:///nowhere", "install Docker Engine")

    monkeypatch.setattr(docker, "connect", connect)


def test_its_problem_is_what_the_engine_is() -> None:
    assert DockerConfinement().problem() == "no container engine answers at unix:///nowhere (install Docker Engine)"


def test_nothing_is_run() -> None:
    command = ConfinedCommand(("true",), "/tmp", timeout=1, memory_bytes=1, cpu_cores=1, disk_bytes=1, processes=1, output_bytes=1)
    with pytest.raises(SandboxError) as caught:
        DockerConfinement().run(command)
    assert (caught.value.code, caught.value.hint) == ("no_container_engine", "install Docker Engine")


def test_one_that_ran_nothing_asks_no_engine_to_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("pytest_execgo.sandbox.docker.connect", lambda: asked.append("connect"))
    monkeypatch.setattr("pytest_execgo.sandbox.docker.remove_leftovers", lambda client: asked.append("remove"))
    DockerConfinement().cleanup()
    assert asked == []
