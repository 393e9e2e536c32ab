"""A sweep: the matrix of one command, the stack it runs on, the summary it leaves."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.benchmark.metrics import measure
from pytest_execgo.chaos.catalogue import merge_actions
from pytest_execgo.chaos.loader import discover_profiles, load_profile
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.adapter import Adapter
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.result import BenchmarkResult
from pytest_execgo.plan.verdict import Verifier
from pytest_execgo.reporting.markdown import run_summary
from pytest_execgo.runner.checkpoints.run_state import InterruptedRun
from pytest_execgo.runner.parts import RunParts
from pytest_execgo.runner.run import run_cell
from pytest_execgo.scenarios.catalogue import Catalogue, discover
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.scenarios.recordings import plan_source, write_recording
from pytest_execgo.scenarios.verifiers import load_verifier
from pytest_execgo.wiring.live import LiveStack
from pytest_execgo.wiring.matrix import Axes, PlannedCell, exclusion, expand, needs_links, select, surroundings
from pytest_execgo.wiring.providers import check_provider
from pytest_execgo.wiring.resume import CannotGoOn, Resumption, abandon
from pytest_execgo.wiring.settings import MODES, Settings
from pytest_execgo.wiring.stacks import backend_problem
from pytest_execgo.wiring.sweep_file import begin_sweep, new_sweep_id, sweep_to_resume
from pytest_execgo.wiring.upkeep import StackUpkeep
from pytest_execgo.wiring.writable import artifacts_folder

if TYPE_CHECKING:
    from pytest_execgo.wiring.live_planning import LivePlanner


class Sweep:
    """One process's part in a sweep. The stack comes up with the first cell that is run, and goes down with `close`.

    `worker` names this process among those that share the sweep; each has a stack of its own. `owner` is the pid of the one
    that reports the sweep (None: this one).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sweep_id: str | None = None,
        worker: str = "main",
        frameworks: Mapping[str, Adapter] | None = None,
        verifiers: Mapping[str, Verifier] | None = None,
        actions: Iterable[object] = (),
        owner: int | None = None,
    ) -> None:
        self.settings = settings
        self.sweep_id = sweep_id or sweep_to_resume(settings) or new_sweep_id()
        self.worker = worker
        self.adapters = load_adapters(frameworks)
        self.actions = merge_actions(actions)
        self._verifiers = dict(verifiers or {})
        self.catalogue = Catalogue.with_builtin([settings.root / "scenarios"])
        self.own = tuple(discover([settings.root / "scenarios"]))
        self._profile_folders = [settings.root / "chaos", bundled("chaos")]
        self._loaded: dict[str, Scenario | UsageError] = {}
        self._profiles: dict[str, ChaosProfile] = {}
        self._judges: dict[str, Verifier] = {}
        self._stacks = StackUpkeep(settings, f"{self.sweep_id}-{worker}", lambda: self._linked)
        self._planner: LivePlanner | None = None
        self._owner = owner
        self.selected = 0  # how many tests of ours were collected, once that is known
        self.resumption = Resumption(settings.out, self.sweep_id, settings.backend) if settings.resume else None

    @cached_property
    def known(self) -> Axes:
        """Every name that each axis could take here."""
        return Axes(self.catalogue.ids, tuple(self.adapters), MODES, tuple(discover_profiles(self._profile_folders)))

    @cached_property
    def axes(self) -> Axes:
        """The axes as configured, expanded and checked. `all` scenarios are the project's own, if it has any."""
        s = self.settings
        every = self.own or self.known.scenarios
        scenarios = dict.fromkeys(part for name in s.scenarios for part in (every if name == "all" else (name,)))
        return Axes(
            expand("scenario", tuple(scenarios), self.known.scenarios),
            expand("framework", s.frameworks, self.known.frameworks),
            expand("mode", s.modes, self.known.modes),
            expand("chaos profile", s.chaos, self.known.chaos),
            s.repeat,
            s.seed,
        )

    @cached_property
    def _linked(self) -> bool:
        """Tell whether faults of cells that can run strike the network: the stack's traffic must then pass through links."""
        kinds = {(cell.scenario, cell.mode, cell.chaos): cell for cell in self.cells}
        return any(self._needs_links(cell) for cell in kinds.values() if self.usable(cell.scenario))

    def _needs_links(self, cell: Cell) -> bool:
        s = self.settings
        around = surroundings(self.scenario(cell.scenario), s.backend, cell.mode, s.provider)
        return needs_links(self.profile(cell.chaos), self.actions, around)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell of the sweep."""
        return select(self.settings, self.axes, self.known)

    def planned(self, cell: Cell) -> PlannedCell:
        """Tell whether one cell can be run."""
        scenario, backend = self.scenario(cell.scenario), self.settings.backend
        provider, actions = self.settings.provider, self.actions
        reason = self._backend_problem or exclusion(
            cell, scenario, self.adapters, self.profile, backend=backend, provider=provider, actions=actions
        )
        return PlannedCell(cell, reason, plan_source(scenario, cell.framework, cell.mode))

    def scenario_at(self, file: Path) -> str | None:
        """Return the id of the scenario that a file describes; None if it describes none of ours."""
        return next((name for name, path in self.catalogue.files.items() if path == file), None)

    def scenario(self, scenario_id: str) -> Scenario:
        """Load a scenario, once; one that can't be loaded is a `UsageError` whenever it is asked for."""
        if scenario_id not in self._loaded:
            try:
                self._loaded[scenario_id] = self.catalogue.load(scenario_id, chaos=self.known.chaos)
            except UsageError as error:
                self._loaded[scenario_id] = error
        found = self._loaded[scenario_id]
        if isinstance(found, UsageError):
            raise found.with_traceback(None)
        return found

    def usable(self, scenario_id: str) -> bool:
        """Tell whether a scenario can be loaded."""
        try:
            self.scenario(scenario_id)
        except UsageError:
            return False
        return True

    def profile(self, profile_id: str) -> ChaosProfile:
        """Load a chaos profile, once."""
        if profile_id not in self._profiles:
            self._profiles[profile_id] = load_profile(profile_id, self._profile_folders, self.actions)
        return self._profiles[profile_id]

    def check_means(self) -> None:
        """Raise `UsageError` when live cells are asked for, and no model that could plan them; or a backend that can't be had."""
        if any(cell.mode == "live" for cell in self.cells):
            check_provider(self.settings, os.environ)
        if self.settings.backend_named and self._backend_problem is not None:
            raise UsageError("backend_missing", f"backend {self.settings.backend!r} can't be had here: {self._backend_problem}")

    @cached_property
    def _backend_problem(self) -> str | None:
        return backend_problem(self.settings)

    def check(self) -> None:
        """Load every scenario, verifier and profile of the sweep; `UsageError` with all that is wrong with any of them."""
        self.check_means()
        scenarios = dict.fromkeys(cell.scenario for cell in self.cells)
        _raise_together([*(partial(self._check_scenario, name) for name in scenarios), self.check_profiles])

    def check_profiles(self) -> None:
        """Load every chaos profile of the sweep; `UsageError` with all that is wrong with any of them."""
        _raise_together(partial(self.profile, name) for name in dict.fromkeys(cell.chaos for cell in self.cells))

    def _check_scenario(self, scenario_id: str) -> None:
        self.verifier(self.scenario(scenario_id))

    def verifier(self, scenario: Scenario) -> Verifier:
        """Load a scenario's verifier, once."""
        if scenario.spec.id not in self._judges:
            self._judges[scenario.spec.id] = load_verifier(scenario, self._verifiers)
        return self._judges[scenario.spec.id]

    def live(self) -> LiveStack:
        """Return the stack, brought up if it isn't; see `StackUpkeep.live`."""
        return self._stacks.live()

    def begin(self) -> None:
        """Write down that the sweep began, or goes on; every process of it may do so."""
        if not self.settings.out.exists():
            artifacts_folder(self.settings)
        begin_sweep(self.settings.out, self.sweep_id, self.settings.backend, self.cells, self._owner, self.selected)

    def run(self, cell: Cell) -> BenchmarkResult:
        """Run one cell; see `run_cell` for what is raised and what is an outcome.

        In a sweep that goes on, a cell that was run to its end keeps its result, and a run that was cut short goes on; one that
        can't is abandoned, and its cell run anew.
        """
        self._check_scenario(cell.scenario)  # before anything is started for it
        cut = None
        if self.resumption is not None:
            known = self.resumption.result(cell)
            if known is not None:
                return known
            cut = self.resumption.take_over(cell)
        self.begin()
        try:
            if cell.mode == "live":
                self._live_planner().warm_up(cell.framework)
            return self._run(cell, self.live()) if cut is None else self.go_on(cell, cut)
        except CannotGoOn as error:
            abandon(error)
            return self._run(cell, self.live())

    def go_on(self, cell: Cell, run: InterruptedRun) -> BenchmarkResult:
        """Go on with a run that was cut short, on a stack like the one that it had; `CannotGoOn` when there can't be one."""
        try:
            live = self._stacks.over(run.stack_folder)
        except ExecGoError as error:
            raise CannotGoOn(run.path, error) from error
        return self._run(cell, live, run)

    def _run(self, cell: Cell, live: LiveStack, cut: InterruptedRun | None = None) -> BenchmarkResult:
        try:
            return run_cell(cell, self._parts(cell, live), cut)
        except BaseException:
            live.busy = True  # broken off at any point: a fault, or its undoing, may be half done
            raise

    def _parts(self, cell: Cell, live: LiveStack) -> RunParts:
        scenario = self.scenario(cell.scenario)
        profile = self.profile(cell.chaos)
        linked = live.links is not None and self._needs_links(cell)
        return RunParts(
            sweep_id=self.sweep_id,
            out=self.settings.out,
            stack=live.stack,
            endpoints=live.linked_endpoints if linked else live.endpoints,
            client=live.linked if linked else live.client,
            direct=live.direct,
            fixtures=live.fixtures,
            adapter=self.adapters[cell.framework],
            scenario=scenario,
            verifier=self.verifier(scenario),
            measure=measure,
            summarise=run_summary,
            abandon=live.abandon,
            shared=self.settings.backend == "external",
            local=self.settings.backend != "external",
            profile=profile,
            actions=self.actions,
            links=live.links if live.links is not None else {},
            journal=live.journal,
            worker=self.worker,
            stack_folder=live.folder,
            way=partial(self._live_planner().way, fixtures_url=live.endpoints.fixtures) if cell.mode == "live" else None,
            keep=partial(write_recording, scenario) if self.settings.record and not profile.faults else None,
            versions=self.versions(cell),
            sandbox=live.sandbox(scenario.spec.sandbox) if scenario.spec.sandbox else None,
        )

    def versions(self, cell: Cell) -> dict[str, str]:
        """Return what ran: this project, Python, and the framework if it is installed."""
        versions = {"pytest-execgo": metadata.version("pytest-execgo"), "python": platform.python_version()}
        native = self.adapters[cell.framework].capabilities().native_version
        return versions | ({cell.framework: native} if native else {})

    def _live_planner(self) -> LivePlanner:
        if self._planner is None:
            from pytest_execgo.wiring.live_planning import LivePlanner  # deferred: replay asks no model

            self._planner = LivePlanner(self.settings)
        return self._planner

    def close(self) -> None:
        """Take the stack down, and end what frameworks plan in."""
        try:
            self._stacks.close()
        finally:
            if self._planner is not None:
                self._planner.close()
                self._planner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _raise_together(checks: Iterable[Callable[[], object]]) -> None:
    """Make every check; one `UsageError` says what they all found."""
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("sweep_unusable", "\n".join(problems))
