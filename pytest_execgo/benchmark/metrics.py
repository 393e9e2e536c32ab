"""The figures of one run, each computed from its record; null where a figure does not apply, never a constant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.plan.record import RunRecord, StageRecord
from pytest_execgo.plan.result import RunMetrics
from pytest_execgo.plan.verdict import TaskOutcome

_RUNTIME_SOURCES = frozenset({"execgo-runtime", "runtime-executor"})
_NS_PER_MS = 1_000_000


def measure(record: RunRecord) -> RunMetrics:
    """Compute every metric that one run can have.

    Null means that the figure does not apply: plan figures without a plan, task counts when no task's outcome is known,
    times when nothing was measured, recovery figures where no fault hit or no recovery was expected, counts of the history
    where it does not tell, `determinism_drift`, which exists only in a sweep. Raises `ExecGoError` for a stage whose
    dependencies form a cycle, which no valid plan has.
    """
    wall = record.wall_ms if record.wall_ms > 0 else None  # 0 is the record's "not measured": no run takes no time
    critical = critical_path_ms(record.stages) if any(map(_ran, record.outcomes)) else None
    plan = record.plan
    return RunMetrics(
        plan_validity=record.plan_validity if record.plan_validity is not None else _rate(record.plan_valid),
        submit_accept_rate=_submit_accept_rate(record.stages),
        scenario_success=_rate(record.verdict.passed if record.verdict else None),
        recovery_success=_rate(record.recovered),
        recovery_time_ms=_recovery_time_ms(record),
        wall_time_ms=wall,
        critical_path_ms=critical,
        overhead=wall / critical if wall and critical else None,
        stage_count=len(plan.stages) if plan else None,
        task_count=sum(len(stage.task_graph.tasks) for stage in plan.stages) if plan else None,
        retry_count=_tally(record.outcomes, _retries),
        timeout_count=_timeouts(record),
        runtime_failure_count=_tally(record.outcomes, _failed_in_runtime),
        invalid_action_count=None if record.plan_valid is None else record.invalid_actions,
        artifact_hash_match=_artifact_hash_match(record.artifact_hashes, record.known_hashes),
        lost_count=_found(record, "lost"),
        duplicate_count=_found(record, "duplicated"),
        orphan_count=_found(record, "orphan"),
        wasted_task_count=_wasted(record) if record.stages else None,
        restart_count=record.restarts if record.stages else None,
        stop_time_ms=record.stop_time_ms,
        planning_time_ms=record.planning_ms,
        model_time_ms=record.model_ms,
        repair_count=record.repairs,
        cost=record.cost,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
    )


def critical_path_ms(stages: Iterable[StageRecord]) -> float:
    """Return the time in ms that no scheduler could have saved: the sum, over stages, of each one's longest path.

    A path's length is the sum of its tasks' own durations (the kernel's times of the last attempt); a task that never
    ran, or never finished, counts 0. Stages are sequential, each submission is one of them. Linear in tasks and
    dependencies. Raises `ExecGoError` when a stage's dependencies form a cycle.
    """
    return sum(_longest_path_ns(stage) for stage in stages) / _NS_PER_MS


def _longest_path_ns(stage: StageRecord) -> int:
    durations = {outcome.task_id: _duration_ns(outcome) for outcome in stage.outcomes}
    waiting: dict[str, int] = dict.fromkeys(durations, 0)
    dependants: dict[str, list[str]] = {}
    for task, dependencies in stage.depends_on.items():
        # named twice counts twice, here and where a dependency is met
        waiting[task] = waiting.get(task, 0) + len(dependencies)
        for dependency in dependencies:
            waiting.setdefault(dependency, 0)
            dependants.setdefault(dependency, []).append(task)
    starts: dict[str, int] = dict.fromkeys(waiting, 0)
    ready = [task for task, count in waiting.items() if count == 0]
    done = longest = 0
    while ready:
        task = ready.pop()
        done += 1
        end = starts[task] + durations.get(task, 0)
        longest = max(longest, end)
        for dependant in dependants.get(task, ()):
            starts[dependant] = max(starts[dependant], end)
            waiting[dependant] -= 1
            if waiting[dependant] == 0:
                ready.append(dependant)
    if done < len(waiting):
        stuck = ", ".join(sorted(task for task, count in waiting.items() if count)[:5])
        raise ExecGoError("cyclic_stage", f"stage {stage.stage_id}: dependencies form a cycle among: {stuck}")
    return longest


def _duration_ns(outcome: TaskOutcome) -> int:
    if outcome.started_ns is None or outcome.finished_ns is None:
        return 0
    return max(outcome.finished_ns - outcome.started_ns, 0)  # wall clock times: a clock that was set back is no gain


def _ran(outcome: TaskOutcome) -> bool:
    return outcome.started_ns is not None and outcome.finished_ns is not None


def _rate(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _recovery_time_ms(record: RunRecord) -> float | None:
    """Return the time from the first fault that hit to the first success seen once it was in force; null if there was none.

    What is seen to end while a fault is being applied, a service being drained to be restarted, had not been disturbed yet.
    """
    hits = [(fired, fault.applied_ns or fired) for fault in record.faults if fault.hit and (fired := fault.fired_ns) is not None]
    if not record.recovered or not hits:
        return None
    struck, applied = min(hits)
    after = [at for at in record.progress_ns if at > applied]
    return (min(after) - struck) / _NS_PER_MS if after else None


def _submit_accept_rate(stages: Iterable[StageRecord]) -> float | None:
    submitted = accepted = 0
    for stage in stages:
        submitted += stage.submitted
        accepted += stage.accepted
    return accepted / submitted if submitted else None


def _artifact_hash_match(found: Mapping[str, str | None], known: Mapping[str, str]) -> float | None:
    if not known:
        return None
    return sum(found.get(name) == sha256 for name, sha256 in known.items()) / len(known)


def _wasted(record: RunRecord) -> int:
    """Count executions of tasks whose stage was run again."""
    return record.wasted_before + sum(len(stage.outcomes) for stage in record.stages if stage.superseded)


def _found(record: RunRecord, check: str) -> int | None:
    """Return how often a check of the history convicted; null where there was nothing for it to look at."""
    return None if record.history is None else record.history.counts.get(check)


def _tally(outcomes: list[TaskOutcome], count: Callable[[TaskOutcome], int]) -> int | None:
    return sum(map(count, outcomes)) if outcomes else None


def _retries(outcome: TaskOutcome) -> int:
    return max(outcome.attempt - 1, 0) if _ran(outcome) else 0


def _timeouts(record: RunRecord) -> int | None:
    """Count tasks that their timeout ended, and stages that were given up with tasks unfinished."""
    tasks = _tally(record.outcomes, _timed_out)
    return None if tasks is None else tasks + sum(stage.timed_out for stage in record.stages)


def _timed_out(outcome: TaskOutcome) -> bool:
    """Tell whether a task's own timeout ended it: a command that it kills fails as a command does, after just that long."""
    if _error(outcome).get("code") == "timeout":
        return True
    limit = outcome.envelope.get("timeout")
    return outcome.status == "failed" and isinstance(limit, int) and 0 < limit <= _duration_ns(outcome) / 1e6


def _failed_in_runtime(outcome: TaskOutcome) -> bool:
    if outcome.status != "failed":
        return False
    return outcome.envelope.get("type") == "runtime" or _error(outcome).get("source") in _RUNTIME_SOURCES


def _error(outcome: TaskOutcome) -> Mapping[str, Any]:
    runtime = outcome.envelope.get("runtime")
    error = runtime.get("error") if isinstance(runtime, Mapping) else None
    return error if isinstance(error, Mapping) else {}
