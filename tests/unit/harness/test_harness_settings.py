from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness.settings import StackSettings, child_environment, serve_command
from pytest_execgo.plan.stack import Service


def test_only_listed_variables_are_inherited() -> None:
    environ = {"HOME": "/home/x", "PATH": "/usr/bin", "OPENAI_API_KEY": "secret", "PYTHONPATH": "/x", "EXECGO_TOKEN": "t"}
    assert set(child_environment(environ)) == {"HOME", "PATH"}


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
