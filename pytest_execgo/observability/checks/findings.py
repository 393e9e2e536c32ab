"""What a check looked at and found."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_execgo.plan.history import HistoryRow, Violation

MAX_SHOWN = 20
"""How many violations of one check are shown; all are counted."""


@dataclass(slots=True)
class Findings:
    """One check's findings. `looked` counts what it was about: tasks, keys, deliveries, reads, spawns."""

    check: str
    looked: int = 0
    convicted: set[str] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)

    def convict(self, subject: str, message: str, *witness: HistoryRow | None) -> None:
        """Note a violation, once for each subject (a task, an effect's key), with the rows that show it."""
        if subject in self.convicted:
            return
        self.convicted.add(subject)
        if len(self.violations) < MAX_SHOWN:
            rows = sorted((row for row in witness if row is not None), key=lambda row: row.monotonic_ns)
            self.violations.append(Violation(check=self.check, message=message, witness=rows))
