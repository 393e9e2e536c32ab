"""A scenario folder without a problem, for tests to break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SCENARIO = """\
id: {id}
description: Counts words.
seed: 7
objective: Count the words of the text.
input: {{text: fixtures/text.txt}}
prompt_pack:
  system: prompts/system.md
  user: prompts/user.md
fixtures: fixtures
expected: expected.json
verifier: verifier.py:verify
allowed_tools: [os.file, runtime.command]
artifacts:
  report: out/report.json
reference_plan: reference_plan.json
"""
VERIFIER = """\
from pytest_execgo.plan.verdict import Verdict


def verify(context):
    return Verdict.of([] if context.expected else ["nothing was expected"])
"""


@pytest.fixture
def make_scenario(tmp_path: Path) -> Callable[..., Path]:
    """Makes a good scenario folder `<tmp>/scenarios/<id>` (or beneath another folder) and returns its scenario.yaml."""

    def make(scenario_id: str = "words", *, within: str = "scenarios") -> Path:
        folder = tmp_path / within / scenario_id
        for name, text in {
            "scenario.yaml": SCENARIO.format(id=scenario_id),
            "verifier.py": VERIFIER,
            "prompts/system.md": "You plan.\n",
            "prompts/user.md": "Zähle die Wörter.\n",
            "fixtures/text.txt": "one two\n",
            "expected.json": json.dumps({"words": 2}),
            "reference_plan.json": json.dumps({"plan_id": "reference", "stages": []}),
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        return folder / "scenario.yaml"

    return make
