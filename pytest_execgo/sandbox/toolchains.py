"""Which languages this machine runs in mode native, and what each needs to see for that. Found out by running its programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_execgo.core.errors import Unsupported
from pytest_execgo.plan.confinement import Mount
from pytest_execgo.plan.sandbox import Language
from pytest_execgo.sandbox.host_view import search_path
from pytest_execgo.sandbox.languages import DENO, RECIPES, STRIPPED, TSC, Recipe

_PATIENCE = 60.0
_SYSTEM = ("/usr", "/bin", "/lib", "/nix/store")
_REMEDIES: dict[Language, str] = {
    "python": "install python3",
    "javascript": "install Node.js (`node`)",
    "typescript": "install Node.js 22.6 or later, deno, or the TypeScript compiler (`npm install -g typescript`)",
    "go": "install Go (`go`), 1.21 or later",
    "rust": "install Rust (`rustc`) and a C linker (`cc`)",
    "bash": "install bash",
}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """How this machine runs a language: `recipe`, with `path` as PATH, beside `mounts` where its programs are kept apart."""

    recipe: Recipe
    path: str
    mounts: tuple[Mount, ...] = ()


@cache
def toolchain(language: Language) -> Toolchain:
    """Return how this machine runs a language; `Unsupported`, with what to install, when it can't. Tried once."""
    found = _FINDERS[language]()
    if found is None:
        message = f"{language} can't be run in mode native: nothing on this machine does"
        raise Unsupported("language_not_there", message, f"{_REMEDIES[language]}, or use mode docker")
    return found


def _says(*words: str) -> str | None:
    """Return what a program says, stripped; None unless it succeeds."""
    program = shutil.which(words[0])
    if program is None:
        return None
    try:
        ended = subprocess.run(
            [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _shown(recipe: Recipe, *folders: Path) -> Toolchain | None:
    """Show folders in which programs are, unless they are the system's; None where that would show a home folder."""
    apart = [folder for folder in dict.fromkeys(folders) if not any(folder.is_relative_to(path) for path in _SYSTEM)]
    if any(Path.home().is_relative_to(folder) for folder in apart):
        return None
    path = os.pathsep.join([*(f"{folder}/bin" for folder in dict.fromkeys(folders)), search_path()])
    return Toolchain(recipe, path, tuple(Mount(folder, str(folder)) for folder in apart))


def _home_of(program: str) -> Path | None:
    """Return the folder in whose `bin` a program really is."""
    found = shutil.which(program)
    if found is None:
        return None
    real = Path(found).resolve()
    return real.parent.parent if real.parent.name == "bin" else None


def _python() -> Toolchain | None:
    return Toolchain(RECIPES["python"], search_path())


def _javascript() -> Toolchain | None:
    home = _home_of("node") if _says("node", "--version") else None
    return None if home is None else _shown(RECIPES["javascript"], home)


def _typescript() -> Toolchain | None:
    node, deno, compiler = _home_of("node"), _home_of("deno"), _home_of("tsc")
    if node is not None and _says("node", "--experimental-strip-types", "-e", "0") is not None:
        return _shown(STRIPPED, node)
    if deno is not None and _says("deno", "--version"):
        return _shown(DENO, deno)
    if node is not None and compiler is not None and _says("tsc", "--version"):
        return _shown(TSC, compiler, node)
    return None


def _go() -> Toolchain | None:
    root = _says("go", "env", "GOROOT")
    return _shown(RECIPES["go"], Path(root).resolve()) if root else None


def _rust() -> Toolchain | None:
    root = _says("rustc", "--print", "sysroot")
    return _shown(RECIPES["rust"], Path(root).resolve()) if root and shutil.which("cc") else None


def _bash() -> Toolchain | None:
    home = _home_of("bash")
    return None if home is None else _shown(RECIPES["bash"], home)


_FINDERS: dict[Language, Callable[[], Toolchain | None]] = {
    "python": _python,
    "javascript": _javascript,
    "typescript": _typescript,
    "go": _go,
    "rust": _rust,
    "bash": _bash,
}
