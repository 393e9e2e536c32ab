"""A mode's `Confinement`, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.confinement import Confinement, SandboxMode


def interpreters_of(told: Sequence[str]) -> dict[str, Path]:
    """Return what `LANGUAGE=FILE` words name; `UsageError` for other words."""
    found = {}
    for word in told:
        name, _, file = word.partition("=")
        if not name or not file:
            raise UsageError("bad_option", f"--interpreter {word}", "--interpreter python=python.wasm")
        found[name] = Path(file)
    return found


def confinement_for(
    mode: SandboxMode, *, enable_native: bool = False, interpreters: Mapping[str, Path] | None = None
) -> Confinement:
    """Return a mode's confinement with its defaults. Whether it can be had here is for its `problem()` to say.

    Mode native refuses to run anything unless `enable_native` says that it may. `interpreters` are mode wasm's.
    """
    if mode == "native":
        from pytest_execgo.sandbox.native import NativeConfinement

        return NativeConfinement(enabled=enable_native)
    if mode == "docker":
        from pytest_execgo.sandbox.docker import DockerConfinement

        return DockerConfinement()
    from pytest_execgo.sandbox.wasm import WasmConfinement

    return WasmConfinement(interpreters)
