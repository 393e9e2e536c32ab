"""The matrix: every cell once, names checked, exclusions explained, a cell found again by what is printed of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.adapters.replay import ReplayAdapter
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.core.errors import UsageError
from pytest_execgo.harness.containers import ContainerStack
from pytest_execgo.harness.embedded import EmbeddedStack
from pytest_execgo.harness.external import ExternalStack
from pytest_execgo.harness.native import NativeStack
from pytest_execgo.plan.adapter import AdapterCapabilities
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.model import Mode, PromptPack
from pytest_execgo.plan.scenario import PromptFiles, ScenarioSpec
from pytest_execgo.plan.stack import Stack
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.wiring.matrix import (
    CAPABILITIES,
    Axes,
    PlannedCell,
    describe,
    exclusion,
    expand,
    select,
    selector,
    surroundings,
)
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.settings import BACKENDS, Settings

KNOWN = Axes(("codegen", "chain"), ("langgraph", "crewai"), ("replay", "live"), ("none", "restart"))
NAMES = st.text("abz019._-", min_size=1, max_size=8)
CELLS = st.builds(
    Cell, NAMES, NAMES, st.sampled_from(["replay", "live"]), NAMES, st.integers(0, 10_000), st.none() | st.integers(0, 2**63 - 1)
)


def settings(*cells: str, seed: str = "") -> Settings:
    return Settings.parse(effective({"cell": list(cells), "seed": seed}, {}, {}), Path("/project"))


def test_cells_are_the_product_in_the_order_of_the_axes() -> None:
    axes = Axes(("b", "a"), ("y", "x"), ("replay",), ("none", "restart"), repeat=2, seed=5)
    assert axes.cells() == [
        Cell(scenario, framework, "replay", chaos, repetition, 5)
        for scenario, framework, chaos, repetition in product("ba", "yx", ("none", "restart"), (0, 1))
    ]
    assert Axes((), ("x",), ("replay",), ("none",)).cells() == []


@pytest.mark.parametrize(
    ("names", "expanded"),
    [
        (("crewai",), ("crewai",)),
        (("crewai", "langgraph"), ("crewai", "langgraph")),
        (("all",), KNOWN.frameworks),
        (("crewai", "all"), KNOWN.frameworks),
    ],
)
def test_names_are_checked_and_all_means_every_one(names: tuple[str, ...], expanded: tuple[str, ...]) -> None:
    assert expand("framework", names, KNOWN.frameworks) == expanded


@pytest.mark.parametrize("names", [("lang-graph",), ("crewai", "lang-graph"), ("all", "lang-graph"), ("lang-graph", "all")])
def test_an_unknown_name_is_refused_with_the_nearest_even_beside_all(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="unknown framework 'lang-graph'") as refused:
        expand("framework", names, KNOWN.frameworks)
    assert refused.value.hint == "did you mean 'langgraph'? allowed: all, crewai, langgraph"


def test_an_axis_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="no scenario was named") as refused:
        expand("scenario", (), KNOWN.scenarios)
    assert refused.value.hint == "allowed: codegen, chain, all"


def test_without_a_named_cell_all_are_selected() -> None:
    assert select(settings(), KNOWN, KNOWN) == KNOWN.cells()


def test_a_cell_is_selected_by_its_id_and_by_its_selector() -> None:
    axes = replace(KNOWN, repeat=2, seed=3)
    for cell in axes.cells():
        assert select(settings(cell.cell_id, seed="3"), axes, KNOWN) == [cell]
        assert select(settings(selector(cell), seed="3"), axes, KNOWN) == [cell]


def test_a_selector_reaches_beyond_the_configured_axes() -> None:
    narrow = Axes(("chain",), ("crewai",), ("replay",), ("none",))
    assert select(settings("codegen:langgraph:live:restart:41"), narrow, KNOWN) == [
        Cell("codegen", "langgraph", "live", "restart", 41)
    ]


def test_several_cells_keep_their_order_and_each_comes_once() -> None:
    first, second = KNOWN.cells()[:2]
    chosen = select(settings(selector(second), first.cell_id, selector(first), second.cell_id), KNOWN, KNOWN)
    assert chosen == [second, first]


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef",
        "codegen",
        "codegen:crewai:replay:none",
        "codegen:crewai:replay:none:x",
        "a:b:c:d:e:f",
        "codegen:crewai:replay:none:-1",
    ],
)
def test_what_names_no_cell_is_refused_with_the_form_of_a_selector(text: str) -> None:
    with pytest.raises(UsageError, match=f"cell '{text}'") as refused:
        select(settings(text), KNOWN, KNOWN)
    assert refused.value.code == "unknown_cell"
    assert "scenario:framework:mode:chaos:repetition" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("codegn:crewai:replay:none:0", "unknown scenario 'codegn'"),
        ("codegen:crew:replay:none:0", "unknown framework 'crew'"),
        ("codegen:crewai:relay:none:0", "unknown mode 'relay'"),
        ("codegen:crewai:replay:non:0", "unknown chaos profile 'non'"),
        ("all:crewai:replay:none:0", "unknown scenario 'all'"),
        ("codegen:all:replay:none:0", "unknown framework 'all'"),
        (":crewai:replay:none:0", "unknown scenario ''"),
    ],
)
def test_each_part_of_a_selector_must_be_one_known_name(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        select(settings(text), KNOWN, KNOWN)


@given(CELLS)
def test_a_selector_leads_back_to_its_cell(cell: Cell) -> None:
    known = Axes((cell.scenario,), (cell.framework,), ("replay", "live"), (cell.chaos,))
    seed = "" if cell.seed is None else str(cell.seed)
    assert select(settings(selector(cell), seed=seed), known, known) == [cell]


@given(CELLS, CELLS)
def test_different_cells_have_different_ids(one: Cell, other: Cell) -> None:
    assert (one.cell_id == other.cell_id) == (one == other)


@pytest.mark.parametrize(
    "change", [{"scenario": "x"}, {"framework": "x"}, {"mode": "live"}, {"chaos": "x"}, {"repetition": 1}, {"seed": 0}]
)
def test_each_axis_is_part_of_the_identity(change: dict[str, Any]) -> None:
    cell = Cell("demo", "crewai", "replay", "none")
    assert replace(cell, **change).cell_id != cell.cell_id


def test_an_identity_is_the_same_in_every_process() -> None:
    """A pinned value: stored results, baselines and resumption depend on it."""
    pinned = "cc43c834d6a3e02d"
    assert Cell("codegen_exec", "langgraph", "replay", "none", 0, 7).cell_id == pinned
    code = "from pytest_execgo.plan.cell import Cell; print(Cell('codegen_exec', 'langgraph', 'replay', 'none', 0, 7).cell_id)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env={"PYTHONHASHSEED": "1"}
    )
    assert done.stdout.strip() == pinned


def scenario(*allowed: str) -> Scenario:
    spec = ScenarioSpec(
        id="codegen",
        description="",
        seed=1,
        objective="do it",
        prompt_pack=PromptFiles(system="s", user="u"),
        verifier="v",
        allowed_tools=["os.noop"],
        allowed_chaos=list(allowed),
        reference_plan="p",
    )
    plan = {"stages": [{"stage_id": "only", "task_graph": {"tasks": [{"id": "t", "type": "noop"}]}}]}
    return Scenario(spec, Path(), Path(), PromptPack(), {}, plan, None, "")


def profile(name: str) -> ChaosProfile:
    targets = {"storm": ["kernel"], "drought": ["kernel", "runtime"]}.get(name, [])
    faults = [{"action": "restart", "target": target, "trigger": {"phase": "runtime"}} for target in targets]
    return ChaosProfile.model_validate({"id": name, "description": "", "faults": faults})


CELL = Cell("codegen", "crewai", "replay", "none")


@pytest.mark.parametrize(
    ("cell", "allowed", "reason"),
    [
        (CELL, ("all",), None),
        (CELL, (), None),
        (replace(CELL, chaos="calm"), ("calm",), None),
        (replace(CELL, chaos="calm"), ("all",), None),
        (replace(CELL, chaos="calm"), ("a", "b"), "scenario 'codegen' does not allow chaos profile 'calm' (allowed: a, b)"),
        (replace(CELL, chaos="calm"), (), "scenario 'codegen' does not allow chaos profile 'calm' (allowed: none)"),
        (replace(CELL, chaos="storm"), ("all",), None),
        (
            replace(CELL, chaos="drought"),
            ("all",),
            "no task of the scenario's plan runs in the runtime (chaos profile 'drought', fault 1: restart runtime)",
        ),
    ],
)
def test_a_cell_that_can_not_run_is_excluded_with_its_reason(cell: Cell, allowed: tuple[str, ...], reason: str | None) -> None:
    assert exclusion(cell, scenario(*allowed), load_adapters(), profile) == reason


@dataclass(frozen=True)
class AdapterOf:
    """An adapter of a framework that is installed, or not."""

    modes: tuple[Mode, ...]
    version: str | None = "1"

    def capabilities(self) -> AdapterCapabilities:
        return AdapterCapabilities("crewai", self.modes, self.version, "pip install it")


def test_a_framework_that_can_not_plan_live_says_what_to_do() -> None:
    def reason(adapter: Any) -> str | None:
        return exclusion(replace(CELL, mode="live"), scenario("all"), {"crewai": adapter}, profile)

    assert reason(AdapterOf(("replay", "live"))) is None
    assert str(reason(AdapterOf(("replay",), None))).endswith("it can't plan live: pip install it")
    assert str(reason(AdapterOf(("replay",)))).endswith("use --execgo-mode replay")
    only = ReplayAdapter("crewai", "no-such-package", "crewai", lambda raw: None)
    assert reason(only) == "the adapter of crewai only replays; use --execgo-mode replay"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_backend_can_do_decides_what_can_be_injected(backend: str) -> None:
    reason = exclusion(replace(CELL, chaos="storm"), scenario("all"), load_adapters(), profile, backend=backend)
    ours = backend != "external"
    assert reason == (None if ours else "the backend can't restart a service (chaos profile 'storm', fault 0: restart kernel)")
    near = surroundings(scenario("all"), backend)
    assert near.local == ours
    assert near.links == (frozenset(LEGS) if ours else {"client-kernel"})


def test_a_fault_of_the_model_is_for_live_cells_with_the_scripted_model() -> None:
    fault = {"action": "model_fault", "target": "model", "parameters": {"fault": "dropped"}}
    document = {"id": "m", "description": "", "faults": [{**fault, "trigger": {"phase": "plan", "event": "run_started"}}]}
    misled = ChaosProfile.model_validate(document)
    cell = replace(CELL, chaos="m")
    able: Any = {"crewai": AdapterOf(("replay", "live"))}

    def reason(mode: Mode, provider: str | None) -> str | None:
        return exclusion(replace(cell, mode=mode), scenario("all"), able, lambda name: misled, provider=provider)

    assert reason("live", "mock") is None
    assert "use --execgo-mode live" in str(reason("replay", "mock"))
    assert "use --execgo-provider mock" in str(reason("live", "openai"))


def test_a_backend_is_known_to_do_what_its_stack_does(tmp_path: Path) -> None:
    stacks: dict[str, Stack] = {
        "embedded": EmbeddedStack(tmp_path),
        "containers": ContainerStack(tmp_path),
        "native": NativeStack(Path(sys.executable), tmp_path),
        "external": ExternalStack("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"),
    }
    assert {name: stack.capabilities for name, stack in stacks.items()} == CAPABILITIES


def test_actions_of_ones_own_are_asked(tmp_path: Path) -> None:
    class Never:
        targets = frozenset({"kernel"})

        def problems(self, fault: object) -> list[str]:
            return []

        def unusable(self, fault: object, near: object) -> str:
            return "never"

    own: Any = {"restart": Never()}
    reason = exclusion(replace(CELL, chaos="storm"), scenario("all"), load_adapters(), profile, actions=own)
    assert reason == "never (chaos profile 'storm', fault 0: restart kernel)"


def test_a_matrix_is_described_line_by_line_with_a_count() -> None:
    other = replace(CELL, repetition=1)
    lines = describe([PlannedCell(CELL), PlannedCell(other, "no chaos here")])
    assert len(lines) == 3
    assert lines[0].split() == [CELL.cell_id, "codegen:crewai:replay:none:0", "runs"]
    assert lines[1].split(maxsplit=2) == [other.cell_id, "codegen:crewai:replay:none:1", "excluded: no chaos here"]
    assert lines[2] == "2 cells: 1 would run, 1 excluded"
    planned = [PlannedCell(CELL, source=source) for source in ("reference", "recording", "live")]
    planned.append(PlannedCell(CELL, "no chaos here", "reference"))
    ends = [line.split(selector(CELL))[1].strip() for line in describe(planned)[:-1]]
    assert ends == ["runs  (reference plan)", "runs", "runs", "excluded: no chaos here"]
    assert describe([]) == ["0 cells: 0 would run, 0 excluded"]
