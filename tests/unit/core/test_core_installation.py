"""What travels beside the code is found in a wheel and in a checkout; what is not installed is said with its command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_execgo.core import bundle
from pytest_execgo.core.errors import ExecGoError, MissingDependency
from pytest_execgo.core.optional import installed, require


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "site" / "pytest_execgo"
    package.mkdir(parents=True)
    monkeypatch.setattr(bundle, "_PACKAGE", package)
    return package


def test_in_a_checkout_the_parts_lie_beside_the_package(package: Path) -> None:
    (package.parent / "chaos").mkdir()
    assert bundle.bundled("chaos") == package.parent / "chaos"


def test_in_a_wheel_the_parts_lie_inside_the_package_whatever_lies_beside_it(package: Path) -> None:
    (package.parent / "scenarios").mkdir()
    (package / "bundle" / "scenarios").mkdir(parents=True)
    assert bundle.bundled("scenarios") == package / "bundle" / "scenarios"


def test_a_missing_part_is_named_with_the_place(package: Path) -> None:
    with pytest.raises(ExecGoError, match="lacks reports/") as missing:
        bundle.bundled("reports")
    assert str(package.parent / "reports") in missing.value.message
    assert missing.value.code == "bundle_missing"


def test_this_checkout_has_every_scenario_and_profile_folder() -> None:
    assert (bundle.bundled("chaos") / "none.yaml").is_file()
    assert list(bundle.bundled("scenarios").glob("*/scenario.yaml"))


def test_a_module_is_looked_up_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "execgo_probe_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("execgo_probe_module")
    assert installed("execgo_probe_module.child")
    assert "execgo_probe_module" not in sys.modules
    assert not installed("execgo_no_such_module")
    assert not installed("execgo_no_such_module.child")


def test_a_module_that_is_there_is_imported() -> None:
    assert require("json.decoder", "dev").__name__ == "json.decoder"


def test_a_module_that_is_not_there_comes_with_its_install_command() -> None:
    with pytest.raises(MissingDependency, match="execgo_no_such_module is not installed") as missing:
        require("execgo_no_such_module", "langgraph")
    assert missing.value.code == "package_missing"
    assert missing.value.hint == "pip install 'pytest-execgo[langgraph]'"
    assert isinstance(missing.value.__cause__, ImportError)
