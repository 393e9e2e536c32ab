"""Launches a flow through `metaflow.Runner`; imported in a flow's own process only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.optional import require
from pytest_execgo.executors.flow_job import FlowJob
from pytest_execgo.executors.plain_data import unpacked
from pytest_execgo.plan.executor import ExecutionMode

_DECORATORS = {ExecutionMode.BATCH: "batch", ExecutionMode.REMOTE: "kubernetes"}


@dataclass(slots=True)
class Launch:
    """A flow that is ready to run, its parameters checked."""

    runner: Any
    arguments: dict[str, Any]
    parameters: frozenset[str]
    """The attributes of the flow that are parameters."""

    async def start(self) -> Any:
        """Start the flow; returns Metaflow's `ExecutingRun`, or None when its process ended before there was a run."""
        try:
            return await self.runner.async_run(**self.arguments)
        except RuntimeError:  # what Metaflow raises then; why, is in the log
            if not self.runner.spm.commands:
                raise
            return None

    def log(self) -> str:
        """Return what the flow's process wrote to standard error."""
        return "".join(
            Path(command.log_files["stderr"]).read_text("utf-8", "replace")
            for command in self.runner.spm.commands.values()
            if "stderr" in command.log_files
        )

    def close(self) -> None:
        """Remove Metaflow's temporary files."""
        self.runner.cleanup()


def load(job: FlowJob, seconds: int) -> Launch:
    """Import the flow's file and check the job's parameters against it.

    `seconds` is how long Metaflow may take to begin the run. `UsageError` for a file that doesn't hold exactly one flow, and for
    parameters that the flow does not take; what the file itself raises passes.
    """
    metaflow = require("metaflow", "metaflow")
    click_api = require("metaflow.runner.click_api", "metaflow")
    exceptions = require("metaflow.exception", "metaflow")
    try:
        flow = click_api.extract_flow_class_from_file(job.file)
    except exceptions.MetaflowException as error:
        if "FlowSpec class" not in str(error):
            raise
        message = f"{Path(job.file).name} must hold one flow: {error}"
        raise UsageError("not_one_flow", message, "give each flow a file of its own") from error
    module = click_api.loaded_modules[job.file]
    # what the flow's process stores of its own classes says that they are of `__main__`; here it is to be found there too
    sys.modules["__main__"] = sys.modules[module.__name__] = module
    runner = metaflow.Runner(job.file, show_output=False, file_read_timeout=seconds, pylint=False)
    run = runner.api(pylint=False).run  # from here on, the flow's parameters are complete
    found = {name: parameter for name, parameter in flow._get_parameters() if not parameter.IS_CONFIG_PARAMETER}
    arguments = _arguments(flow.__name__, {parameter.name: parameter for parameter in found.values()}, job)
    try:
        run(**arguments)  # makes a command line, and starts nothing
    except (TypeError, ValueError) as error:
        raise UsageError("bad_parameter", f"flow {flow.__name__}: {error}") from error
    if job.max_workers is not None:
        arguments["max_workers"] = job.max_workers
    if job.mode in _DECORATORS:
        arguments["decospecs"] = [_DECORATORS[job.mode]]
    return Launch(runner, arguments, frozenset(found))


def _arguments(flow: str, parameters: dict[str, Any], job: FlowJob) -> dict[str, Any]:
    """Return the parameters by the names that Metaflow's API has them under; `UsageError` for unknown and unreadable ones."""
    names = {name.replace("-", "_"): name for name in parameters}
    arguments = {}
    for given, value in [*job.inputs.items(), *job.texts.items()]:
        key = given.replace("-", "_")
        if key not in names:
            raise UsageError.unknown("parameter", given, parameters)
        typed = given in job.texts
        arguments[key] = _read(flow, parameters[names[key]], value) if typed else unpacked(value)
    return arguments


def _read(flow: str, parameter: Any, text: str) -> Any:
    """Read a parameter as it is typed on a command line."""
    click = require("metaflow._vendor.click", "metaflow")
    kind = click.types.convert_type(parameter.kwargs.get("type"), parameter.kwargs.get("default"))
    try:
        return kind.convert(text, None, None)
    except click.BadParameter as error:
        raise UsageError("bad_parameter", f"flow {flow}, parameter {parameter.name!r}: {error.message}") from error
