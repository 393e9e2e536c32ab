"""The cells of a configuration: axes expanded, names checked, exclusions explained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import cast

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.catalogue import unusable
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.adapter import Adapter
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import Action, PlanAction, Surroundings
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.planning import PlanSource
from pytest_execgo.plan.stack import Capability
from pytest_execgo.reporting.text import counted
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.wiring.settings import MOST_REPETITIONS, Settings

_OURS = frozenset({Capability.RESTART, Capability.KILL, Capability.PAUSE, Capability.LOGS})
CAPABILITIES: Mapping[str, frozenset[Capability]] = {
    "embedded": _OURS,
    "containers": frozenset(Capability),
    "native": _OURS,
    "external": frozenset(),
}
"""What each backend can do to its services, known before any stack is up."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell of the matrix; `excluded` says why it can't be run here, None when it can; `source` where its plan would come from."""

    cell: Cell
    excluded: str | None = None
    source: PlanSource | None = None


@dataclass(frozen=True, slots=True)
class Axes:
    """The names on each axis, expanded and checked."""

    scenarios: tuple[str, ...]
    frameworks: tuple[str, ...]
    modes: tuple[str, ...]
    chaos: tuple[str, ...]
    repeat: int = 1
    seed: int | None = None

    def cells(self) -> list[Cell]:
        """Return the product of the axes, in the order in which they are named."""
        return [
            Cell(scenario, framework, cast(Mode, mode), chaos, repetition, self.seed)
            for scenario, framework, mode, chaos, repetition in product(
                self.scenarios, self.frameworks, self.modes, self.chaos, range(self.repeat)
            )
        ]


def expand(what: str, names: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """Expand `all` and check every name of one axis; `UsageError` offers the nearest match."""
    for name in names:
        if name not in known and name != "all":
            raise UsageError.unknown(what, name, [*known, "all"])
    if "all" in names:
        return tuple(known)
    if not names:
        raise UsageError("empty_axis", f"no {what} was named", f"allowed: {', '.join(known)}, all")
    return names


def select(settings: Settings, axes: Axes, known: Axes) -> list[Cell]:
    """Return the cells to run: the product of the axes, or exactly those that `--execgo-cell` names."""
    if not settings.cells:
        return axes.cells()
    by_id = {cell.cell_id: cell for cell in axes.cells()}
    named = (by_id[text] if text in by_id else _parse_cell(text, known, settings.seed) for text in settings.cells)
    return list(dict.fromkeys(named))  # an id and a selector may name one cell


def selector(cell: Cell) -> str:
    """Return the text by which `--execgo-cell` selects a cell."""
    return cell.selector


def _parse_cell(text: str, known: Axes, seed: int | None) -> Cell:
    parts = text.split(":")
    if len(parts) != 5 or not parts[4].isdecimal() or len(parts[4]) > len(str(MOST_REPETITIONS)):
        raise UsageError(
            "unknown_cell",
            f"cell {text!r} is none of the selected ones",
            "write scenario:framework:mode:chaos:repetition, or a cell id that --execgo-dry-run lists",
        )
    scenario, framework, mode, chaos, repetition = parts
    for what, name, allowed in (
        ("scenario", scenario, known.scenarios),
        ("framework", framework, known.frameworks),
        ("mode", mode, known.modes),
        ("chaos profile", chaos, known.chaos),
    ):
        if name not in allowed:
            raise UsageError.unknown(what, name, allowed)
    return Cell(scenario, framework, cast(Mode, mode), chaos, int(repetition), seed)


def surroundings(scenario: Scenario, backend: str, mode: Mode = "replay", provider: str | None = None) -> Surroundings:
    """Return what is known of a scenario's cells before they run. Of somebody else's stack, only our way to it is ours."""
    capabilities = CAPABILITIES.get(backend, frozenset())
    ours = bool(capabilities)
    links = frozenset(LEGS) if ours else frozenset({"client-kernel"})
    return Surroundings(capabilities, scenario.reference_plan, links=links, local=ours, mode=mode, provider=provider)


def needs_links(profile: ChaosProfile, actions: Mapping[str, Action | PlanAction], around: Surroundings) -> bool:
    """Tell whether a profile's faults strike the network: whether they could be injected with links, and not without."""
    unlinked = replace(around, links=frozenset())
    return unusable(profile, actions, around) is None and unusable(profile, actions, unlinked) is not None


def exclusion(
    cell: Cell,
    scenario: Scenario,
    adapters: Mapping[str, Adapter],
    profile: Callable[[str], ChaosProfile],
    *,
    backend: str = "embedded",
    provider: str | None = None,
    actions: Mapping[str, Action | PlanAction] = ACTIONS,
) -> str | None:
    """Say why a cell can't be run here; None when it can."""
    allowed = scenario.spec.allowed_chaos
    if cell.chaos != "none" and "all" not in allowed and cell.chaos not in allowed:
        return f"scenario {cell.scenario!r} does not allow chaos profile {cell.chaos!r} (allowed: {', '.join(allowed) or 'none'})"
    able = adapters[cell.framework].capabilities()
    if cell.mode not in able.modes:
        if cell.mode == "live" and not able.install_hint:
            return f"the adapter of {cell.framework} only replays; use --execgo-mode replay"
        if cell.mode == "live" and able.native_version is None:
            return f"{cell.framework} is not installed, so that it can't plan live: {able.install_hint}"
        return f"{cell.mode} planning is nothing that {cell.framework} can do here; use --execgo-mode {able.modes[0]}"
    return unusable(profile(cell.chaos), actions, surroundings(scenario, backend, cell.mode, provider))


def describe(matrix: Sequence[PlannedCell]) -> list[str]:
    """Return one line a cell: its id, its selector, and whether it would run, with which plan; then a count."""
    lines = [f"{planned.cell.cell_id}  {selector(planned.cell):<50}  {_fate(planned)}" for planned in matrix]
    excluded = sum(planned.excluded is not None for planned in matrix)
    return [*lines, f"{counted(len(matrix), 'cell')}: {len(matrix) - excluded} would run, {excluded} excluded"]


def _fate(planned: PlannedCell) -> str:
    if planned.excluded:
        return f"excluded: {planned.excluded}"
    return "runs  (reference plan)" if planned.source == "reference" else "runs"
