"""Every mode of sandbox that the one suite is run against, a line of `MODES` each; what can't be had here is skipped."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, Confinement, SandboxMode
from pytest_execgo.sandbox.docker import DockerConfinement
from pytest_execgo.sandbox.native import NativeConfinement
from pytest_execgo.sandbox.wasm import WasmConfinement

ROOT = Path(__file__).parents[3]
NOBODY = 65534
USER = 20_000 + os.getpid() % 40_000  # whose processes are counted together: one of this process's alone
MIB = 1 << 20


@dataclass(frozen=True)
class Mode:
    """A mode under test: its confinement, the command line that runs `main.py` in it, and what else its commands need.

    `cannot` names what it does not claim to do, test by test; each such test is skipped with the text as reason.
    """

    make: Callable[[pytest.FixtureRequest], Confinement]
    python: tuple[str, ...] = ("python3", "main.py")
    command: dict[str, Any] = field(default_factory=dict)
    cannot: dict[str, str] = field(default_factory=dict)
    of_the_host: bool = True
    """Whether what it shows of the system is this machine's."""
    required: str = ""
    """The variable that makes its absence a failure when it says `required`."""


class OtherUser:
    """Mode native as another, ordinary user has it: in a process of that user, without control groups."""

    mode: SandboxMode = "native"

    def __init__(self, rung: Rung) -> None:
        self._rung = rung
        self._python = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or "python3"

    def problem(self) -> str | None:
        if os.geteuid() != 0:
            return "only root can be another user"
        return str(self._ask("problem")) if self._ask("problem") else None

    def run(self, command: ConfinedCommand) -> ConfinedEnd:
        end = self._ask("run", command)
        assert isinstance(end, ConfinedEnd)
        return end

    def cleanup(self) -> None:
        self._ask("cleanup")

    def _ask(self, *what: Any) -> Any:
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", self._python, "-B", "-c", _ASKED]
        # its parent's canary must be in its environment, too
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent"}
        done = subprocess.run(
            words, input=pickle.dumps((str(self._rung), *what)), capture_output=True, env=env, cwd="/", check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr.decode()
        answer = pickle.loads(done.stdout)
        if isinstance(answer, BaseException):
            raise answer
        return answer


_ASKED = """
import pickle, sys
from pytest_execgo.core.containment.ladder import Rung
from pytest_execgo.sandbox.native import NativeConfinement
rung, method, *given = pickle.load(sys.stdin.buffer)
try:
    answer = getattr(NativeConfinement(enabled=True, rungs=(Rung(rung),)), method)(*given)
except Exception as error:
    answer = error
sys.stdout.buffer.write(pickle.dumps(answer))
"""


def _native(rung: Rung, groups: bool = True) -> Callable[[pytest.FixtureRequest], Confinement]:
    return lambda request: NativeConfinement(enabled=True, rungs=(rung,), groups=groups)


_ELSEWHERE = "Landlock shows folders where they are"
_ONE_BY_ONE = "without control groups memory is bounded for each process by itself"
_ROOTS = "Landlock can't show root's folders as another user's"
_HOSTS = "Landlock has no network of its own in which only some hosts are"


def _docker(request: pytest.FixtureRequest) -> Confinement:
    return DockerConfinement(request.getfixturevalue("base_image"))


def _wasm(request: pytest.FixtureRequest) -> Confinement:
    interpreter = os.environ.get("EXECGO_TEST_WASM_PYTHON")
    if not interpreter:
        pytest.skip("EXECGO_TEST_WASM_PYTHON names no Python that is a WASI module (docs/sandbox.md says where to get one)")
    return WasmConfinement({"python": Path(interpreter)})


_NATIVE = "EXECGO_TEST_SANDBOX"
_AS_USER = _NATIVE if os.geteuid() == 0 else ""
_NO_PROCESSES = "a module of mode wasm has no processes and no signals"
_NOT_THERE = "the Python of mode wasm has no such module"

MODES: dict[str, Mode] = {
    "bubblewrap": Mode(_native(Rung.BUBBLEWRAP), required=_NATIVE),
    "namespace": Mode(_native(Rung.NAMESPACE), required=_NATIVE),
    "landlock": Mode(
        _native(Rung.LANDLOCK),
        cannot={
            "mount_elsewhere": _ELSEWHERE,
            "hosts": _HOSTS,
            "mount": _ROOTS,
            "mount_for_writing": _ROOTS,
            "mounted_disk": _ROOTS,
        },
        required=_NATIVE,
    ),
    "bubblewrap-rlimits": Mode(_native(Rung.BUBBLEWRAP, groups=False), cannot={"memory_together": _ONE_BY_ONE}, required=_NATIVE),
    "bubblewrap-user": Mode(lambda _: OtherUser(Rung.BUBBLEWRAP), cannot={"memory_together": _ONE_BY_ONE}, required=_AS_USER),
    "namespace-user": Mode(lambda _: OtherUser(Rung.NAMESPACE), cannot={"memory_together": _ONE_BY_ONE}, required=_AS_USER),
    "landlock-user": Mode(
        lambda _: OtherUser(Rung.LANDLOCK),
        cannot={"memory_together": _ONE_BY_ONE, "mount_elsewhere": _ELSEWHERE, "hosts": _HOSTS},
        required=_AS_USER,
    ),
    "docker": Mode(_docker, of_the_host=False, cannot={"unix_pairs_alone": "system calls are held by the engine's own filter"}),
    "wasm": Mode(
        _wasm,
        python=("python", "main.py"),
        of_the_host=False,
        cannot={
            **dict.fromkeys(("signal", "processes", "memory_together"), _NO_PROCESSES),
            **dict.fromkeys(("memory_shared", "memory_memfd"), _NOT_THERE),
            **dict.fromkeys(("hosts", "any_network", "unix_pairs_alone"), "mode wasm has no network"),
        },
    ),
}


@dataclass
class Box:
    """A mode, ready to run pieces of Python."""

    name: str
    mode: Mode
    confinement: Confinement
    folder: Path

    def needs(self, what: str) -> None:
        """Skip the test where the mode does not claim to do this."""
        if what in self.mode.cannot:
            pytest.skip(self.mode.cannot[what])

    def command(self, code: str, *arguments: object, files: dict[str, str] | None = None, **changes: Any) -> ConfinedCommand:
        """Return a command that runs `code`; `changes` are fields of it."""
        work = Path(tempfile.mkdtemp(dir=self.folder))
        work.chmod(0o755)
        for name, text in {"main.py": code, **(files or {})}.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        command = ConfinedCommand(
            argv=(*self.mode.python, *map(str, arguments)),
            cwd="/work",
            timeout=120,
            memory_bytes=256 * MIB,
            cpu_cores=2,
            disk_bytes=32 * MIB,
            processes=32,
            output_bytes=MIB,
            work=work,
            env={"TMPDIR": "/tmp", "HOME": "/tmp"},
        )
        return replace(command, **{**self.mode.command, **changes})

    def run(self, code: str, *arguments: object, files: dict[str, str] | None = None, **changes: Any) -> ConfinedEnd:
        """Run `code` to its end."""
        return self.confinement.run(self.command(code, *arguments, files=files, **changes))

    def shared(self, name: str) -> Path:
        """Make a folder that can be mounted: the caller's own, where the mode's caller isn't this process."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        self.own(folder)
        if self.name == "docker" and os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        return folder

    def own(self, *paths: Path) -> None:
        """Make files the caller's own."""
        if isinstance(self.confinement, OtherUser):
            for path in paths:
                os.chown(path, USER, USER)

    def target(self, folder: Path, name: str) -> str:
        """Return where a folder is to be mounted: elsewhere, if the mode can do that."""
        return str(folder) if "mount_elsewhere" in self.mode.cannot else f"/{name}"


_made: dict[str, tuple[Confinement, str | None]] = {}


@pytest.fixture(params=MODES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Each mode that can be had here."""
    mode = MODES[request.param]
    if request.param not in _made:
        confinement = mode.make(request)
        _made[request.param] = (confinement, confinement.problem())
    confinement, problem = _made[request.param]
    if problem is not None:
        if mode.required and os.environ.get(mode.required) == "required":
            pytest.fail(problem)
        pytest.skip(problem)
    with tempfile.TemporaryDirectory(prefix="contract-sandbox-") as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        yield Box(request.param, mode, confinement, Path(folder))


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    yield
    for confinement, problem in _made.values():
        if problem is None:
            confinement.cleanup()
    _made.clear()
