"""Which sweep goes on, which of its cells are done, which of its runs can go on, and whose they are then."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.errors import StackError, UsageError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.observability.artifacts import RunFolder, read_run_file, replace_run_file, write_run_file
from pytest_execgo.plan.cell import Cell, CellRecord
from pytest_execgo.plan.result import ArtifactManifest, BenchmarkResult
from pytest_execgo.plan.verdict import Outcome
from pytest_execgo.runner.checkpoints.run_state import InterruptedRun, RunState, RunStore
from pytest_execgo.wiring.options import effective
from pytest_execgo.wiring.resume import (
    CannotGoOn,
    Resumption,
    abandon,
    can_go_on,
    runs_in,
    settled,
    stored_result,
    take_over,
)
from pytest_execgo.wiring.settings import Settings
from pytest_execgo.wiring.sweep import Sweep
from pytest_execgo.wiring.sweep_file import (
    begin_sweep,
    cells_digest,
    finish_sweep,
    read_sweep_file,
    sweep_to_resume,
    unfinished_sweep,
)
from pytest_execgo.wiring.upkeep import StackUpkeep

CELL = Cell("demo", "crewai", "replay", "none")
OTHER = Cell("demo", "langgraph", "replay", "none")
PLAN = {"stages": [{"stage_id": "one"}, {"stage_id": "two"}]}
ME = ProcessIdentity.of(os.getpid())
DEAD = ME.model_copy(update={"boot_id": "another boot"})


class Folder:
    """A folder of runs, with what sweeps leave there."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def sweep(self, sweep_id: str = "sweep-1", *, owner: ProcessIdentity = DEAD) -> None:
        begin_sweep(self.out, sweep_id, "embedded", [CELL, OTHER])
        path = self.out / "sweeps" / sweep_id / "sweep.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "owner": owner.model_dump()}))

    def run(self, name: str, cell: Cell = CELL, *, sweep_id: str = "sweep-1", owner: ProcessIdentity = DEAD) -> Path:
        folder = RunFolder(self.out, name)
        write_run_file(folder, cell, sweep_id, "main", self.out / "stacks" / "old")
        record = read_run_file(folder.path)
        assert record is not None
        replace_run_file(folder.path, record.model_copy(update={"owner": owner}))
        return folder.path

    def result(
        self, name: str, cell: Cell = CELL, *, outcome: Outcome = "passed", error: str | None = None, backend: str = "embedded"
    ) -> BenchmarkResult:
        result = BenchmarkResult(
            run_id=name,
            sweep_id="sweep-1",
            cell_id=cell.cell_id,
            scenario_id=cell.scenario,
            framework=cell.framework,
            mode=cell.mode,
            chaos_profile=cell.chaos,
            repetition=cell.repetition,
            seed=1,
            outcome=outcome,
            error=error,
            artifacts=ArtifactManifest(run_dir=str(self.out / name)),
            started_at="2025-03-01T12:00:00Z",
            finished_at="2025-03-01T12:00:00Z",
            backend=backend,
        )
        (self.out / name / "result.json").write_text(json.dumps(result.model_dump(mode="json")))
        return result

    def checkpoints(self, name: str, *finished: int) -> None:
        with RunStore(self.out / name) as store:
            for index in finished:
                store.save(state(name, index), node_id=None, step=index)


def state(name: str, finished: int) -> RunState:
    return RunState(run_id=name, sweep_id="sweep-1", cell=CellRecord.of(CELL), seed=1, plan=PLAN, stage_index=finished)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "runs")


def settings(folder: Folder, *, resume: bool = True) -> Settings:
    values = {"out": str(folder.out), "scenario": "long_chain_dag", "framework": "crewai,langgraph", "resume": resume}
    return Settings.parse(effective(values, {}, {}), folder.out.parent)


# -- which sweep -----------------------------------------------------------------------------------------------------------


