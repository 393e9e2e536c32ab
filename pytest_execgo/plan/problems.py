"""What is wrong with a document: problems with their places, for a plan and for the files that people write."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from pytest_execgo.core.document import SourceDocument
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.jsonvalue import describe, shortened, shown

_SHOWN = 30  # allowed names that a message lists
_COMPARED = 300  # longer lists of names are not searched for the nearest one
_SUGGESTIONS = 200  # searches per document, so that thousands of wrong names cost no minutes


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (a JSONPath), which kind (snake_case), and what, with what would be right."""

    path: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class PlanInvalid(ExecGoError):
    """A plan that can't be executed: the planner's failure, not ours. `problems` holds every one, the message lists them.

    `validity` is the share of the plan in which nothing is wrong (see `validity.validity_of`). `lines` says the problems to
    a person, with their file where the plan is one that people keep.
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem], validity: float = 0.0, lines: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        self.validity = validity
        self.lines = tuple(lines) or tuple(map(str, self.problems))
        listed = "\n".join(f"  {line}" for line in self.lines)
        super().__init__("plan_invalid", f"the plan is invalid ({counted(len(self.problems))}):\n{listed}")

    def __reduce__(self) -> tuple[type[PlanInvalid], tuple[tuple[Problem, ...], float, tuple[str, ...]]]:  # type: ignore[override]
        return (PlanInvalid, (self.problems, self.validity, self.lines))


def counted(number: int) -> str:
    """Return `1 problem`, `2 problems`."""
    return f"{number} problem{'' if number == 1 else 's'}"


class Suggester:
    """Says what would have been right for a wrong name, for one document."""

    def __init__(self) -> None:
        self.left = _SUGGESTIONS

    def allowed(self, value: object, names: Collection[str]) -> str:
        """Return `did you mean 'x'? allowed: x, y` for a value that is none of the names."""
        known = ", ".join(shown(name, 60) for name in islice(names, _SHOWN)) or "none"
        more = f", … ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
        return f"{self.nearest(value, names)}allowed: {known}{more}"

    def nearest(self, value: object, names: Collection[str]) -> str:
        """Return `did you mean 'x'? `, or nothing when no name is near."""
        if not isinstance(value, str) or len(value) > 100 or len(names) > _COMPARED or not self.left:
            return ""
        self.left -= 1
        near = difflib.get_close_matches(value, names, n=1, cutoff=0.6)
        return f"did you mean {shortened(near[0], 60)!r}? " if near else ""

    def unknown(self, what: str, value: object, names: Collection[str]) -> str:
        """Return the whole message for an unknown name: what was found, the nearest and the allowed ones."""
        found = repr(shortened(value, 60)) if isinstance(value, str) else describe(value)
        return f"unknown {what} {found}; {self.allowed(value, names)}"


def located(source: SourceDocument, problems: Iterable[Problem]) -> list[str]:
    """Render problems of a file as `file:line: path: message`, in the order of their lines."""
    found = sorted(problems, key=lambda problem: source.line_of(problem.path) or 0)
    return [f"{source.where(problem.path)}: {problem}" for problem in found]


def invalid_file(what: str, lines: list[str]) -> UsageError:
    """Build the one error that lists everything that is wrong with a file and with what it names."""
    listed = "\n".join(f"  {line}" for line in lines)
    code = f"invalid_{what.replace(' ', '_')}"
    return UsageError(code, f"the {what} can't be used ({counted(len(lines))}):\n{listed}")
