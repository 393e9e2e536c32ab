from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.service_options import ServiceOptions
from pytest_execgo.harness.settings import StackSettings, child_environment, serve_command
from pytest_execgo.plan.stack import Service

INTERPRETERS = "EXECGO_RUNTIME_WASM_INTERPRETERS"


def test_only_listed_variables_are_inherited() -> None:
    environ = {"HOME": "/home/x", "PATH": "/usr/bin", "OPENAI_API_KEY": "secret", "PYTHONPATH": "/x", "EXECGO_TOKEN": "t"}
    assert set(child_environment(environ)) == {"HOME", "PATH"}


def test_interpreters_of_mode_wasm_are_looked_for_where_the_stack_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inherited(told: str) -> str | None:
        return child_environment({INTERPRETERS: told}).get(INTERPRETERS)

    monkeypatch.chdir(tmp_path)
    assert inherited("python=python.wasm,javascript=/js/a.wasm") == f"python={tmp_path}/python.wasm,javascript=/js/a.wasm"
    assert inherited("python=../a.wasm,") == f"python={tmp_path}/../a.wasm,"
    for refused_by_the_runtime in ("python", "python=", ""):
        assert inherited(refused_by_the_runtime) == refused_by_the_runtime


def test_a_service_that_is_started_again_elsewhere_gets_the_same_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = EmbeddedStack(tmp_path / "stack", StackSettings(environ={INTERPRETERS: "python=python.wasm"}))
    told = ServiceOptions(stack.settings, stack.folder, None, urls=dict.fromkeys(Service, "http://127.0.0.1:1"), hosts=())
    monkeypatch.setattr(EmbeddedStack, "options", told)
    monkeypatch.chdir(tmp_path)
    first = stack.environment(Service.RUNTIME)[INTERPRETERS]
    monkeypatch.chdir("/")
    assert stack.environment(Service.RUNTIME)[INTERPRETERS] == first == f"python={tmp_path}/python.wasm"


def test_path_begins_with_this_interpreter() -> None:
    folders = child_environment({"PATH": "/usr/bin:/bin"})["PATH"].split(os.pathsep)
    assert folders == [str(Path(sys.executable).parent), "/usr/bin", "/bin"]


def test_path_is_usable_without_an_environment() -> None:
    assert child_environment({})["PATH"].endswith(os.defpath)


def test_serve_command_runs_this_interpreter_off_the_working_folder() -> None:
    command = serve_command(Service.RUNTIME, "127.0.0.1:1", "--shared-port")
    assert command[0] == sys.executable
    assert "-P" in command
    assert command[-5:] == ["serve", "runtime", "-addr", "127.0.0.1:1", "--shared-port"]


@pytest.mark.parametrize("url", ["127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1", "http://x:99999", "http://x:1/path", ""])
def test_a_way_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no way to the runtime"):
        StackSettings(via={Service.RUNTIME: url})


def test_there_is_no_way_from_the_kernel_to_itself() -> None:
    with pytest.raises(UsageError, match="the kernel's way to itself"):
        StackSettings(via={Service.KERNEL: "http://127.0.0.1:1"})
    assert StackSettings(via={Service.FIXTURES: "http://127.0.0.1:1/"}).via
