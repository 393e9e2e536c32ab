"""What Metaflow knows of a run that is over, as an answer; imported in a flow's own process only."""

from __future__ import annotations

import base64
import pickle
from typing import Any

from pytest_execgo.core.jsonio import dumps
from pytest_execgo.executors.flow_job import Failure, FlowAnswer
from pytest_execgo.executors.plain_data import packed

_LARGEST = 32 * 1024 * 1024  # characters of one artifact as it is carried


def answer_of(executing: Any, parameters: frozenset[str], *, pickled: bool, log: str) -> FlowAnswer:
    """Return how a run ended: its steps, what its tasks raised, and, of one that succeeded, the end step's artifacts."""
    run = executing.run
    succeeded = executing.returncode == 0
    steps: dict[str, dict[str, Any]] = {}
    failures: list[Failure] = []
    fallen: list[Any] = []
    for step in reversed(list(run)):  # Metaflow gives the latest first
        tasks = list(step)
        steps[step.id] = {"status": _status(tasks), "tasks": len(tasks)}
        unsuccessful = [task for task in tasks if not task.successful]
        failures += [_failure(task) for task in unsuccessful if task.exception is not None]
        fallen += unsuccessful
    if not succeeded:
        return FlowAnswer(pathspec=run.pathspec, steps=steps, failures=failures or [_fall(task) for task in fallen], log=log)
    answer = FlowAnswer(succeeded=True, pathspec=run.pathspec, steps=steps)
    for artifact in run.end_task or ():
        # Metaflow puts the flow's name there, unless the flow has something of its own by that name
        if artifact.id != "name" or artifact.id in parameters or artifact.data != run.parent.id:
            _carry(artifact, answer, pickled)
    return answer


def _status(tasks: list[Any]) -> str:
    return "succeeded" if all(task.successful for task in tasks) else "failed"


def _fall(task: Any) -> Failure:
    """Return why a task ended that recorded no exception: it was killed, or its artifacts could not be stored."""
    said = [line.strip() for line in task.stderr.splitlines() if line.strip()]
    return Failure(type="TaskFailed", message=said[-1] if said else "it ended without a word", task=task.pathspec)


def _failure(task: Any) -> Failure:
    raised = task.exception  # Metaflow's wrapper, which names the type and holds the text
    name = getattr(raised, "type", None) or type(raised).__qualname__
    message = str(getattr(raised, "exception", raised))
    return Failure(type=str(name).removeprefix("builtins."), message=message, task=task.pathspec)


def _carry(artifact: Any, answer: FlowAnswer, pickled: bool) -> None:
    """Put an artifact into the answer: packed if it is plain data, else as a pickle if that is wanted, else why it is left out."""
    name = artifact.id
    try:
        value = artifact.data
    except Exception as error:  # reading an artifact unpickles it, which may run code of the flow's
        answer.left_out[name] = f"it can't be read: {type(error).__name__}: {error}"
        return
    try:
        answer.output[name] = _bounded(packed(value))
    except ValueError as error:
        if not pickled:
            answer.left_out[name] = str(error)
            return
        try:
            answer.pickles[name] = _bounded(base64.b64encode(pickle.dumps(value)).decode())
        except Exception as unfit:  # so does pickling
            answer.left_out[name] = f"{type(unfit).__name__}: {unfit}"


def _bounded(value: Any) -> Any:
    size = len(dumps(value))
    if size > _LARGEST:
        raise ValueError(f"it is {size} characters long; {_LARGEST} can be carried")
    return value