def test_a_sweep_that_begins_says_what_it_is_and_who_is_at_it(folder: Folder) -> None:
    begin_sweep(folder.out, "sweep-1", "native", [CELL, OTHER])
    sweep = read_sweep_file(folder.out / "sweeps/sweep-1")
    assert sweep is not None
    assert (sweep.sweep_id, sweep.backend, sweep.cells, sweep.finished_at) == ("sweep-1", "native", 2, None)
    assert sweep.digest == cells_digest([OTHER, CELL])
    assert sweep.digest != cells_digest([CELL])
    assert sweep.owner == ME
    begin_sweep(folder.out, "sweep-1", "native", [CELL])
    assert read_sweep_file(folder.out / "sweeps/sweep-1") == sweep, "its other processes change nothing"


def test_the_latest_sweep_that_was_cut_short_is_the_one_to_go_on_with(folder: Folder) -> None:
    assert unfinished_sweep(folder.out) is None
    for number in (1, 2, 3, 4):
        folder.sweep(f"sweep-{number}")
    folder.sweep("sweep-5", owner=ProcessIdentity.of(os.getppid()))  # somebody is at it
    assert finish_sweep(folder.out, "sweep-4", 0)
    (folder.out / "sweeps/sweep-9").mkdir()  # of an earlier version: nothing is known of it
    found = unfinished_sweep(folder.out)
    assert found is not None
    assert found.sweep_id == "sweep-3"
    assert sweep_to_resume(settings(folder)) == "sweep-3"
    assert sweep_to_resume(settings(folder, resume=False)) is None


def test_a_sweep_that_somebody_is_at_is_not_taken_for_nothing(folder: Folder) -> None:
    folder.sweep("sweep-5", owner=ProcessIdentity.of(os.getppid()))
    with pytest.raises(UsageError, match=rf"process {os.getppid()} is at sweep sweep-5"):
        unfinished_sweep(folder.out)


def test_a_sweep_that_goes_on_keeps_its_beginning_and_changes_hands(folder: Folder) -> None:
    folder.sweep()
    before = read_sweep_file(folder.out / "sweeps/sweep-1")
    begin_sweep(folder.out, "sweep-1", "embedded", [CELL])
    after = read_sweep_file(folder.out / "sweeps/sweep-1")
    assert before is not None
    assert after is not None
    assert (after.started_at, after.owner, after.cells) == (before.started_at, ME, 1)


def test_two_are_never_at_one_sweep(folder: Folder) -> None:
    folder.sweep(owner=ProcessIdentity.of(os.getppid()))
    with pytest.raises(UsageError, match=rf"process {os.getppid()} is at sweep sweep-1"):
        begin_sweep(folder.out, "sweep-1", "embedded", [CELL])


def test_a_sweep_of_which_nothing_was_run_has_no_end_either(folder: Folder) -> None:
    assert finish_sweep(folder.out, "sweep-1", 0)
    assert not folder.out.exists()


def test_a_sweep_is_over_when_all_that_its_widest_command_had_to_run_is(folder: Folder) -> None:
    begin_sweep(folder.out, "sweep-1", "embedded", [CELL, OTHER], selected=2)
    file = folder.out / "sweeps/sweep-1/sweep.json"
    file.write_text(file.read_text().replace(f'"pid": {ME.pid}', '"pid": 4194999'))
    begin_sweep(folder.out, "sweep-1", "embedded", [CELL], selected=1)
    assert not finish_sweep(folder.out, "sweep-1", 1)
    assert unfinished_sweep(folder.out) is not None
    assert finish_sweep(folder.out, "sweep-1", 2)
    assert unfinished_sweep(folder.out) is None


def test_the_latest_is_told_by_the_clock_not_by_the_name(folder: Folder) -> None:
    for name in ("sweep-b", "sweep-a"):
        folder.sweep(name)
    found = unfinished_sweep(folder.out)
    assert found is not None
    assert found.sweep_id == "sweep-a"


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 2}'])
def test_a_sweep_file_that_is_none_is_told_with_its_place(folder: Folder, text: str) -> None:
    folder.sweep()
    (folder.out / "sweeps/sweep-1/sweep.json").write_text(text)
    with pytest.raises(UsageError, match=r"sweep-1/sweep\.json"):
        unfinished_sweep(folder.out)


