"""Runs one flow in a process of its own and makes a result of its answer."""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_execgo.core import errors
from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.core.process import CommandOutcome, run_command
from pytest_execgo.executors.flow_job import ANSWER, JOB, LAUNCHED, FlowAnswer, FlowJob, Mistake
from pytest_execgo.executors.flow_source import FlowSource, copy_cleanly
from pytest_execgo.executors.plain_data import packed, unpacked
from pytest_execgo.executors.supervision import Ending, Refusal
from pytest_execgo.plan.executor import ExecutionMode, ExecutionStatus

_LOG = 4000  # characters of a log that are kept in a result


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How an executor's flows are run; `FlowExecutor` says what each means."""

    max_workers: int | None = None
    datastore: Path | None = None
    include: tuple[Path, ...] = ()
    environment: dict[str, str | None] = field(default_factory=dict)
    unpickle: bool = False


async def run_flow(
    source: FlowSource,
    inputs: dict[str, Any],
    texts: dict[str, str],
    mode: ExecutionMode,
    settings: FlowSettings,
    notes: dict[str, Any],
) -> Ending:
    """Run a flow to its end. When the caller's task is cancelled, every process of it has ended before this returns.

    `Refusal` for what is not the flow's own failure.
    """
    with tempfile.TemporaryDirectory(prefix="execgo-flow-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            job = _prepared(folder, source, inputs, texts, mode, settings)
        except ExecGoError as error:
            raise Refusal(error) from error
        (folder / JOB).write_text(job.model_dump_json(), "utf-8")
        notes["mode"] = mode.value
        try:
            outcome = await _process(folder)
        finally:
            if (folder / LAUNCHED).exists():
                notes["pathspec"] = (folder / LAUNCHED).read_text("utf-8")
        answer = await asyncio.to_thread(_answer, folder, outcome)
    return _ending(answer, settings)


def _prepared(
    folder: Path, source: FlowSource, inputs: dict[str, Any], texts: dict[str, str], mode: ExecutionMode, settings: FlowSettings
) -> FlowJob:
    code = folder / "code"
    code.mkdir()
    copy = copy_cleanly(source, code, settings.include)
    try:
        carried = {name: packed(value) for name, value in inputs.items()}
    except ValueError as error:
        raise UsageError("bad_parameter", f"flow {source.name}: a parameter can't be handed over: {error}") from error
    return FlowJob(
        file=str(copy),
        home=str(source.file.parent),
        mode=mode,
        inputs=carried,
        texts=texts,
        max_workers=settings.max_workers,
        pickled=settings.unpickle,
        environment={**_environment(folder, mode, settings.datastore), **settings.environment},
    )


def _environment(folder: Path, mode: ExecutionMode, datastore: Path | None) -> dict[str, str | None]:
    """Return what keeps Metaflow to its folder: else it writes to `.metaflow` where it is called."""
    environment: dict[str, str | None] = {
        "METAFLOW_DEFAULT_EVENT_LOGGER": "nullSidecarLogger",
        "METAFLOW_DEFAULT_MONITOR": "nullSidecarMonitor",
        "METAFLOW_TEMPDIR": str(folder),
        "METAFLOW_CLIENT_CACHE_PATH": str(folder / "cache"),
    }
    if mode is ExecutionMode.LOCAL:
        kept = (folder / "datastore") if datastore is None else datastore.resolve()
        kept.mkdir(parents=True, exist_ok=True)
        environment |= {
            "METAFLOW_HOME": str(folder / "home"),  # no configuration but this one
            "METAFLOW_PROFILE": None,
            "METAFLOW_DEFAULT_METADATA": "local",
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DEFAULT_ENVIRONMENT": "local",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(kept),
        }
    return environment


async def _process(folder: Path) -> CommandOutcome:
    """Run the flow's process. It holds the reading end of a pipe: when this process dies, however, it ends what it runs."""
    reading, writing = os.pipe()
    try:
        argv = [sys.executable, "-P", "-m", "pytest_execgo.executors.flow_worker", str(folder), str(reading)]
        return await run_command(argv, pass_fds=(reading,), stdout_max=64 * 1024, stderr_max=64 * 1024)
    finally:
        os.close(reading)
        os.close(writing)


def _answer(folder: Path, outcome: CommandOutcome) -> FlowAnswer:
    try:
        answer = FlowAnswer.model_validate_json((folder / ANSWER).read_bytes())
    except (OSError, ValidationError):
        how = f"signal {outcome.signal}" if outcome.signal else f"exit code {outcome.exit_code}"
        log = outcome.stderr.decode("utf-8", "replace")
        message = f"the flow's process ended without an answer ({how})"
        mistake = Mistake(kind="StackError", code="flow_process_died", message=message, hint=log[-_LOG:].strip())
        return FlowAnswer(mistake=mistake)
    return answer


def _ending(answer: FlowAnswer, settings: FlowSettings) -> Ending:
    if answer.mistake is not None:
        kind: type[ExecGoError] = getattr(errors, answer.mistake.kind)
        raise Refusal(kind(answer.mistake.code, answer.mistake.message, answer.mistake.hint))
    notes: dict[str, Any] = {"steps": answer.steps}
    if answer.pathspec is not None:
        notes["pathspec"] = answer.pathspec
    if not answer.succeeded:
        notes["exceptions"] = [failure.model_dump(exclude_none=True) for failure in answer.failures]
        notes["stderr"] = answer.log[-_LOG:]
        if answer.failures:
            notes["exception_type"] = answer.failures[0].type
        return Ending(ExecutionStatus.FAILED, error=_why(answer), notes=notes)
    output = {name: unpacked(value) for name, value in answer.output.items()}
    left_out = dict(answer.left_out)
    for name, text in answer.pickles.items() if settings.unpickle else ():
        try:
            output[name] = pickle.loads(base64.b64decode(text))  # noqa: S301 - the caller asked for it, of a flow that they trust
        except Exception as error:
            left_out[name] = f"{type(error).__name__}: {error}"
    if left_out:
        notes["left_out"] = left_out
    return Ending(ExecutionStatus.SUCCEEDED, output, notes=notes)


def _why(answer: FlowAnswer) -> str:
    if answer.failures:
        first = answer.failures[0]
        where = f" (task {first.task})" if first.task else ""
        return f"{first.type.rpartition('.')[2]}: {first.message}{where}"
    said = [line.strip() for line in answer.log.splitlines() if line.strip()]
    where = "the flow failed" if answer.pathspec else "the flow could not be launched"
    return f"{where}: {' / '.join(said[-3:])}" if said else where
