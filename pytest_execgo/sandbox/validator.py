"""What a reader of some code should know of before it runs. A hint, never a boundary.

Anything that is looked for here can be written in a way that nobody finds; what holds code is the sandbox alone.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterator, Mapping

from pytest_execgo.plan.sandbox import Finding, Language

_MOST = 100  # findings of one piece of code
_MODULES: Mapping[str, str] = {
    "subprocess": "starts processes",
    "socket": "opens network connections",
    "ctypes": "calls native code",
    "multiprocessing": "starts processes",
    "pty": "starts processes",
}
_CALLS: Mapping[str, tuple[str, str]] = {
    "eval": ("dynamic_code", "runs text as code"),
    "exec": ("dynamic_code", "runs text as code"),
    "compile": ("dynamic_code", "makes code of text"),
    "__import__": ("dynamic_code", "imports by a name that is known only when it runs"),
    "importlib.import_module": ("dynamic_code", "imports by a name that is known only when it runs"),
    "os.system": ("process", "runs a shell command"),
    "os.popen": ("process", "runs a shell command"),
    "os.fork": ("process", "starts processes"),
    "os.kill": ("process", "signals processes"),
    "pickle.load": ("unsafe_data", "runs code that data holds"),
    "pickle.loads": ("unsafe_data", "runs code that data holds"),
    "marshal.loads": ("unsafe_data", "trusts data to be code"),
    "shelve.open": ("unsafe_data", "runs code that data holds"),
    "yaml.load": ("unsafe_data", "runs code that data holds, unless its loader is a safe one"),
    "shutil.rmtree": ("file_removal", "removes whole folders"),
}
_FAMILIES = (("os.exec", "process", "replaces the process"), ("os.spawn", "process", "starts processes"))
_WRITING = frozenset("wax+")
_INNER = ("/tmp/", "/dev/null", "/work/")  # noqa: S108 - of the sandbox

_PATTERNS: Mapping[Language, tuple[tuple[str, str, str], ...]] = {
    "javascript": (
        (r"\beval\s*\(|\bnew\s+Function\s*\(", "dynamic_code", "runs text as code"),
        (r"""['"](?:node:)?child_process['"]""", "process", "starts processes"),
        (r"""['"](?:node:)?(?:net|dgram|http|https|tls)['"]|\bfetch\s*\(""", "network", "opens network connections"),
        (r"\bprocess\.(?:kill|binding|dlopen)\b", "native_code", "reaches beyond the language"),
    ),
    "go": (
        (r'"os/exec"|\bsyscall\.(?:Exec|ForkExec)\b', "process", "starts processes"),
        (r'"net(?:/http)?"', "network", "opens network connections"),
        (r'"unsafe"|"plugin"|import\s+"C"', "native_code", "reaches beyond the language"),
        (r"\bos\.RemoveAll\s*\(", "file_removal", "removes whole folders"),
    ),
    "rust": (
        (r"\bprocess::Command\b|\bCommand::new\b", "process", "starts processes"),
        (r"\bstd::net\b|\bTcpStream\b|\bUdpSocket\b", "network", "opens network connections"),
        (r"\bunsafe\b|\bextern\s+\"C\"", "native_code", "reaches beyond the language"),
        (r"\bremove_dir_all\s*\(", "file_removal", "removes whole folders"),
    ),
    "bash": (
        (r"\beval\b", "dynamic_code", "runs text as code"),
        (r"\b(?:curl|wget|nc|ncat|ssh|scp)\b|/dev/(?:tcp|udp)/", "network", "opens network connections"),
        (r"\brm\s+(?:-\w+\s+)*-\w*[rR]", "file_removal", "removes whole folders"),
        (r":\s*\(\s*\)\s*\{.*:\s*\|\s*:", "process", "is a fork bomb"),
        (r"\b(?:sudo|su|chroot|mount|setsid|nohup)\b", "process", "tries for another place to run in"),
    ),
}


class CodeValidator:
    """Finds what is dangerous in code, and where: from a real parse for Python, by plain patterns for the other languages.

    Codes are `syntax_error, dynamic_code, process, network, native_code, unsafe_data, file_write, file_removal`.
    """

    def __init__(self) -> None:
        self._warnings = threading.Lock()  # Python's filters for them are everybody's

    def validate(self, language: Language, code: str) -> list[Finding]:
        """Return what was found, by line, at most a hundred of it. Code that can't be parsed is a finding, never an exception."""
        if language == "python":
            return self._python(code)
        found = list(_by_pattern("javascript" if language == "typescript" else language, code))
        return found[:_MOST]

    def _python(self, code: str) -> list[Finding]:
        try:
            with self._warnings, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(code)
            found = sorted(_Reader().read(tree), key=lambda finding: finding.line)
        except SyntaxError as error:
            return [Finding(line=error.lineno or 1, code="syntax_error", message=error.msg or "this is not Python")]
        except (ValueError, RecursionError, MemoryError) as error:
            return [Finding(line=1, code="syntax_error", message=f"Python can't read this: {error or 'it is nested too deeply'}")]
        return found[:_MOST]


def _by_pattern(language: Language, code: str) -> Iterator[Finding]:
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, kind, message in _PATTERNS[language]:
            if re.search(pattern, line[:10_000]):
                yield Finding(line=number, code=kind, message=message)


class _Reader:
    """Reads one module; remembers under which names it knows what it imported."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def read(self, tree: ast.Module) -> Iterator[Finding]:
        """Find everything; imports first, since code may use a name above the line that imports it."""
        nodes = list(ast.walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from self._import(node)
        for node in nodes:
            if isinstance(node, ast.Call):
                yield from self._call(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[Finding]:
        origin = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            whole = origin + alias.name
            self._names[alias.asname or alias.name.split(".")[0]] = whole if alias.asname or origin else alias.name.split(".")[0]
            top = whole.split(".")[0]
            if top in _MODULES:
                kind = {"socket": "network", "ctypes": "native_code"}.get(top, "process")
                yield Finding(line=node.lineno, code=kind, message=f"{top} {_MODULES[top]}")

    def _call(self, node: ast.Call) -> Iterator[Finding]:
        name = self._name(node.func)
        if name in _CALLS:
            kind, message = _CALLS[name]
            yield Finding(line=node.lineno, code=kind, message=f"{name} {message}")
        for start, kind, message in _FAMILIES:
            if name.startswith(start):
                yield Finding(line=node.lineno, code=kind, message=f"{name} {message}")
        if name in ("open", "io.open") and (target := _written(node)):
            yield Finding(line=node.lineno, code="file_write", message=f"open writes to {target[:200]}, outside of its folder")

    def _name(self, node: ast.expr) -> str:
        """Return the dotted name of what is called, as it was called where it comes from; "" when it has none."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        name = ".".join([self._names.get(node.id, node.id), *parts])
        return name.removeprefix("builtins.")


def _written(call: ast.Call) -> str:
    """Return the file that an `open` would write to outside of the code's own folders; "" when it does not, or can't be told."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    path = call.args[0] if call.args else given.get("file")
    mode = call.args[1] if len(call.args) > 1 else given.get("mode")
    if not (isinstance(path, ast.Constant) and isinstance(path.value, str)):
        return ""
    if not (isinstance(mode, ast.Constant) and isinstance(mode.value, str) and _WRITING & set(mode.value)):
        return ""
    text = path.value
    outside = (text.startswith("/") and not text.startswith(_INNER)) or ".." in text.split("/") or text.startswith("~")
    return text if outside else ""
