"""Submitting an id again (strict): the same content is the same task, other content is refused.

A graph may name tasks that exist and tasks that don't: those that exist stay as they are, whatever has become of them, and
the others are linked to them. A client that never saw the answer to its submission can therefore just send it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.kernel.golang.text import quote
from pytest_execgo.kernel.graph import Node, Phase
from pytest_execgo.kernel.store import Store
from pytest_execgo.kernel.task import TaskRecord, TaskSpec, TaskStatus

_SPENT = {TaskStatus.FAILED: "failed", TaskStatus.SKIPPED: "skipped"}


class Conflict(ExecGoError):
    """An id that is submitted again with other content."""

    def __init__(self, task_id: str) -> None:
        super().__init__("task_exists", f"task id {quote(task_id)} already exists with other content")


@dataclass(frozen=True, slots=True)
class Linked:
    """New nodes by id, and finished parents of theirs that did not succeed, each with how it ended."""

    nodes: dict[str, Node]
    spent: list[tuple[Node, str]]


def newcomers(specs: Iterable[TaskSpec], store: Store) -> list[TaskSpec]:
    """Return the tasks that don't exist yet; `Conflict` for the first one that exists with other content."""
    fresh = []
    for spec in specs:
        record = store.get(spec.id)
        if record is None:
            fresh.append(spec)
        elif not same_content(record.spec, spec):
            raise Conflict(spec.id)
    return fresh


def same_content(one: TaskSpec, other: TaskSpec) -> bool:
    """Tell whether two normalised submissions mean the same: JSON by its content, everything else to the letter."""
    one, other = one.as_run(), other.as_run()  # a record of a task that ran holds it as it ran
    if one == other:
        return True
    if one._replace(params=None, input=None) != other._replace(params=None, input=None):
        return False
    return _same_json(one.params, other.params) and _same_json(one.input, other.input)


def link_new(records: Iterable[TaskRecord], live: Mapping[str, Node], store: Store) -> Linked:
    """Make the nodes of new tasks, each linked to its parents: new ones, ones that have not ended (`live`), ended ones.

    A parent that has ended well holds nobody up. A dependency that is named twice counts twice on both sides.
    """
    nodes = {record.spec.id: Node(record) for record in records}
    spent: dict[str, Node] = {}
    for node in nodes.values():
        for dependency in node.record.spec.depends_on:
            parent = nodes.get(dependency) or live.get(dependency) or spent.get(dependency)
            if parent is None:
                record = store.get(dependency)
                if record is None or record.status not in _SPENT:
                    continue
                parent = spent[dependency] = Node(record, Phase.DONE)
            parent.children.append(node)
            node.waiting += 1
    return Linked(nodes, [(parent, _SPENT[parent.record.status]) for parent in spent.values()])


def _same_json(one: str | None, other: str | None) -> bool:
    if one == other:
        return True
    if one is None or other is None:
        return False
    try:
        return bool(comparable(one) == comparable(other))
    except RecursionError:
        return False  # too deep to look into: not the same text, so not known to be the same


def comparable(text: str) -> Any:
    """Parse JSON so that the order of members doesn't count, and numbers are what was written."""
    return json.loads(
        text,
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
        object_pairs_hook=lambda pairs: ("object", sorted(pairs, key=lambda pair: pair[0])),
    )
