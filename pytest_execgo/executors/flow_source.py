"""Where a flow's source is, and a clean copy of it: Metaflow packages whatever lies beside the file that it runs."""

from __future__ import annotations

import ast
import inspect
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class FlowSource:
    """A flow's file, and the name of its class where that is known."""

    file: Path
    flow: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.flow or self.file.name


def is_flow_class(target: Any) -> bool:
    """Tell whether `target` is a Metaflow flow, without importing Metaflow."""
    return inspect.isclass(target) and any(
        base.__name__ == "FlowSpec" and base.__module__.partition(".")[0] == "metaflow" for base in target.__mro__
    )


def find_source(target: Any) -> FlowSource | None:
    """Return where the source of a flow class or of a flow file is, None for any other target.

    `UsageError` for a file that is not there, and for a class whose file can't be had or that isn't at the top level of it.
    """
    if isinstance(target, str | Path):
        file = Path(target)
        if not file.is_file():
            raise UsageError(
                "no_flow_file", f"there is no flow file {str(file)!r}", "give the path of a Python file that holds one flow"
            )
        return FlowSource(file.resolve())
    if not is_flow_class(target):
        return None
    try:
        found = inspect.getsourcefile(target)
    except (TypeError, OSError):
        found = None
    if found is None or not Path(found).is_file() or target.__qualname__ != target.__name__:
        raise UsageError(
            "no_flow_source",
            f"the flow {target.__qualname__!r} has no source file that could be run",
            "define it at the top level of a file of its own",
        )
    return FlowSource(Path(found).resolve(), target.__name__)


def copy_cleanly(source: FlowSource, folder: Path, include: Sequence[Path] = ()) -> Path:
    """Copy the flow's file and what is included into an empty folder, such that running the copy runs the flow.

    Lines keep their numbers. `UsageError` for a file that is no Python, or that doesn't say which flow it runs.
    """
    try:
        text = source.file.read_bytes().decode("utf-8")
        module = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UsageError("bad_flow_file", f"{source.file} can't be read as Python: {error}") from error
    copy = folder / source.file.name
    copy.write_text(_runnable(source, text, module), "utf-8")
    for path in include:
        target = folder / path.resolve().name
        if target.exists() or not path.exists():
            why = "is there twice" if target.exists() else "does not exist"
            raise UsageError("bad_include", f"{path}, which is to lie beside the flow, {why}")
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__", ".metaflow"))
        else:
            shutil.copy(path, target)
    return copy


def _runnable(source: FlowSource, text: str, module: ast.Module) -> str:
    guards = [node for node in module.body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    flow = source.flow
    if flow is None:
        if guards:
            return text
        flow = _only_flow(source, module)
    lines = text.splitlines()
    for guard in guards:  # a class was asked for; the file itself may run something else
        for number in range(guard.lineno - 1, guard.end_lineno or guard.lineno):
            lines[number] = ""
    return "\n".join([*lines, "", 'if __name__ == "__main__":', f"    {flow}()", ""])


def _only_flow(source: FlowSource, module: ast.Module) -> str:
    flows = [
        node.name
        for node in module.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).split(".")[-1] == "FlowSpec" for base in node.bases)
    ]
    if len(flows) != 1:
        held = ", ".join(flows) or "none"
        raise UsageError(
            "not_one_flow",
            f"{source.file} must hold one flow; it holds {held}",
            "give each flow a file of its own, or pass its class",
        )
    return flows[0]
