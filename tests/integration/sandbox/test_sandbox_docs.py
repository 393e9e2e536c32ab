"""What docs/sandbox.md shows, works, and it names every field and every option."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execgo.plan.sandbox import SandboxConfig
from pytest_execgo.sandbox.__main__ import _parser
from pytest_execgo.sandbox.native import NativeConfinement

PAGE = (Path(__file__).parents[3] / "docs/sandbox.md").read_text()


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture(autouse=True)
def _needs_native(request: pytest.FixtureRequest) -> None:
    if "folder" in request.fixturenames and (problem := NativeConfinement(enabled=True).problem()) is not None:
        pytest.skip(problem)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the page's script."""
    (tmp_path / "script.py").write_text("print('from the script')")
    return tmp_path


@pytest.mark.parametrize("number", [0, 1])
def test_its_python_prints_what_it_says(folder: Path, number: int) -> None:
    done = subprocess.run([sys.executable, "-c", blocks("python")[number]], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == blocks("text")[number]


def test_its_commands_work(folder: Path) -> None:
    script = "".join(line for line in blocks("sh")[0].splitlines(keepends=True) if "docker" not in line)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", script], cwd=folder, env=env, capture_output=True, text=True, check=True)
    answer, said = done.stdout.splitlines()
    assert json.loads(answer)["stdout"] == "42\n"
    assert said == "from the script"


def test_it_names_every_field_of_the_configuration_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", PAGE, re.M))
    for name, field in SandboxConfig.model_fields.items():
        assert name in rows, name
        default = field.get_default(call_default_factory=True)
        shown = rows[name].strip("`")
        if isinstance(default, bool) or isinstance(default, str):
            assert shown == str(default).lower(), name
        elif isinstance(default, int | float):
            assert float(shown) == default, name


def test_it_names_every_option() -> None:
    actions = _parser()._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
    options = {word for parser in actions for action in parser._actions for word in action.option_strings if word.startswith("--")}
    missing = {option for option in options - {"--help"} if option not in PAGE}
    assert missing == set()
