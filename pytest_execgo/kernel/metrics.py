"""The counters behind GET /metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pytest_execgo.kernel.golang.text import json_string


@dataclass(slots=True)
class Metrics:
    """Counts since the start; `failed` includes tasks that were skipped because a direct dependency failed, each once."""

    total: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    by_type: Counter[str] = field(default_factory=Counter)

    def encode(self) -> str:
        """Return the JSON snapshot."""
        by_type = ",".join(f"{json_string(name)}:{count}" for name, count in sorted(self.by_type.items()))
        return (
            f'{{"tasks_total":{self.total},"tasks_running":{self.running},"tasks_succeeded":{self.succeeded},'
            f'"tasks_failed":{self.failed},"by_type":{{{by_type}}}}}'
        )
