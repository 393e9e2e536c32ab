"""Planners' processes: warm, fenced off, and gone when they crash, hang, or when whoever asked is gone."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.plan.model import PlanContext, PromptPack
from pytest_execgo.plan.planning import PlannerOutput, PlanningFailed, PlanningRequest

HERE = Path(__file__).parent
ENVIRON = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    "OPENAI_API_KEY": "sk-secret",
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_API_KEY": "ls-secret",
    "EXECGO_AUTH_TOKEN": "t",
    "HTTP_PROXY": "http://127.0.0.1:9",
}


def request(deadline_ms: int = 60_000, **scenario_input: Any) -> PlanningRequest:
    context = PlanContext(
        scenario_id="demo",
        framework="mine",
        mode="live",
        seed=1,
        objective="Überall",
        scenario_input=scenario_input,
        prompt_pack=PromptPack(),
        allowed_tools=["os.noop"],
    )
    return PlanningRequest(context=context, tools={}, plan_schema={}, model_url="http://127.0.0.1:9/v1", deadline_ms=deadline_ms)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    with WorkerPool(ENVIRON, folder=tmp_path) as pool:
        yield pool
    assert pool.pids() == []
    assert list(tmp_path.iterdir()) == [], "each process had a folder, which is gone with it"


def ask(pool: WorkerPool, planner: str, told: list[Any] | None = None, **options: Any) -> PlannerOutput:
    return pool.plan(f"planners_for_tests:{planner}", request(**options), (told if told is not None else []).append)


def failure(pool: WorkerPool, planner: str, told: list[Any] | None = None, **options: Any) -> PlanningFailed:
    with pytest.raises(PlanningFailed) as failed:
        ask(pool, planner, told, **options)
    return failed.value


def gone(pid: int) -> bool:
    """Tell whether a process is gone within a generous time."""
    try:
        return ProcessIdentity.of(pid).end(None, 20)
    except ProcessLookupError:
        return True


def test_one_process_plans_again_and_again_and_says_what_it_does(pool: WorkerPool) -> None:
    told: list[Any] = []
    first, second = ask(pool, "plan", told, n=1), ask(pool, "plan", told, n=2)
    assert first.raw["pid"] == second.raw["pid"] == pool.pids()[0]
    assert 0 < first.raw["asked"].pop("deadline_ms") < 60_000, "what is left of it"
    assert first.raw["asked"] == request(n=1).model_dump(mode="json", exclude={"deadline_ms"})
    assert second.raw["asked"]["context"]["scenario_input"] == {"n": 2}
    assert (first.framework, first.framework_version, first.trace, first.repairs) == ("mine", "1", [{"kind": "x"}], 0)
    assert told == [{"name": "begun", "odd": [1, 2], "large": str(2**80)}, {"name": "done"}] * 2


def test_a_process_that_was_started_ahead_is_the_one_that_plans(pool: WorkerPool) -> None:
    pool.start("planners_for_tests:plan")
    pool.start("planners_for_tests:plan")
    [pid] = pool.pids()
    assert ask(pool, "plan").raw["pid"] == pid


def test_who_plans_at_the_same_time_has_a_process_each(pool: WorkerPool) -> None:
    ready, pids = threading.Barrier(2), []

    def plan() -> None:
        def wait(event: Any) -> None:
            if event["name"] == "begun":
                ready.wait(60)

        pids.append(pool.plan("planners_for_tests:plan", request(), wait).raw["pid"])

    threads = [threading.Thread(target=plan) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(pids)) == 2
    assert ask(pool, "plan").raw["pid"] in pids


def test_a_planner_sees_little_of_our_environment_and_has_a_home_of_its_own(pool: WorkerPool, tmp_path: Path) -> None:
    raw = ask(pool, "plan").raw
    environ, cwd = raw["environ"], Path(raw["cwd"])
    assert "secret" not in json.dumps(environ)
    assert not {"OPENAI_API_KEY", "LANGSMITH_API_KEY", "EXECGO_AUTH_TOKEN", "HTTP_PROXY"} & environ.keys()
    quiet = {"LANGSMITH_TRACING": "false", "CREWAI_DISABLE_TELEMETRY": "true", "AUTOGEN_DISABLE_RUNTIME_TRACING": "true"}
    assert {name: environ[name] for name in quiet} == quiet
    assert environ["PATH"] == ENVIRON["PATH"]
    for place in (cwd, Path(environ["HOME"]), Path(environ["TMPDIR"])):
        assert place.is_relative_to(tmp_path)
        assert place.is_dir()
    storage = Path(environ["CREWAI_STORAGE_DIR"])
    assert storage.is_dir()
    pool.close()
    assert not storage.exists()


def test_what_frameworks_print_is_no_answer_and_a_large_answer_is_one(pool: WorkerPool) -> None:
    raw = ask(pool, "noisy").raw
    assert len(raw["said"]) == 3_000_000
    assert raw["half"] == "\ufffd"


def test_a_request_larger_than_a_pipe_arrives(pool: WorkerPool) -> None:
    assert len(ask(pool, "plan", text="x" * 3_000_000).raw["asked"]["context"]["scenario_input"]["text"]) == 3_000_000


def test_a_process_that_ends_is_a_crash_with_its_exit_code_and_last_words(pool: WorkerPool) -> None:
    ask(pool, "ends", exit_code=None)
    failed = failure(pool, "ends", exit_code=7)
    assert (failed.code, failed.layer, failed.retryable) == ("adapter_crashed", "adapter", True)
    assert "ended with exit code 7; its last lines:\n  these are the last words" in failed.message
    assert "was ended by SIGKILL" in failure(pool, "is_killed").message
    assert ask(pool, "plan").raw["pid"]


def test_a_process_that_died_while_nobody_asked_is_replaced_and_what_it_started_ended(pool: WorkerPool) -> None:
    raw = ask(pool, "leaves_one").raw
    os.kill(raw["pid"], signal.SIGKILL)
    assert select.select([os.pidfd_open(raw["pid"])], [], [], 20)[0]
    assert ask(pool, "leaves_one").raw["pid"] != raw["pid"]
    assert raw["pid"] not in pool.pids()
    assert gone(raw["child"])


def test_a_planner_that_hangs_is_ended_with_all_that_it_started_and_shows_where_it_hung(tmp_path: Path) -> None:
    for deadline_ms, grace_s in ((4_000, 1.5), (30_000, 20.0)):  # one of them is enough on any machine
        told: list[Any] = []
        with WorkerPool(ENVIRON, folder=tmp_path, grace_s=grace_s) as pool:
            ask(pool, "plan")  # it is not about how long a process takes to start
            failed = failure(pool, "hangs", told, deadline_ms=deadline_ms)
            assert (failed.code, failed.layer, failed.retryable) == ("adapter_hung", "adapter", True)
            assert f"planners_for_tests:hangs did not answer within {deadline_ms} ms and was ended" in failed.message
            assert all(gone(told[0][name]) for name in ("pid", "child") if told)
            assert ask(pool, "plan").raw["pid"] not in [event["pid"] for event in told]
        if told and "in hangs" in failed.message:
            break
    assert told
    assert "in hangs" in failed.message


def test_what_a_planner_raises_is_told_as_it_is_meant(pool: WorkerPool) -> None:
    failed = failure(pool, "raises")
    assert (failed.code, failed.layer) == ("adapter_crashed", "adapter")
    assert failed.message.startswith("the framework raised LookupError: what the framework says; its last lines:\n")
    assert "in raises" in failed.message
    failed = failure(pool, "refuses")
    assert (failed.code, failed.layer) == ("planner_refused", "planner")
    assert failure(pool, "refuses").message == failed.message, "a planner that says no is as good as before"


def test_an_answer_that_is_none_is_a_crash(pool: WorkerPool) -> None:
    failed = failure(pool, "unfit")
    assert (failed.code, failed.layer) == ("adapter_crashed", "adapter")
    assert "no PlannerOutput" in failed.message


@pytest.mark.parametrize(
    ("planner", "said"),
    [
        ("broken_planner_for_tests:plan", "ImportError: half of it is missing"),
        ("planners_for_tests:nobody", "AttributeError: module 'planners_for_tests' has no attribute 'nobody'"),
        ("no_such_module:plan", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_can_not_be_imported_is_unusable_and_says_why(pool: WorkerPool, planner: str, said: str) -> None:
    for _ in range(2):
        with pytest.raises(PlanningFailed) as failed:
            pool.plan(planner, request(), lambda event: None)
        assert (failed.value.code, failed.value.layer, failed.value.retryable) == ("adapter_unusable", "adapter", False)
        assert f"{planner} can't be used here: {said}" in failed.value.message


def test_python_that_does_not_start_is_unusable_too(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('no Python today')")
    (tmp_path / "folder").mkdir()
    with WorkerPool(
        {**ENVIRON, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ENVIRON['PYTHONPATH']}"}, folder=tmp_path / "folder"
    ) as pool:
        failed = failure(pool, "plan")
    assert failed.code == "adapter_unusable"
    assert "before it was ready" in failed.message
    assert "no Python today" in failed.message


def test_whoever_listens_and_fails_ends_the_planning(pool: WorkerPool) -> None:
    def fail(event: Any) -> None:
        raise KeyboardInterrupt

    pid = ask(pool, "plan").raw["pid"]
    with pytest.raises(KeyboardInterrupt):
        pool.plan("planners_for_tests:plan", request(), fail)
    assert gone(pid)
    assert ask(pool, "plan").raw["pid"] != pid


def test_a_pool_that_is_closed_while_somebody_plans_ends_that_planning(tmp_path: Path) -> None:
    pool = WorkerPool(ENVIRON, folder=tmp_path)
    told: list[Any] = []
    begun, ends = threading.Event(), list[Any]()

    def tell(event: Any) -> None:
        told.append(event)
        begun.set()

    def plan() -> None:
        try:
            pool.plan("planners_for_tests:hangs", request(), tell)
        except PlanningFailed as failed:
            ends.append(failed)

    thread = threading.Thread(target=plan)
    thread.start()
    assert begun.wait(60)
    pool.close()
    thread.join(60)
    assert [failed.code for failed in ends] == ["adapter_crashed"]
    assert all(gone(told[0][name]) for name in ("pid", "child"))
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pool_plans_no_more(tmp_path: Path) -> None:
    pool = WorkerPool(ENVIRON, folder=tmp_path)
    pid = ask(pool, "plan").raw["pid"]
    pool.close()
    pool.close()
    assert gone(pid)
    failed = failure(pool, "plan")
    assert "the pool of planners' processes is closed" in failed.message


@pytest.fixture
def owner() -> Iterator[Any]:
    owners = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, str(HERE / "pool_owner.py"), request().model_dump_json(), *arguments]
        owners.append(subprocess.Popen(words, env=ENVIRON, stdout=subprocess.PIPE, text=True))
        return owners[-1]

    yield start
    for process in owners:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_no_planner_outlives_its_owner_even_if_that_is_killed(owner: Any) -> None:
    process = owner()
    [idle], told = json.loads(process.stdout.readline()), json.loads(process.stdout.readline())
    hanging = told["pid"]
    words = [Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in (idle, hanging)]
    folders = [Path(word) for line in words for word in line if "execgo-planner-" in word]
    assert len(folders) == 4
    assert all(folder.is_dir() for folder in folders)
    process.kill()
    assert gone(idle)
    assert gone(hanging)
    assert gone(told["child"]), "which had a session of its own"
    assert [folder for folder in folders if folder.exists()] == []


def test_no_planner_outlives_its_owner_that_ends_without_a_word(owner: Any) -> None:
    process = owner("leave")
    [pid] = json.loads(process.stdout.readline())
    assert process.wait(60) == 0
    assert gone(pid)


def test_a_process_takes_no_time_to_answer(pool: WorkerPool) -> None:
    """Bounds what a warm process adds to a plan, generously: no start, no import, no tick."""
    ask(pool, "plan")
    began = time.monotonic()
    for _ in range(20):
        ask(pool, "plan")
    assert (time.monotonic() - began) / 20 < 0.5
