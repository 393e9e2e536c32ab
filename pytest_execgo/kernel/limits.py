"""How much a submission may ask for. Every refusal is a 400 (413 for the body) that names the limit and where it was exceeded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate

from pytest_execgo.kernel.golang.text import quote
from pytest_execgo.kernel.submission import Refused
from pytest_execgo.kernel.task import TaskSpec

_SHOWN = 80  # characters of an id in a message
# the closing quote may be missing, so that no text makes the search begin again and again
_STRING = re.compile(r'(?s)"[^"\\]*(?:\\.[^"\\]*)*"?')
_STRING_BYTES = re.compile(rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"?')
_LEVEL = {"{": 1, "[": 1, "}": -1, "]": -1}
_NOT_BRACKETS = re.compile(r"[^][{}]+")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one kernel; sizes in bytes, times in milliseconds. Negative retries and timeouts count as none."""

    body_bytes: int = 32 * 1024 * 1024
    values_per_body: int = 500_000
    """Commas and opening brackets outside of strings: what a body costs to read."""
    tasks_per_graph: int = 50_000
    dependencies_per_task: int = 10_000
    nesting_depth: int = 512
    number_digits: int = 1_000
    id_bytes: int = 1_024
    text_bytes: int = 65_536
    """Of a type, a tool's name, and a task's annotations together."""
    input_bytes: int = 16 * 1024 * 1024
    """Of a task's params, and of its input, as JSON."""
    retry: int = 1_000_000
    timeout_ms: int = 30 * 24 * 3_600_000

    def check(self, specs: Sequence[TaskSpec]) -> None:
        """Hold a graph to the limits; `Refused` names the first one that it exceeds."""
        if len(specs) > self.tasks_per_graph:
            raise Refused(f"limit exceeded: tasks_per_graph is {self.tasks_per_graph}, this graph has {len(specs)}")
        for spec in specs:
            for limit, given in self._exceeded(spec):
                shown = spec.id if len(spec.id) <= _SHOWN else spec.id[:_SHOWN] + "…"
                most = getattr(self, limit)
                raise Refused(f"limit exceeded: {limit} is {most}, task {quote(shown)} has {given if given else 'more'}")

    def check_body(self, body: bytes) -> None:
        """Hold a body to the limits before it is parsed, which for a million values would take seconds."""
        if _values(body) > self.values_per_body and (found := _values(_STRING_BYTES.sub(b"", body))) > self.values_per_body:
            raise Refused(f"limit exceeded: values_per_body is {self.values_per_body}, this body has {found}")

    def describe(self) -> dict[str, int]:
        """Return every limit by name."""
        return asdict(self)

    def _exceeded(self, spec: TaskSpec) -> Iterable[tuple[str, int]]:
        """Yield the limits that a task exceeds, with what it has (0: not counted to the end)."""
        id_bytes = len(spec.id.encode())
        if id_bytes > self.id_bytes:
            yield "id_bytes", id_bytes
        if len(spec.depends_on) > self.dependencies_per_task:
            yield "dependencies_per_task", len(spec.depends_on)
        if spec.retry > self.retry:
            yield "retry", spec.retry
        if spec.timeout > self.timeout_ms:
            yield "timeout_ms", spec.timeout
        for text in (spec.type, spec.tool_name, spec.category, spec.annotations or ""):
            if len(text) > self.text_bytes:
                yield "text_bytes", len(text)
        for value in (spec.params, spec.input):
            if value is not None:
                yield from self._exceeded_by_value(value)

    def _exceeded_by_value(self, text: str) -> Iterable[tuple[str, int]]:
        if len(text) > self.input_bytes:
            yield "input_bytes", len(text)
        may_be_deep = text.count("[") + text.count("{") > self.nesting_depth
        may_be_long = len(text) > self.number_digits and _long_number(self.number_digits).search(text)
        if may_be_deep or may_be_long:  # what stands in strings is none of these; only now it is worth taking them out
            bare = _STRING.sub('""', text)
            if nesting_depth(bare) > self.nesting_depth:
                yield "nesting_depth", nesting_depth(bare)
            if _long_number(self.number_digits).search(bare):
                yield "number_digits", 0


COMPAT = Limits(
    values_per_body=2**31,
    tasks_per_graph=2**31,
    dependencies_per_task=2**31,
    nesting_depth=10_000,
    number_digits=2**31,
    id_bytes=2**31,
    text_bytes=2**31,
    input_bytes=2**31,
    retry=2**63,
    timeout_ms=2**63,
)
"""What keeps the process alive, and nothing beyond it: the size of a body, and the nesting that Go's decoder takes."""


def _values(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def nesting_depth(text: str) -> int:
    """Return how deep JSON text without strings is nested."""
    return max(accumulate(map(_LEVEL.__getitem__, _NOT_BRACKETS.sub("", text))), default=0)


@lru_cache
def _long_number(digits: int) -> re.Pattern[str]:
    return re.compile(f"[0-9]{{{digits + 1}}}") if digits < 100_000 else re.compile(r"(?!)")
