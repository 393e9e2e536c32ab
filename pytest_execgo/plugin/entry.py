"""What pytest loads: options, fixtures, thin hooks. All else is imported when it is needed."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.wiring.options import OPTIONS, asked_for

if TYPE_CHECKING:
    from pytest_execgo.client.kernel import KernelClient
    from pytest_execgo.plan.cell import Cell
    from pytest_execgo.plan.result import BenchmarkResult
    from pytest_execgo.plan.stack import Stack
    from pytest_execgo.plugin.session import ExecGoSession

AXIS_FIXTURES = ("execgo_scenario", "execgo_framework", "execgo_mode", "execgo_chaos")


class Door:
    """Registered in every run. Opens our session when the run turns out to be ours: until then, nothing is imported."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: ExecGoSession | None = None
        self.opened_ns = time.time_ns()
        self.matrix = False
        self._sweep_id: str | None = getattr(config, "workerinput", {}).get("execgo_sweep_id")

    @property
    def sweep_id(self) -> str:
        """The sweep of this run: the controller's, the one that it goes on with, or a new one."""
        if self._sweep_id is None and (self._config.getoption("execgo_resume") or os.environ.get("PYTEST_EXECGO_RESUME")):
            from pytest_execgo.plugin.configuration import resumed_sweep

            self._sweep_id = resumed_sweep(self._config)
        if self._sweep_id is None:
            self._sweep_id = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
        return self._sweep_id

    @property
    def session(self) -> ExecGoSession:
        """This run's session, made and registered on first use."""
        if self._session is None:
            from pytest_execgo.plugin.parts import parts
            from pytest_execgo.plugin.session import ExecGoSession

            self._session = ExecGoSession.create(self._config, self.sweep_id, self.opened_ns)
            self._config.pluginmanager.register(self._session, "execgo-session")
            for name, part in parts(self._session):
                self._config.pluginmanager.register(part, name)
        return self._session

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the sweep's clock where pytest starts its own: both tell of the same span."""
        self.opened_ns = time.time_ns()
        if self._session is not None:
            self._session.opened_ns = self.opened_ns

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Open when a worker's report is of ours: under xdist, the controller collects nothing itself."""
        if self._session is None and any(name.startswith("execgo.") for name, _ in report.user_properties):
            self.session.recorder.take(report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what is missing when scenarios were named, but nobody asked for the matrix: nothing of them was collected."""
        if not self.matrix and self._config.args_source is pytest.Config.ArgsSource.ARGS:
            here = self._config.invocation_params.dir
            named = [arg for arg in self._config.args if _holds_scenarios(here / arg.partition("::")[0])]
            if named:
                said = f"execgo: {named[0]} holds scenarios, which are collected with --execgo-matrix alone"
                terminalreporter.write_line(said, yellow=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give each xdist worker the sweep's identity, and say who reports it."""
        node.workerinput["execgo_sweep_id"] = self.sweep_id
        node.workerinput["execgo_controller"] = os.getpid()


def _holds_scenarios(place: Path) -> bool:
    """Tell whether a path is a scenario's file or folder, or a `scenarios` folder. Of other folders, only the names are read."""
    if not place.is_dir():
        found = [place] if place.stem == "scenario" else []
    else:
        found = [*place.glob("scenario.*"), *(place.glob("*/scenario.*") if place.name == "scenarios" else ())]
    if not found:
        return False
    from pytest_execgo.scenarios.catalogue import FILE_NAMES

    return any(file.name in FILE_NAMES for file in found)


DOOR: pytest.StashKey[Door] = pytest.StashKey()


def session_of(config: pytest.Config) -> ExecGoSession:
    """Return this run's session, made on first use."""
    return config.stash[DOOR].session


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare every option, on the command line and in ini files."""
    group = parser.getgroup("execgo", "execgo: scenarios as test cases")
    for option in OPTIONS:
        origin = f"; ini {option.dest}" if option.in_ini else ""
        text = f"{option.help} (default: {option.default or 'none'}{origin}; {option.variable})"
        if option.kind == "flag":
            group.addoption(f"--execgo-{option.name}", dest=option.dest, action="store_true", default=None, help=option.help)
        else:
            action = "append" if option.kind == "list" else "store"
            group.addoption(
                f"--execgo-{option.name}", dest=option.dest, action=action, default=None, metavar=option.metavar, help=text
            )
        if option.in_ini:
            parser.addini(option.dest, option.help, type="string", default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks by which others extend us."""
    from pytest_execgo.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; with the matrix, check the configuration and choose what is collected."""
    config.addinivalue_line(
        "markers", "execgo(scenarios, frameworks, modes, chaos): narrow the axes of a test that asks for execgo_cell or an axis"
    )
    config.stash[DOOR] = Door(config)
    config.pluginmanager.register(config.stash[DOOR], "execgo-door")
    if config.getini("execgo_matrix") or any(_asked_for(config, name) for name in ("matrix", "dry-run")):
        config.stash[DOOR].matrix = True
        session_of(config).enter_matrix()
    elif any(_asked_for(config, name) for name in ("gate", "baseline")):
        session_of(config)  # what can't be used is told before anything is collected


def _asked_for(config: pytest.Config, name: str) -> bool:
    return asked_for(name, {name: config.getoption(f"execgo_{name.replace('-', '_')}")})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise whatever asks for a cell, or for single axes."""
    if any(name in metafunc.fixturenames for name in ("execgo_cell", *AXIS_FIXTURES)):
        from pytest_execgo.plugin.axes import generate

        generate(session_of(metafunc.config), metafunc)


@pytest.fixture
def execgo_cell(request: pytest.FixtureRequest) -> Cell:
    """One cell of the matrix; that of a scenario that can't be loaded ends here, as an error of the test's set-up."""
    cell: Cell = request.param
    session_of(request.config).sweep.scenario(cell.scenario)
    return cell


def _axis(request: pytest.FixtureRequest, name: str) -> str:
    value = request.param if hasattr(request, "param") else getattr(request.getfixturevalue("execgo_cell"), name)
    return str(value)


@pytest.fixture
def execgo_scenario(request: pytest.FixtureRequest) -> str:
    """Name of the scenario."""
    return _axis(request, "scenario")


@pytest.fixture
def execgo_framework(request: pytest.FixtureRequest) -> str:
    """Name of the framework."""
    return _axis(request, "framework")


@pytest.fixture
def execgo_mode(request: pytest.FixtureRequest) -> str:
    """Either `replay` or `live`."""
    return _axis(request, "mode")


@pytest.fixture
def execgo_chaos(request: pytest.FixtureRequest) -> str:
    """Name of the chaos profile."""
    return _axis(request, "chaos")


@pytest.fixture
def execgo_run(request: pytest.FixtureRequest, execgo_cell: Cell) -> BenchmarkResult:
    """Run the cell and give its result. What we or the machine could not do is raised here, as an error of the test's set-up."""
    return session_of(request.config).run(request.node, execgo_cell)


@pytest.fixture(scope="session")
def execgo_stack(request: pytest.FixtureRequest) -> Stack:
    """Give the live stack of this process."""
    return session_of(request.config).live_stack()


@pytest.fixture
def execgo_client(request: pytest.FixtureRequest, execgo_stack: Stack) -> KernelClient:
    """Give a client of the live kernel."""
    return session_of(request.config).client()