# -- what is left of it ----------------------------------------------------------------------------------------------------


def test_finished_cells_give_their_result_each_once(folder: Folder) -> None:
    folder.run("run-1")
    folder.run("run-2")
    folder.run("run-3", OTHER)
    results = [folder.result("run-1", outcome="failed"), folder.result("run-2", outcome="error", error="the kernel is gone")]
    left = Resumption(folder.out, "sweep-1", "embedded")
    assert [left.result(CELL), left.result(CELL), left.result(CELL)] == [*results, None]
    assert left.result(OTHER) is None


def test_results_are_found_where_they_are_now(folder: Folder) -> None:
    folder.run("run-1")
    folder.result("run-1")
    moved = folder.out.rename(folder.out.with_name("moved"))
    result = Resumption(moved, "sweep-1", "embedded").result(CELL)
    assert result is not None
    assert result.artifacts.run_dir == str(moved / "run-1")


def test_what_is_written_from_now_on_is_not_of_the_earlier_life(folder: Folder) -> None:
    left = Resumption(folder.out, "sweep-1", "embedded")
    folder.run("run-1")
    folder.result("run-1")
    assert left.result(CELL) is None


def test_results_of_another_sweep_or_backend_are_not_taken(folder: Folder) -> None:
    folder.run("run-1", sweep_id="sweep-2")
    folder.result("run-1")
    folder.run("run-2")
    folder.result("run-2", backend="external")
    left = Resumption(folder.out, "sweep-1", "embedded")
    assert (left.result(CELL), left.take_over(CELL)) == (None, None)


def test_what_nobody_asked_for_is_known(folder: Folder) -> None:
    for name, cell in (("run-1", CELL), ("run-2", OTHER), ("run-3", OTHER)):
        folder.run(name, cell)
        folder.result(name, cell)
    left = Resumption(folder.out, "sweep-1", "embedded")
    left.result(OTHER)
    assert [result.run_id for result in left.unasked([CELL, OTHER])] == ["run-1", "run-3"]
    assert [result.run_id for result in left.unasked([OTHER])] == ["run-3"]


def test_it_is_said_what_there_is_to_go_on_with(folder: Folder) -> None:
    assert Resumption(folder.out, "sweep-1", "embedded").describe([CELL]).startswith("nothing to resume in")
    folder.sweep()
    for name in ("run-1", "run-2", "run-3"):
        folder.run(name)
    folder.result("run-1")
    said = Resumption(folder.out, "sweep-1", "embedded").describe([CELL, OTHER])
    assert "sweep sweep-1 of 20" in said
    assert said.endswith("1 runs are finished, 2 were cut short")
    assert "it had other cells" in Resumption(folder.out, "sweep-1", "embedded").describe([CELL])


def test_a_run_that_was_cut_short_is_taken_over_with_its_last_state(folder: Folder) -> None:
    path = folder.run("run-1")
    folder.checkpoints("run-1", 0, 1)
    left = Resumption(folder.out, "sweep-1", "embedded")
    assert left.take_over(OTHER) is None
    run = left.take_over(CELL)
    assert run == InterruptedRun(path, state("run-1", 1), folder.out / "stacks" / "old")
    record = read_run_file(path)
    assert record is not None
    assert record.owner == ME
    assert left.take_over(CELL) is None
    assert Resumption(folder.out, "sweep-1", "embedded").take_over(CELL) is None, "it has an owner again, and is left alone"


def test_of_two_who_want_a_run_one_gets_it(folder: Folder) -> None:
    folder.run("run-1")
    first, second = (Resumption(folder.out, "sweep-1", "embedded") for _ in range(2))
    assert [first.take_over(CELL) is not None, second.take_over(CELL) is not None] == [True, False]


def test_a_run_without_a_plan_has_no_state_and_goes_on_all_the_same(folder: Folder) -> None:
    path = folder.run("run-1")
    run = take_over(path)
    assert run is not None
    assert run.state is None
    assert not (path / "checkpoints.sqlite").exists()


