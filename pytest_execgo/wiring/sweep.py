"""A sweep: the matrix of one command, the stack it runs on, the summary it leaves."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_execgo.adapters.catalogue import load_adapters
from pytest_execgo.benchmark.metrics import measure
from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.chaos.loader import discover_profiles, load_profile
from pytest_execgo.client.fixtures import FixturesClient
from pytest_execgo.client.kernel import KernelClient
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import ExecGoError, StackError, UsageError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.jsonio import dumps
from pytest_execgo.observability.clock import rfc3339
from pytest_execgo.plan.adapter import Adapter
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.stack import Capability, Endpoints, Stack
from pytest_execgo.plan.verdict import Verifier
from pytest_execgo.reporting.markdown import run_summary, sweep_summary
from pytest_execgo.runner.run import RunParts, run_cell
from pytest_execgo.scenarios.catalogue import Catalogue, discover
from pytest_execgo.scenarios.model import Scenario
from pytest_execgo.scenarios.verifiers import load_verifier
from pytest_execgo.wiring.matrix import Axes, PlannedCell, exclusion, expand, select
from pytest_execgo.wiring.settings import MODES, Settings
from pytest_execgo.wiring.stacks import make_stack


def new_sweep_id() -> str:
    """Return a fresh sweep id."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"


class Sweep:
    """One process's part in a sweep. The stack comes up with the first cell that is run, and goes down with `close`.

    `worker` names this process among those that share the sweep; each has a stack of its own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sweep_id: str | None = None,
        worker: str = "main",
        frameworks: Mapping[str, Adapter] | None = None,
        verifiers: Mapping[str, Verifier] | None = None,
    ) -> None:
        self.settings = settings
        self.sweep_id = sweep_id or new_sweep_id()
        self.worker = worker
        self.adapters = load_adapters(frameworks)
        self._verifiers = dict(verifiers or {})
        self.catalogue = Catalogue.with_builtin([settings.root / "scenarios"])
        self.own = tuple(discover([settings.root / "scenarios"]))
        self._profile_folders = [settings.root / "chaos", bundled("chaos")]
        self._loaded: dict[str, Scenario] = {}
        self._judges: dict[str, Verifier] = {}
        self._up: _LiveStack | None = None
        self._start_error: ExecGoError | None = None
        self._starts = 0

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
    def cells(self) -> list[Cell]:
        """Every cell of the sweep."""
        return select(self.settings, self.axes, self.known)

    def planned(self, cell: Cell) -> PlannedCell:
        """Tell whether one cell can be run."""
        return PlannedCell(cell, exclusion(cell, self.scenario(cell.scenario), self.adapters, self.profile))

    def scenario_at(self, file: Path) -> str | None:
        """Return the id of the scenario that a file describes; None if it describes none of ours."""
        return next((name for name, path in self.catalogue.files.items() if path == file), None)

    def scenario(self, scenario_id: str) -> Scenario:
        """Load a scenario, once."""
        if scenario_id not in self._loaded:
            self._loaded[scenario_id] = self.catalogue.load(scenario_id)
        return self._loaded[scenario_id]

    def profile(self, profile_id: str) -> ChaosProfile:
        """Load a chaos profile."""
        return load_profile(profile_id, self._profile_folders)

    def check(self) -> None:
        """Load every scenario, verifier and profile of the sweep; `UsageError` with all that is wrong with any of them."""
        problems: list[str] = []
        for scenario_id in dict.fromkeys(cell.scenario for cell in self.cells):
            try:
                self.verifier(self.scenario(scenario_id))
            except UsageError as error:
                problems.append(str(error))
        for profile_id in dict.fromkeys(cell.chaos for cell in self.cells):
            try:
                self.profile(profile_id)
            except UsageError as error:
                problems.append(str(error))
        if problems:
            raise UsageError("sweep_unusable", "\n".join(problems))

    def verifier(self, scenario: Scenario) -> Verifier:
        """Load a scenario's verifier, once."""
        if scenario.spec.id not in self._judges:
            self._judges[scenario.spec.id] = load_verifier(scenario, self._verifiers)
        return self._judges[scenario.spec.id]

    def live(self) -> _LiveStack:
        """Bring the stack up if it isn't, and a service that died back, if the backend can.

        A stack that can't be revived, or may still be running what a run left behind, is replaced by a new one. One that
        does not even start is not tried again for the next cell.
        """
        if self._start_error is not None:
            raise self._start_error
        if self._up is not None and not self._usable(self._up):
            with suppress(StackError):
                self._up.down()
            self._up = None
        if self._up is None:
            self._up = self._start()
        return self._up

    def _usable(self, live: _LiveStack) -> bool:
        """Bring back what died; tell whether the stack can serve the next cell."""
        if live.busy and self.settings.backend != "external":
            return False
        try:
            live.revive()
        except StackError:
            return False
        return True

    def _start(self) -> _LiveStack:
        self._starts += 1
        name = f"{self.sweep_id}-{self.worker}" + (f"-{self._starts}" if self._starts > 1 else "")
        folder = self.settings.out / "stacks" / name
        writable(folder)
        try:
            return _LiveStack(make_stack(self.settings, folder), folder)
        except ExecGoError as error:
            self._start_error = error
            raise

    def run(self, cell: Cell) -> BenchmarkResult:
        """Run one cell; see `run_cell` for what is raised and what is an outcome."""
        scenario = self.scenario(cell.scenario)
        verifier = self.verifier(scenario)
        live = self.live()
        parts = RunParts(
            sweep_id=self.sweep_id,
            out=self.settings.out,
            stack=live.stack,
            endpoints=live.endpoints,
            client=live.client,
            fixtures=live.fixtures,
            adapter=self.adapters[cell.framework],
            scenario=scenario,
            verifier=verifier,
            measure=measure,
            summarise=run_summary,
            abandon=live.abandon,
            shared=self.settings.backend == "external",
            versions=self.versions(cell),
        )
        return run_cell(cell, parts)

    def versions(self, cell: Cell) -> dict[str, str]:
        """Return what ran: this project, Python, and the framework if it is installed."""
        versions = {"pytest-execgo": metadata.version("pytest-execgo"), "python": platform.python_version()}
        native = self.adapters[cell.framework].capabilities().native_version
        return versions | ({cell.framework: native} if native else {})

    def close(self) -> None:
        """Take the stack down."""
        if self._up is not None:
            self._up.down()
            self._up = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _LiveStack:
    """A stack that is up, and the clients that speak to it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.busy = False
        started = time.monotonic()
        self.endpoints: Endpoints = stack.up()
        self.start_ms = (time.monotonic() - started) * 1000
        write_atomic(folder / "start.json", dumps({"backend": stack.backend, "start_ms": round(self.start_ms, 3)}) + "\n")
        self.client = KernelClient(self.endpoints.kernel, self.endpoints.token)
        self.fixtures = FixturesClient(self.endpoints.fixtures)

    def abandon(self, wire_ids: Sequence[str]) -> None:
        """Take note that tasks of a run that gave up may still be running."""
        self.busy = bool(wire_ids)

    def revive(self) -> None:
        """Restart what is not running, so that one cell's loss is not the next one's."""
        if Capability.RESTART in self.stack.capabilities:
            for row in self.stack.status():
                if not row.running:
                    self.stack.restart(row.service)

    def down(self) -> None:
        """Close the clients and take the stack down."""
        self.client.close()
        self.fixtures.close()
        self.stack.down()


def writable(folder: Path) -> None:
    """Make sure that a folder exists and can be written to; `UsageError` if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            "artifacts_folder_unusable",
            f"can't write to {folder}: {error.strerror or error}",
            "point --execgo-out at a folder that you may write to",
        ) from error


def write_summary(
    settings: Settings,
    sweep_id: str,
    results: Iterable[BenchmarkResult],
    *,
    started_ns: int,
    finished_ns: int,
    planned: int | None = None,
) -> BenchmarkSummary:
    """Aggregate a sweep and write `benchmark-summary.json` and `.md`, for this sweep and as the latest one."""
    summary = summarise(
        results,
        sweep_id=sweep_id,
        started_at=rfc3339(started_ns),
        finished_at=rfc3339(finished_ns),
        wall_time_ms=(finished_ns - started_ns) / 1e6,
        planned=planned,
    )
    document = dumps(summary.model_dump(mode="json"), indent=2) + "\n"
    page = sweep_summary(summary)
    for folder in (settings.out / "sweeps" / sweep_id, settings.out):
        write_atomic(folder / "benchmark-summary.json", document)
        write_atomic(folder / "benchmark-summary.md", page)
    return summary
