"""The recordings of a scenario: what frameworks really planned for it, one file each, to be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.files import checked_name, write_atomic
from pytest_execgo.core.jsonio import digest, dumps, read_json
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.planning import PlanSource, Recording
from pytest_execgo.scenarios.model import Scenario

FOLDER = "recordings"
_AGAIN = "record it again (--execgo-mode live --execgo-record), or delete the file to replay the reference plan"
_REQUIRED = frozenset(name for name, field in Recording.model_fields.items() if field.is_required())


def planning_digest(scenario: Scenario) -> str:
    """Identify what a planner is asked: objective, input, prompts, tools, budget. A recording belongs to one such question."""
    spec = scenario.spec
    tools, budget = sorted(spec.allowed_tools), spec.effect_budget.max_tasks
    return digest([spec.objective, spec.input, scenario.prompt_pack.model_dump(), tools, budget])


def recording_file(scenario: Scenario, framework: str) -> Path:
    """Return where a framework's recording of a scenario is kept."""
    return scenario.folder / FOLDER / f"{checked_name('framework', framework)}.json"


def plan_source(scenario: Scenario, framework: str, mode: Mode) -> PlanSource:
    """Tell where a cell's plan would come from, if it were run now."""
    if mode == "live":
        return "live"
    return "recording" if recording_file(scenario, framework).is_file() else "reference"


def recording_of(scenario: Scenario, framework: str) -> dict[str, Any] | None:
    """Return a framework's recording of a scenario as a document; None if there is none.

    `UsageError` for a file that can't be read, or is something else than a `Recording`, and for a recording that answers
    another question than the scenario asks now.
    """
    file = recording_file(scenario, framework)
    if not file.is_file():
        return None
    document = read_json(file)
    if not isinstance(document, dict):
        raise UsageError("bad_recording", f"{file}: $: a recording is a JSON object", _AGAIN)
    if missing := sorted(_REQUIRED - document.keys()):
        said = f"{file}: this is no recording of a live planning: it lacks {', '.join(missing)}"
        mine = f"put a plan of your own into {scenario.folder / scenario.spec.reference_plan} and delete this file"
        hint = f"{mine}; only live planning makes recordings (--execgo-mode live --execgo-record)"
        raise UsageError("no_recording", said, hint)
    if document.get("scenario_id") != scenario.spec.id or document.get("scenario_digest") != planning_digest(scenario):
        said = f"{file}: the recording answers another question: the scenario's objective, input, prompts or tools have changed"
        raise UsageError("recording_outdated", said, _AGAIN)
    return document


def write_recording(scenario: Scenario, recording: Recording) -> Path:
    """Keep a recording in the scenario's folder, in place of an earlier one; `UsageError` when that can't be written."""
    file = recording_file(scenario, recording.output.framework)
    try:
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, dumps(recording.model_dump(mode="json"), indent=2) + "\n")
    except OSError as error:
        raise UsageError("recording_unwritable", f"{file}: {error.strerror or error}", "record in a project of your own") from error
    return file
