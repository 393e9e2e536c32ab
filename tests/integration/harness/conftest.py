from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_execgo.harness.control import Launch
from pytest_execgo.harness.process_stack import ProcessStack
from pytest_execgo.harness.settings import StackSettings
from pytest_execgo.harness.supervisor import READY_FD
from pytest_execgo.plan.stack import Service

FAKE = Path(__file__).with_name("fake_service.py")


class FakeStack(ProcessStack):
    """A stack of fake services, each in its mode."""

    def __init__(self, folder: Path, modes: dict[Service, str], settings: StackSettings) -> None:
        super().__init__(folder, settings)
        self.modes = modes

    @property
    def backend(self) -> str:
        return "fake"

    def launch(self, service: Service) -> Launch:
        address = self._ports[service].url.removeprefix("http://")
        mode = self.modes.get(service, "behaves")
        python = "/nowhere/python" if mode == "is_missing" else sys.executable
        return Launch(
            argv=[python, "-I", "-S", str(FAKE), mode, "-addr", address, "--ready-fd", READY_FD],
            env={"PATH": os.defpath},
            cwd=self.folder,
            log=self._log(service),
        )


MakeStack = Callable[..., FakeStack]


@pytest.fixture
def fake_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Make stacks of fake services: `fake_stack(kernel="exits", settings=…)`; all are down after the test."""
    made: list[FakeStack] = []

    def make(settings: StackSettings | None = None, **modes: str) -> FakeStack:
        stack = FakeStack(
            tmp_path / f"stack{len(made)}",
            {Service(name): mode for name, mode in modes.items()},
            settings or StackSettings(down_timeout=30),  # a busy machine must not turn a graceful end into another one
        )
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.down()


@pytest.fixture
def fake_binary(tmp_path: Path) -> Callable[[str], Path]:
    """Make an executable that is a fake kernel of a mode: `fake_binary("exits")`."""

    def make(mode: str) -> Path:
        binary = tmp_path / f"execgo-{mode}"
        binary.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} {mode} "$@"\n')
        binary.chmod(0o755)
        return binary

    return make


@pytest.fixture
def fake_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put well-behaved fakes in the place of our own services."""

    def command(service: Service, address: str, *options: str) -> list[str]:
        return [sys.executable, "-I", "-S", str(FAKE), "behaves", "-addr", address, *options]

    monkeypatch.setattr("pytest_execgo.harness.embedded.serve_command", command)
