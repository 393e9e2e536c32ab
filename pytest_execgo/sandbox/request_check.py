"""What a request must be before anything of it is laid down: every problem, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import shown
from pytest_execgo.plan.problems import Problem
from pytest_execgo.plan.sandbox import ExecutionRequest, FileName, SandboxConfig
from pytest_execgo.sandbox.languages import RECIPES

_MOST_WORDS = 128 * 1024  # bytes of arguments, and of variables: what every system takes
_MOST_STDIN = 64 << 20
_MOST_FILES = 10_000
_MOST_ID = 1024
_NAME: TypeAdapter[str] = TypeAdapter(FileName)


class BadRequest(UsageError):
    """A request that is not run; `problems` are all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        said = "; ".join(f"{problem.path}: {problem.message}" for problem in self.problems[:3])
        more = f" (and {len(self.problems) - 3} more)" if len(self.problems) > 3 else ""
        super().__init__("bad_request", f"{said}{more}")


def check_request(request: ExecutionRequest, config: SandboxConfig) -> None:
    """Raise `BadRequest` for a request that the configuration does not allow, or that no sandbox could take as it is."""
    problems = [*_texts(request), *_language(request, config)]
    if not problems:
        problems = [*_files(request, config), *_words(request), *_sizes(request, config)]
    if problems:
        raise BadRequest(problems)


def _language(request: ExecutionRequest, config: SandboxConfig) -> Iterator[Problem]:
    if request.language not in config.allowed_languages:
        allowed = ", ".join(config.allowed_languages) or "none"
        yield Problem("$.language", "not_allowed", f"{request.language} is not allowed here; allowed: {allowed}")


def _texts(request: ExecutionRequest) -> Iterator[Problem]:
    texts = {"id": request.id, "code": request.code, "stdin": request.stdin}
    texts |= {f"args[{place}]": text for place, text in enumerate(request.args)}
    for name, mapping in (("env_vars", request.env_vars), ("files", request.files)):
        texts |= {f"{name}[{shown(repr(key), 80)}]": key + value for key, value in mapping.items()}
    for place, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            yield Problem(f"$.{place}", "bad_text", "half of a surrogate pair, which UTF-8 can't carry")


def _files(request: ExecutionRequest, config: SandboxConfig) -> Iterator[Problem]:
    own = RECIPES[request.language].file
    folders = {"/".join(parts[:depth]) for name in request.files for parts in (name.split("/"),) for depth in range(1, len(parts))}
    for name in request.files:
        place = f"$.files[{shown(repr(name), 80)}]"
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            yield Problem(place, "bad_name", str(error.errors()[0]["msg"]).removeprefix("Value error, "))
            continue
        if name == own or name.startswith(f"{own}/"):
            yield Problem(place, "bad_name", f"{own} is the name of the code itself")
        elif name in folders:
            yield Problem(place, "bad_name", "another file's name has it as a folder")
    if len(request.files) > _MOST_FILES:
        yield Problem("$.files", "too_many", f"{len(request.files)} files; allowed: {_MOST_FILES}")


def _words(request: ExecutionRequest) -> Iterator[Problem]:
    for number, word in enumerate(request.args):
        if "\0" in word:
            yield Problem(f"$.args[{number}]", "bad_text", "an argument can't hold a NUL character")
    for name, value in request.env_vars.items():
        if not name or "=" in name or "\0" in name + value:
            place = f"$.env_vars[{shown(repr(name), 80)}]"
            yield Problem(place, "bad_name", "a variable needs a name without '=', and no NUL character in either")


def _sizes(request: ExecutionRequest, config: SandboxConfig) -> Iterator[Problem]:
    disk = config.max_disk_mb << 20
    sizes: Mapping[str, tuple[int, int]] = {
        "id": (len(request.id), _MOST_ID),
        "args": (sum(len(word.encode()) + 1 for word in request.args), _MOST_WORDS),
        "env_vars": (sum(len((name + value).encode()) + 2 for name, value in request.env_vars.items()), _MOST_WORDS),
        "stdin": (len(request.stdin.encode()), _MOST_STDIN),
        "files": (sum(len(text.encode()) for text in (request.code, *request.files.values())), disk),
    }
    for place, (size, most) in sizes.items():
        if size > most:
            what = "code and files together" if place == "files" else place
            yield Problem(f"$.{place}", "too_large", f"{what}: {size} bytes; allowed: {most}")
