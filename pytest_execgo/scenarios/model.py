"""A scenario that was loaded, with everything that its folder holds for a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.document import SourceDocument
from pytest_execgo.plan.model import PromptPack
from pytest_execgo.plan.scenario import ScenarioSpec


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario folder. `file` is its `scenario.yaml`; `prompt_pack` holds texts, not file names.

    `reference_plan` is the document as it stands in its file, not validated; `reference_source` knows where its parts stand there
    (None: nobody does). `fixtures` is the folder whose contents are laid into a workspace, or None. `digest` (SHA-256, hex) changes
    with the content of any file of the folder.
    """

    spec: ScenarioSpec
    folder: Path
    file: Path
    prompt_pack: PromptPack
    expected: dict[str, Any]
    reference_plan: dict[str, Any]
    fixtures: Path | None
    digest: str
    reference_source: SourceDocument | None = None