def test_a_run_that_somebody_is_at_is_left_alone(folder: Folder) -> None:
    path = folder.run("run-1", owner=ProcessIdentity.of(os.getppid()))
    assert not can_go_on(path)
    assert Resumption(folder.out, "sweep-1", "embedded").take_over(CELL) is None
    assert take_over(path) is None
    record = read_run_file(path)
    assert record is not None
    assert record.owner.pid == os.getppid()


INTERRUPTED = "interrupted: KeyboardInterrupt"


def test_what_ctrl_c_ended_counts_as_cut_short_and_its_attempt_as_used(folder: Folder) -> None:
    path = folder.run("run-1")
    folder.checkpoints("run-1", 0, 1)
    folder.result("run-1", outcome="inconclusive", error=INTERRUPTED)
    left = Resumption(folder.out, "sweep-1", "embedded")
    assert left.result(CELL) is None
    run = left.take_over(CELL)
    assert run is not None
    assert run.state is not None
    assert (run.state.stage_index, run.state.attempts) == (1, {"two": 1})
    assert not (path / "result.json").exists()
    assert (path / "result.1.json").exists()
    assert take_over(path) is None, "it has an owner again"


@pytest.mark.parametrize(
    ("outcome", "error", "done"),
    [
        ("passed", None, True),
        ("failed", None, True),
        ("error", "the kernel is gone", True),
        ("error", INTERRUPTED, True),
        ("inconclusive", "no fault fired", True),
        ("inconclusive", None, True),
        ("inconclusive", INTERRUPTED, False),
        ("skipped", "why", True),
    ],
)
def test_what_is_left_to_do(folder: Folder, outcome: Outcome, error: str | None, done: bool) -> None:
    path = folder.run("run-1")
    result = folder.result("run-1", outcome=outcome, error=error)
    assert settled(result) is done
    assert can_go_on(path) is not done
    assert stored_result(path) == result
    lost = result.model_copy(update={"artifacts": ArtifactManifest(run_dir="")})
    assert settled(lost) is (outcome == "skipped"), "a cell that never ran is still to be run"


def test_a_run_whose_checkpoints_are_damaged_is_abandoned_and_the_next_one_taken(folder: Folder) -> None:
    bad = folder.run("run-1")
    folder.checkpoints("run-1", 0)
    (bad / "checkpoints.sqlite").write_bytes(b"damage")
    good = folder.run("run-2")
    run = Resumption(folder.out, "sweep-1", "embedded").take_over(CELL)
    assert run is not None
    assert run.path == good
    document = json.loads((bad / "abandoned.json").read_text())
    assert document["code"] == "checkpoints_damaged"
    assert "checkpoints.sqlite.damaged-1" in document["reason"]
    assert not can_go_on(bad)


def test_a_run_that_can_not_go_on_says_which_and_why(folder: Folder) -> None:
    path = folder.run("run-1")
    (path / "checkpoints.sqlite").write_bytes(b"")
    with pytest.raises(CannotGoOn, match=r"^run run-1 can't go on: .*damaged") as told:
        take_over(path)
    assert told.value.path == path


def test_an_abandoned_run_is_left_alone(folder: Folder) -> None:
    path = folder.run("run-1")
    abandon(CannotGoOn(path, StackError("port_taken", "port 1 is taken", "free it")))
    assert Resumption(folder.out, "sweep-1", "embedded").take_over(CELL) is None
    document = json.loads((path / "abandoned.json").read_text())
    assert (document["schema_version"], document["code"]) == (1, "port_taken")
    assert document["reason"] == "run run-1 can't go on: port 1 is taken\n  hint: free it"


def test_the_runs_of_a_folder(folder: Folder) -> None:
    for name, sweep_id in (("run-2", "sweep-1"), ("run-1", "sweep-2"), ("run-3", "sweep-10")):
        folder.run(name, sweep_id=sweep_id)
    (folder.out / "old").mkdir()
    assert [record.run_id for record in runs_in(folder.out)] == ["run-1", "run-2", "run-3"]
    assert [record.run_id for record in runs_in(folder.out, "sweep-1")] == ["run-2"]


# -- the sweep itself, on a stack and with runs of the test's own ----------------------------------------------------------


