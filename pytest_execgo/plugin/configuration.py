"""From pytest's configuration to the sweep of this process: the settings, the project's folder, what other plugins add."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.adapter import Adapter
from pytest_execgo.scenarios.catalogue import discover
from pytest_execgo.wiring.baselines import beneath
from pytest_execgo.wiring.options import OPTIONS, asked_for, effective
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep
from pytest_execgo.wiring.sweep_file import sweep_to_resume


def settings_of(config: pytest.Config) -> Settings:
    """Read the configuration; a bad value is a `pytest.UsageError`."""
    given = {option.name: config.getoption(option.dest) for option in OPTIONS}
    if given["out"]:
        given["out"] = str(config.invocation_params.dir / given["out"])  # as pytest's own options of that kind
    if given["baseline"]:
        given["baseline"] = [beneath(config.invocation_params.dir, text) for text in given["baseline"]]
    ini = {option.name: str(config.getini(option.dest)) for option in OPTIONS if option.in_ini}
    try:
        _check_separate_paths(config)
        named, based = asked_for("backend", given), given["base-image"] is not None
        return Settings.parse(effective(given, ini), project_root(config), backend_named=named, base_image_given=based)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def project_root(config: pytest.Config) -> Path:
    """Return the project's folder: the nearest one, from where pytest was called upwards, that has scenarios; else pytest's."""
    here = config.invocation_params.dir
    for folder in (here, *here.parents):
        if discover([folder / "scenarios"]):
            return folder
        if folder == config.rootpath:
            break
    return config.rootpath if here.is_relative_to(config.rootpath) else here


def _check_separate_paths(config: pytest.Config) -> None:
    """Refuse `--execgo-out DIR` for a DIR that exists: pytest would take it for a test path, and another folder for its root."""
    if hasattr(config, "workerinput"):  # the controller has looked, and made the folder since
        return
    words = [str(word) for word in config.invocation_params.args]
    for option, value in itertools.pairwise(words):
        if option in ("--execgo-out", "--execgo-bin") and (config.invocation_params.dir / value).exists():
            raise UsageError("separate_path", f"pytest takes {value!r} after {option} for a test path", f"write {option}={value}")


def resumed_sweep(config: pytest.Config) -> str | None:
    """Return the id of the sweep that `--execgo-resume` goes on with; None for a new one."""
    try:
        return sweep_to_resume(settings_of(config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def build_sweep(config: pytest.Config, settings: Settings, sweep_id: str | None = None) -> Sweep:
    """Build the sweep of this process, with what other plugins and conftest files add."""
    given = getattr(config, "workerinput", {})
    worker = given.get("workerid", "main")
    try:
        frameworks = _added(config.hook.pytest_execgo_frameworks(config=config), "pytest_execgo_frameworks", Adapter)
        verifiers = _added(config.hook.pytest_execgo_verifiers(config=config), "pytest_execgo_verifiers", Callable)
        actions = config.hook.pytest_execgo_chaos_actions(config=config)
        return Sweep(
            settings,
            sweep_id=sweep_id,
            worker=worker,
            frameworks=frameworks,
            verifiers=verifiers,
            actions=actions,
            owner=given.get("execgo_controller"),
        )
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _added(answers: Iterable[Any], hook: str, kind: Any) -> dict[str, Any]:
    """Merge what implementations of a hook returned, checked: names to things of one kind."""
    merged: dict[str, Any] = {}
    for answer in answers:
        if not isinstance(answer, Mapping):
            raise UsageError("bad_hook", f"{hook} returned {type(answer).__name__}", "return a mapping from names to objects")
        for name, thing in answer.items():
            if not isinstance(thing, kind):
                said = f"{hook}: {name!r} is no {kind.__name__.lower()}: {thing!r}"
                raise UsageError("bad_hook", said, f"see {hook} in pytest_execgo/plugin/hookspecs.py")
            merged[str(name)] = thing
    return merged
