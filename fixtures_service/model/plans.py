"""The plans that the scripted model knows: `plans/*.json` of each scenario, or its `reference_plan.json`.

Which one it proposes is drawn from SHA-256 of "SEED:SCENARIO:FORM", so that it differs between frameworks and seeds and is the same
for every request of one planning. Files are read once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.bodies import HttpError
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import read_json

FOLDER = "plans"
REFERENCE = "reference_plan.json"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class Script:
    """One plan that the model may propose: its name (`reference` where a scenario has no variants), and its document."""

    name: str
    document: dict[str, Any]


class Plans:
    """The plans of the scenarios in some folders; of two scenarios of one name, that in the earlier folder counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._known: dict[str, list[Script]] = {}

    def choose(self, scenario: str, form: str, seed: str) -> tuple[str, dict[str, Any]]:
        """Return the name and the document of the plan for a path, labelled as a live plan of that scenario.

        404 for a scenario that there is none of, 500 for plan files that can't be used.
        """
        scripts = self._known.get(scenario) or self._known.setdefault(scenario, self._read(scenario))
        drawn = hashlib.sha256(f"{seed}:{scenario}:{form}".encode()).digest()
        script = scripts[int.from_bytes(drawn) % len(scripts)]
        labels = {"plan_id": f"{scenario}-{script.name}", "scenario_id": scenario, "framework": form, "mode": "live"}
        return script.name, {**labels, **{name: value for name, value in script.document.items() if name not in labels}}

    def _read(self, scenario: str) -> list[Script]:
        places = [folder / scenario for folder in self.folders] if _NAME.fullmatch(scenario) else []
        for place in places:
            variants = sorted((place / FOLDER).glob("*.json"))
            reference = place / REFERENCE
            try:
                if variants:
                    return [Script(file.stem, _plan_in(file)) for file in variants]
                if reference.is_file():
                    return [Script("reference", _plan_in(reference))]
            except UsageError as error:
                raise HttpError(500, "bad_plan", error.message) from error
        looked = ", ".join(map(str, self.folders))
        message = f"the scripted model knows no scenario {scenario[:80]!r}: no {FOLDER}/*.json or {REFERENCE} of it in {looked}"
        raise HttpError(404, "scenario_not_found", message)


def _plan_in(file: Path) -> dict[str, Any]:
    document = read_json(file)
    stages = document.get("stages") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(stages, list) or not stages or not all(map(_has_tasks, stages)):
        raise UsageError("bad_plan", f"{file}: must be an object with a list of stages, each with tasks in its task_graph")
    return document


def _has_tasks(stage: Any) -> bool:
    graph = stage.get("task_graph") if isinstance(stage, dict) else None
    tasks = graph.get("tasks") if isinstance(graph, dict) else None
    return isinstance(tasks, list) and bool(tasks) and all(isinstance(task, dict) for task in tasks)
