"""One cell of the matrix: scenario x framework x mode x chaos profile x repetition."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from pytest_execgo.core.jsonio import digest
from pytest_execgo.plan.base import Document, Name
from pytest_execgo.plan.model import Mode


@dataclass(frozen=True, slots=True)
class Cell:
    """What defines one run. `seed` is the seed of the sweep (None: the scenario's own)."""

    scenario: str
    framework: str
    mode: Mode
    chaos: str
    repetition: int = 0
    seed: int | None = None

    @property
    def cell_id(self) -> str:
        """Identity of the cell: the same in every process, on every machine; 16 hex digits."""
        return digest([self.scenario, self.framework, self.mode, self.chaos, self.repetition, self.seed])[:16]

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What repetitions of one another have in common."""
        return (self.scenario, self.framework, self.mode, self.chaos)

    def __str__(self) -> str:
        return f"{self.scenario}[{self.axes}]"

    @property
    def axes(self) -> str:
        """The cell within its scenario, as it stands in a test id: `langgraph-replay-none-0`."""
        return f"{self.framework}-{self.mode}-{self.chaos}-{self.repetition}"

    @property
    def selector(self) -> str:
        """The text by which `--execgo-cell` selects the cell."""
        return f"{self.scenario}:{self.framework}:{self.mode}:{self.chaos}:{self.repetition}"


class CellRecord(Document):
    """A cell as a document holds it."""

    scenario: Name
    framework: Name
    mode: Mode
    chaos: Name
    repetition: int = 0
    seed: int | None = None

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Record a cell."""
        return cls(**asdict(cell))

    @property
    def cell(self) -> Cell:
        """The cell that was recorded."""
        return Cell(**self.model_dump())