class Live:
    """Stands in for what a stack that is up consists of."""

    links: Any = None

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __getattr__(self, name: str) -> Any:
        return None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let sweeps run nothing; return what they would have run: (cell, folder of the stack, what it goes on with)."""
    made: list[Any] = []

    def run_cell(cell: Cell, parts: Any, resume: InterruptedRun | None = None) -> str:
        made.append((cell, parts.stack_folder, resume))
        return f"result of {cell}"

    monkeypatch.setattr("pytest_execgo.wiring.sweep.run_cell", run_cell)
    monkeypatch.setattr("pytest_execgo.wiring.upkeep.StackUpkeep._start_in", lambda self, folder: Live(folder))
    monkeypatch.setattr("pytest_execgo.wiring.upkeep.StackUpkeep._usable", lambda self, live: True)
    return made


Open = Callable[..., Sweep]


@pytest.fixture
def opened(folder: Folder) -> Open:
    return lambda **options: Sweep(settings(folder, **options))


REAL = Cell("long_chain_dag", "crewai", "replay", "none")


def test_without_resuming_everything_is_run_in_a_sweep_of_its_own(folder: Folder, calls: list[Any], opened: Open) -> None:
    folder.sweep()
    folder.run("run-1", REAL)
    folder.result("run-1", REAL)
    sweep = opened(resume=False)
    assert sweep.sweep_id != "sweep-1"
    assert str(sweep.run(REAL)) == f"result of {REAL}"
    begun = read_sweep_file(folder.out / "sweeps" / sweep.sweep_id)
    assert begun is not None
    assert (begun.owner, begun.cells) == (ME, 2)
    assert [call[2] for call in calls] == [None]


def test_a_sweep_that_goes_on_runs_only_what_is_left(folder: Folder, calls: list[Any], opened: Open) -> None:
    other = Cell("long_chain_dag", "langgraph", "replay", "none")
    folder.sweep()
    folder.run("run-1", REAL)
    result = folder.result("run-1", REAL)
    path = folder.run("run-2", other)
    old = folder.out / "stacks" / "old"
    old.mkdir(parents=True)
    sweep = opened()
    assert sweep.sweep_id == "sweep-1"
    assert sweep.run(REAL) == result
    assert calls == []
    assert str(sweep.run(other)) == f"result of {other}"
    assert calls == [(other, old, InterruptedRun(path, None, old))]
    assert str(sweep.run(other)) == f"result of {other}"
    assert calls[1] == (other, old, None), "the stack that is up serves on"


def test_a_run_without_its_stack_is_abandoned_and_its_cell_run_anew(folder: Folder, calls: list[Any], opened: Open) -> None:
    folder.sweep()
    path = folder.run("run-1", REAL)
    assert str(opened().run(REAL)) == f"result of {REAL}"
    ((_, stack, resume),) = calls
    assert resume is None
    assert stack == folder.out / "stacks" / "sweep-1-main"
    assert "not there any more" in json.loads((path / "abandoned.json").read_text())["reason"]


def test_a_new_stack_never_gets_the_folder_of_an_old_one(folder: Folder, calls: list[Any], opened: Open) -> None:
    folder.sweep()
    (folder.out / "stacks" / "sweep-1-main").mkdir(parents=True)
    (folder.out / "stacks" / "sweep-1-main-2").mkdir()
    opened().run(REAL)
    assert calls == [(REAL, folder.out / "stacks" / "sweep-1-main-3", None)]


def test_a_stack_on_which_a_run_was_broken_off_does_not_serve_the_next_one(
    folder: Folder, calls: list[Any], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(cell: Cell, parts: Any, resume: InterruptedRun | None = None) -> str:
        raise KeyboardInterrupt

    sweep = opened(resume=False)
    first = sweep.live()
    monkeypatch.setattr("pytest_execgo.wiring.sweep.run_cell", broken_off)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(REAL)
    monkeypatch.undo()  # of what `calls` put in the place of `_usable`, too
    assert first.busy is True
    assert StackUpkeep(settings(folder), "x", lambda: False)._usable(first) is False
