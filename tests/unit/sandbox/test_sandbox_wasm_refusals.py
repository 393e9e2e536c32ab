"""What mode wasm refuses before anything runs, and what it says then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.sandbox import ConfinedCommand, Mount
from pytest_execgo.sandbox import wasm
from pytest_execgo.sandbox.wasm import WasmConfinement

COMMAND = ConfinedCommand(
    ("prog.wasm",), "/w", timeout=1, memory_bytes=1, cpu_cores=1, disk_bytes=1 << 20, processes=1, output_bytes=1
)


@pytest.fixture(autouse=True)
def _wasmtime_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm, "installed", lambda name: True)


def refusal(command: ConfinedCommand, **interpreters: Path) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        WasmConfinement(interpreters).run(command)
    return caught.value


def test_a_missing_wasmtime_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm, "installed", lambda name: False)
    assert "pip install 'pytest-execgo[wasm]'" in (WasmConfinement().problem() or "")
    assert refusal(COMMAND).code == "wasmtime_missing"


def test_a_network_can_not_be_had(tmp_path: Path) -> None:
    assert refusal(replace(COMMAND, work=tmp_path, hosts=())).code == "no_network_in_wasm"


def test_a_language_without_an_interpreter_says_how_to_give_one(tmp_path: Path) -> None:
    error = refusal(replace(COMMAND, work=tmp_path, argv=("python", "main.py")))
    assert error.message == "mode wasm has no interpreter for python"
    assert 'interpreters={"python": Path("python.wasm")}' in error.hint


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "python.wasm"
    assert str(gone) in (WasmConfinement({"python": gone}).problem() or "")
    assert str(gone) in refusal(replace(COMMAND, work=tmp_path, argv=("python",)), python=gone).message


@pytest.mark.parametrize("program", ["prog.wasm", "../outside.wasm", "/etc/outside.wasm", "link.wasm", "sub.wasm"])
def test_a_module_is_a_file_inside(tmp_path: Path, program: str) -> None:
    work = tmp_path / "work"
    (work / "sub.wasm").mkdir(parents=True)
    (tmp_path / "outside.wasm").touch()
    (work / "link.wasm").symlink_to("../outside.wasm")
    assert refusal(replace(COMMAND, work=work, argv=(program,))).code == "no_such_module"


def test_a_working_folder_that_is_in_none_is_refused(tmp_path: Path) -> None:
    command = replace(COMMAND, mounts=(Mount(tmp_path, "/data"),), cwd="/elsewhere")
    assert refusal(command).code == "no_working_folder"
