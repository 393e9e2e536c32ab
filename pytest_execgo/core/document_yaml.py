"""YAML text as JSON values with the line of each, and no field twice.

The text is composed into PyYAML's nodes and built from them here: no tag can make an object, aliases are bounded copies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonvalue import shortened, step_text

MAX_ALIASED = 10_000
"""Most values that a file's aliases may stand for."""

_TAG = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema, as editors read them, instead of 1.1's."""


_CoreLoader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _CoreLoader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def parse_yaml(path: Path, text: str) -> tuple[Any, dict[str, int]]:
    """Return the value and the line of each JSONPath in it; `UsageError` where the text is no YAML, or more than JSON."""
    try:
        node = yaml.compose(text, _CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise UsageError.malformed(
            path, line, column, error.problem or str(error), "the file must hold one YAML document"
        ) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - before.rfind("\n")
        what = f"character U+{ord(error.character):04X} is not allowed" if isinstance(error.character, str) else error.reason
        raise UsageError.malformed(
            path, before.count("\n") + 1, column, what, "remove it, or escape it in double quotes"
        ) from error
    builder = _Builder(path)
    return (None if node is None else builder.build(node, "$")), builder.lines


class _Builder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.open: set[int] = set()  # ids of the nodes around the one that is being built
        self.built: set[int] = set()
        self.aliased = 0

    def build(self, node: yaml.Node, place: str, line: int | None = None) -> Any:
        """Build one node; `line` is where its key stands, if it has one."""
        self.lines[place] = line or node.start_mark.line + 1
        if id(node) in self.open:
            raise self.error(node, "an alias stands for something that holds the alias itself")
        if id(node) in self.built:
            self.aliased += 1
            if self.aliased > MAX_ALIASED:
                raise self.error(node, f"aliases stand for more than {MAX_ALIASED} values")
        self.built.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        self.open.add(id(node))
        value = self.sequence(node, place) if isinstance(node, yaml.SequenceNode) else self.mapping(node, place)
        self.open.discard(id(node))
        return value

    def error(self, node: yaml.Node, what: str, hint: str = "") -> UsageError:
        mark = node.start_mark
        return UsageError.malformed(self.path, mark.line + 1, mark.column + 1, what, hint)

    def scalar(self, node: yaml.ScalarNode) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        try:
            if kind == "int":
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if kind == "float":
                return float(re.sub(r"\.(inf|nan)\Z", r"\1", text, flags=re.IGNORECASE))
        except ValueError as error:
            raise self.error(node, f"{shortened(text, 40)!r} can't be read as a number ({error})") from error
        if kind in ("bool", "null"):
            return {"bool": text[:1].lower() == "t", "null": None}[kind]
        if kind == "str":
            return text
        raise self.tag_error(node)

    def tag_error(self, node: yaml.Node) -> UsageError:
        tag = node.tag.replace(_TAG, "!!")
        return self.error(node, f"tag {tag} is not allowed", "write plain values: text, numbers, true, false, null")

    def sequence(self, node: yaml.SequenceNode, place: str) -> list[Any]:
        if node.tag != f"{_TAG}seq":
            raise self.tag_error(node)
        return [self.build(item, f"{place}[{index}]") for index, item in enumerate(node.value)]

    def mapping(self, node: yaml.Node, place: str) -> dict[str, Any]:
        if node.tag != f"{_TAG}map":
            raise self.tag_error(node)
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = self.key(key_node), key_node.start_mark.line + 1
            if key in first:
                raise self.error(key_node, f"field {key!r} stands here again; first on line {first[key]}", "keep one")
            first[key] = line
            result[key] = self.build(value_node, place + step_text(key), line)
        return result

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, "a list or mapping stands as a field's name", "a field's name is text")
        if node.tag != f"{_TAG}str":
            raise self.error(node, f"the field's name {node.value!r} is not text", f'write it in quotes: "{node.value}"')
        if node.value == "<<" and node.style is None:
            raise self.error(node, "merge keys (<<) are not supported", "write the fields out")
        return str(node.value)
