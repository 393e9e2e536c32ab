"""Verifiers: found in a scenario's folder or among the registered ones, and asked for a verdict."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonvalue import describe, shortened
from pytest_execgo.plan.verdict import Verdict, Verifier, VerifierContext
from pytest_execgo.scenarios.model import Scenario

_MOST_SAID = 4000  # characters of an assertion's message
REWRITTEN = "execgo_verifiers"
"""The package by which whoever rewrites assertions (pytest, once it was told of it) knows verifiers."""


def load_verifier(scenario: Scenario, registered: Mapping[str, Verifier]) -> Verifier:
    """Return the verifier of a scenario: `file.py:function` of its folder, or the registered one of that name.

    The file becomes a module of its own, in `sys.modules` under a name that holds its path and content, so that scenarios don't
    clash and its classes can be pickled. It can't import files beside it: a verifier is one file. `UsageError` (file, line,
    reason) when there is no such verifier or its file can't be imported.
    """
    name, colon, function = scenario.spec.verifier.partition(":")
    if not colon:
        if name not in registered:
            error = UsageError.unknown("verifier", name, registered)
            raise UsageError(error.code, f"{scenario.file}: $.verifier: {error.message}", f"{error.hint}, or file.py:function")
        return registered[name]
    path = scenario.folder / name
    module = _import(path)
    found = getattr(module, function, None)
    if found is None:
        own = [key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]
        error = UsageError.unknown("verifier function", function, own)
        raise UsageError("bad_verifier", f"{path}:1: {error.message}", error.hint)
    _check_callable(path, function, found)
    verifier: Verifier = found
    return verifier


def judge(verifier: Verifier, context: VerifierContext) -> Verdict:
    """Ask a verifier for its verdict; an `AssertionError` that it raises is a failed one, with its message as the reason.

    `ExecGoError` when the verifier itself is broken: `verifier_raised` (any other exception), `verifier_bad_result` (what it
    returned is no `Verdict`).
    """
    try:
        verdict: object = verifier(context)
    except AssertionError as error:
        return Verdict(passed=False, reasons=[_assertion(verifier, error)])
    except (Exception, SystemExit) as error:
        what = f"{_where(verifier, error)}: the verifier raised {type(error).__name__}: {shortened(str(error), 500)}"
        raise ExecGoError("verifier_raised", what, _hint(error, context)) from error
    if isinstance(verdict, Verdict):
        return verdict
    if inspect.iscoroutine(verdict):
        verdict.close()
    found = "None" if verdict is None else describe(verdict)
    hint = "a verifier returns a Verdict; where all is right, that is `return Verdict.of([])`"
    raise ExecGoError("verifier_bad_result", f"{_where(verifier)}: the verifier returned {found}", hint)


def _hint(error: BaseException, context: VerifierContext) -> str:
    """Say whose defect an exception is; a file that the plan was to make may just not be there."""
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str | Path):
        if Path(error.filename).is_relative_to(context.workspace):
            name = Path(error.filename).relative_to(context.workspace)
            return f"the plan may not have made {name}: the verifier has to look whether it is there, and give a reason if not"
    return "the verifier is broken, not the plan"


class _SourceLoader(SourceFileLoader):
    """Compiles the file as it is now: cached bytecode is chosen by size and second, and a folder of scenarios stays clean."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _loader(name: str, path: Path) -> Loader:
    """Return what imports a file: pytest's hook, a finder that rewrites assertions as it loads; where it isn't, our own loader."""
    importlib.invalidate_caches()
    for hook in sys.meta_path:
        find: Callable[..., ModuleSpec | None] = getattr(hook, "find_spec", lambda *_: None)
        spec = find(f"{REWRITTEN}.{path.stem}", [str(path.parent)], None)
        if spec is not None and isinstance(hook, Loader) and spec.loader is hook and spec.origin == str(path):
            return hook
    return _SourceLoader(name, str(path))


def _import(path: Path) -> ModuleType:
    """Import a file under a name of its own; the same file with the same content is imported once."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError("bad_verifier", f"{path}: {error.strerror or error}", "name a file of the scenario's folder") from error
    identity = hashlib.sha256(str(path.resolve()).encode() + b"\0" + content).hexdigest()[:16]
    name = f"execgo_verifier_{identity}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_loader(name, path))
    if spec is None or spec.loader is None:
        raise UsageError("bad_verifier", f"{path}: can't be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their own module up
    keeping, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a folder of scenarios stays clean of pytest's, too
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        what = f"{error.filename or path}:{error.lineno or 1}: {error.msg}"
        raise UsageError("bad_verifier", what, "the file must be Python") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line_in(str(path), error) or 1
        what = f"{path}:{line}: importing it raised {type(error).__name__}: {error}"
        raise UsageError("bad_verifier", what, "a verifier is one file, and can't import files beside it") from error
    finally:
        sys.dont_write_bytecode = keeping
    return module


def _check_callable(path: Path, function: str, found: Any) -> None:
    if not callable(found):
        raise UsageError("bad_verifier", f"{path}: {function} is {describe(found)}", "it must be a function of one argument")
    where = f"{path}:{_first_line(found) or 1}"
    if inspect.iscoroutinefunction(found):
        raise UsageError("bad_verifier", f"{where}: {function} is async", "a verifier is called, not awaited; remove `async`")
    try:
        inspect.signature(found).bind(object())
    except TypeError as error:
        hint = "a verifier takes one argument, the context"
        raise UsageError("bad_verifier", f"{where}: {function} can't be called with one argument ({error})", hint) from error
    except ValueError:  # a callable of C code tells no signature; calling it will tell
        return


def _first_line(verifier: object) -> int | None:
    code = getattr(verifier, "__code__", None)
    return code.co_firstlineno if isinstance(code, CodeType) else None


def _file_of(verifier: object) -> str:
    code = getattr(verifier, "__code__", None)
    return code.co_filename if isinstance(code, CodeType) else repr(verifier)


def _line_in(file: str, error: BaseException) -> int | None:
    """Return the last line of a file that an exception passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def _where(verifier: object, error: BaseException | None = None) -> str:
    file = _file_of(verifier)
    line = (_line_in(file, error) if error else None) or _first_line(verifier)
    return f"{file}:{line}" if line else file


def _assertion(verifier: object, error: AssertionError) -> str:
    """Return an assertion's message; where it has none, the assertion itself (with its values, if rewritten) and its place."""
    said = shortened(str(error).strip(), _MOST_SAID)
    if said and not said.startswith("assert "):
        return said
    frame = traceback.extract_tb(error.__traceback__)[-1]
    first = frame.lineno or 1
    source = (linecache.getline(frame.filename, line).strip() for line in range(first, (frame.end_lineno or first) + 1))
    claim, newline, values = (said or " ".join(source)).partition("\n")
    return f"{claim} ({frame.filename}:{first}){newline}{values}".strip()
