"""How code of each language is laid down and run: the name of its file, and the command line that runs it in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_execgo.plan.sandbox import Language


@dataclass(frozen=True, slots=True)
class Recipe:
    """`file` is the code's name in its folder, `argv` the command line to which the request's arguments are added."""

    file: str
    argv: tuple[str, ...]


def _compiled(file: str, command: str) -> Recipe:
    """Compile into the folder for temporary files, then become what was made; a compiler's exit code is the code's own."""
    return Recipe(file, ("sh", "-c", f'{command} </dev/null && exec "$TMPDIR/program" "$@"', "program"))


TSC = Recipe("main.ts", ("sh", "-c", 'tsc --outDir "$TMPDIR/js" main.ts </dev/null && exec node "$TMPDIR/js/main.js" "$@"', "main"))
STRIPPED = Recipe("main.ts", ("node", "--experimental-strip-types", "--no-warnings", "main.ts"))
DENO = Recipe("main.ts", ("deno", "run", "--allow-all", "--no-prompt", "main.ts"))

RECIPES: Mapping[Language, Recipe] = {
    "python": Recipe("main.py", ("python3", "main.py")),
    "javascript": Recipe("main.js", ("node", "main.js")),
    "typescript": STRIPPED,
    "go": _compiled("main.go", 'go build -o "$TMPDIR/program" ./*.go'),
    "rust": _compiled("main.rs", 'rustc --edition 2021 -o "$TMPDIR/program" main.rs'),
    "bash": Recipe("main.sh", ("bash", "main.sh")),
}
"""What an image of the language can do; a machine may have another way (`toolchains`)."""

ENVIRONMENT: Mapping[str, str] = {
    "HOME": "/tmp",  # noqa: S108 - the sandbox's
    "TMPDIR": "/tmp",  # noqa: S108
    "LANG": "C.UTF-8",
    "GOCACHE": "/tmp/go-cache",  # noqa: S108
    "GO111MODULE": "auto",
    "GOTOOLCHAIN": "local",
}
"""What code sees beside its own variables, in every language."""


def module_recipe(language: Language) -> Recipe:
    """Return how mode wasm runs a language: its interpreter goes by the language's name there."""
    file = RECIPES[language].file
    return Recipe(file, (language, file))
