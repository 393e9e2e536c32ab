"""A flow's own process: `python -P -m pytest_execgo.executors.flow_worker FOLDER DESCRIPTOR`. Only here is Metaflow imported.

Reads `job.json` in FOLDER and writes `answer.json` there. DESCRIPTOR is the reading end of a pipe whose other end the owner
holds; when that closes before the answer is written, everything that was started here is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.files import write_atomic
from pytest_execgo.core.process_tree import MARK_VARIABLE, Mark, become_subreaper, end_tree
from pytest_execgo.executors.flow_job import ANSWER, JOB, LAUNCHED, Failure, FlowAnswer, FlowJob, Mistake

_TO_LAUNCH = 300  # seconds that a flow's process may take to say which run it is; only one that never says so needs them
_LOG = 4000  # characters


def main(argv: list[str]) -> int:
    """Run the job in a folder, write its answer, end what it left behind."""
    folder, lifeline = Path(argv[0]), int(argv[1])
    become_subreaper()
    mark = Mark(os.environ[MARK_VARIABLE], int(os.environ[MARK_VARIABLE], 16))
    last = threading.Lock()  # whoever has it ends this process
    threading.Thread(target=_end_with_owner, args=(lifeline, mark, folder, last), daemon=True).start()
    answer = _run(FlowJob.model_validate_json((folder / JOB).read_bytes()), folder)
    with last:
        write_atomic(folder / ANSWER, answer.model_dump_json())
        end_tree(mark)
        sys.stderr.flush()
        os._exit(0)  # whatever threads the flow's module started


def _end_with_owner(lifeline: int, mark: Mark, folder: Path, last: threading.Lock) -> None:
    os.read(lifeline, 1)  # nothing is ever written: this returns when the owner is gone
    with last:
        end_tree(mark)
        for _ in range(5):  # it is the owner's to remove, but there is none any more; Metaflow's client may still write there
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _run(job: FlowJob, folder: Path) -> FlowAnswer:
    _set_environment(job)
    tempfile.tempdir = str(folder)  # what Metaflow's runner puts aside goes with the folder, even if all is killed
    try:
        return asyncio.run(_flow(job, folder))
    except ExecGoError as error:
        return _mistaken(error)
    except (Exception, SystemExit) as error:  # what the flow's file raised when it was imported, or Metaflow about it
        return FlowAnswer(failures=[Failure(type=_type_name(error), message=str(error) or "no message")])


def _mistaken(error: ExecGoError) -> FlowAnswer:
    kind: Any = type(error).__name__
    return FlowAnswer(mistake=Mistake(kind=kind, code=error.code, message=error.message, hint=error.hint))


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _set_environment(job: FlowJob) -> None:
    """Give this process its variables before Metaflow, which reads them when it is imported."""
    for name, value in job.environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    if not os.environ.get("METAFLOW_USER"):
        with contextlib.suppress(KeyError, OSError):  # a uid without a name
            os.environ["METAFLOW_USER"] = getpass.getuser()
        if os.environ.get("METAFLOW_USER") in (None, "root"):  # it refuses to be either
            os.environ["METAFLOW_USER"] = "execgo"
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [others, job.home]))
    sys.path.append(job.home)


async def _flow(job: FlowJob, folder: Path) -> FlowAnswer:
    from pytest_execgo.executors import flow_launch, remote

    remote.check(job.mode)
    launched = flow_launch.load(job, _TO_LAUNCH)
    try:
        executing = await launched.start()
        if executing is None:
            return FlowAnswer(log=launched.log()[-_LOG:])
        write_atomic(folder / LAUNCHED, executing.run.pathspec)
        await executing.wait()
        from pytest_execgo.executors.flow_answer import answer_of

        return answer_of(executing, launched.parameters, pickled=job.pickled, log=launched.log()[-_LOG:])
    finally:
        launched.close()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
