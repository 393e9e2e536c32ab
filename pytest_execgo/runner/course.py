"""The course of one run: its steps in order, and what it has going while it takes them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytest_execgo.chaos.engine import Nemesis
from pytest_execgo.client.kernel import KernelUnreachable
from pytest_execgo.core.errors import ExecGoError, MissingDependency, Unsupported
from pytest_execgo.observability import artifacts as files
from pytest_execgo.observability.history import History
from pytest_execgo.observability.stream import EventStream
from pytest_execgo.plan import events
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.fault import World
from pytest_execgo.plan.model import StandardPlan
from pytest_execgo.plan.planning import PlanningFailed
from pytest_execgo.plan.problems import PlanInvalid
from pytest_execgo.plan.record import RunRecord
from pytest_execgo.plan.sandbox import SandboxPolicy
from pytest_execgo.plan.stack import Service
from pytest_execgo.plan.verdict import Attribution, TaskOutcome, Verdict, VerifierContext
from pytest_execgo.runner.checkpoints.run_state import RunState, RunStore
from pytest_execgo.runner.confinement import choose_sandbox
from pytest_execgo.runner.diagnosis import kernel_gone, service_gone
from pytest_execgo.runner.ending import Ending
from pytest_execgo.runner.execution import Execution, Place
from pytest_execgo.runner.failure import StageFailed
from pytest_execgo.runner.guard import ServiceGuard
from pytest_execgo.runner.judging import verdict_of, within_budget
from pytest_execgo.runner.memory import first_state, recall, remember
from pytest_execgo.runner.no_plan import rejected, unplanned
from pytest_execgo.runner.observed import ObservedKernel
from pytest_execgo.runner.parts import RunParts
from pytest_execgo.runner.planning import obtain_plan
from pytest_execgo.runner.recovery import Recovery
from pytest_execgo.runner.stage import StageRunner
from pytest_execgo.runner.stopping import RunStopped, StopOrder
from pytest_execgo.runner.workspace import lay_out


class Course:
    """One run under way. Use it as a context manager: when it is left, nothing of it disturbs, watches or waits any more.

    `state` is where an earlier life of the run was cut short; None for a run that begins.
    """

    def __init__(
        self,
        cell: Cell,
        parts: RunParts,
        folder: files.RunFolder,
        record: RunRecord,
        stream: EventStream,
        history: History,
        store: RunStore,
        state: RunState | None = None,
    ) -> None:
        self.cell = cell
        self.parts = parts
        self.folder = folder
        self.record = record
        self.stream = stream
        self.history = history
        self.run_id = folder.path.name
        self.seed = state.seed if state is not None else parts.scenario.spec.seed if cell.seed is None else cell.seed
        statuses: dict[str, str] = {}
        self.kernel = ObservedKernel(parts.client, history, statuses)
        self.observer = ObservedKernel(parts.direct, history, statuses)
        self.order = StopOrder(self.observer, stream.emit, self._note_stop)
        self.guard = ServiceGuard(parts.stack, stream.emit, restarts=parts.scenario.spec.recovery.restarts)
        self.finished: dict[str, TaskOutcome] = {}
        self._store = store
        self._state = state
        self._effects_before = state.effects_before if state is not None else 0
        self._restarts_before = 0
        self._place = Place()
        self._open = ExitStack()
        self._nemesis: Nemesis | None = None
        self._sandbox: SandboxPolicy | None = None

    def __enter__(self) -> Self:
        self._open.enter_context(self.guard)
        if self.parts.profile.faults:
            scratch = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="execgo-")))
            self._nemesis = Nemesis(
                self.parts.profile,
                self.parts.actions,
                seed=self.seed,
                cell_id=self.cell.cell_id,
                world=self._world(scratch),
                emit=self.stream.emit,
                note=self._note_fault,
                struck_before=self._state.faults_fired if self._state is not None else (),
            )
            self.stream.add(self._nemesis)
            self._open.callback(self._nemesis.lift)
        if (deadline := self.parts.scenario.spec.deadline_ms) is not None:
            timer = threading.Timer(deadline / 1000, self.order.order, ["deadline"])
            timer.daemon = True
            timer.start()
            self._open.callback(timer.cancel)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def _world(self, scratch: Path) -> World:
        return World(
            run_id=self.run_id,
            seed=self.seed,
            stack=self.parts.stack,
            kernel=self.parts.direct,
            fixtures=self.parts.fixtures,
            run=self,
            scratch=scratch,
            links=self.parts.links,
        )

    def _note_stop(self, how: str) -> None:
        self.history.client("event", "stop", value={"how": how})

    def _note_fault(self, f: str, value: dict[str, Any]) -> None:
        self.history.nemesis(f, value)

    # -- what a fault may ask of the run (plan.fault.Run) ---------------------------------------------------------------

    def stop(self, how: str) -> None:
        """Order the run to stop."""
        self.order.order(how)

    def stopped(self) -> bool:
        """Tell whether such an order was obeyed."""
        return self.order.obeyed_ns > 0

    def hold_down(self, service: Service) -> None:
        """Don't bring this service back when it is lost, until `let_up`."""
        self.guard.hold_down(service)

    def let_up(self, service: Service) -> None:
        """Bring this service back when it is lost, from now on, and now."""
        self.guard.let_up(service)

    def let_go(self, service: Service) -> None:
        """Bring this service back when it is lost, from now on, without waiting for that."""
        self.guard.let_go(service)

    # -- the steps ------------------------------------------------------------------------------------------------------

    def to_the_end(self) -> Ending:
        """Take every step up to the verdict; tell how it ended."""
        try:
            plan = self._begin() if self._state is None else self._go_on(self._state)
            place = self._place
            self._execute(plan, place)
            self.calm()
            return self._verified(plan)
        except PlanInvalid as invalid:
            return rejected(self, invalid)
        except PlanningFailed as failed:
            return unplanned(self, failed)
        except StageFailed as failed:
            lost = service_gone(self.parts.stack, failed.attribution)
            if lost or failed.attribution.layer == "machine":
                return Ending("error", failed.attribution, str(lost or failed.attribution.message))
            return self.failed(failed.attribution)
        except RunStopped as stopped:
            message = f"the run was told to stop ({stopped.how})"
            return self.failed(Attribution(layer="machine", code="stopped", message=message, evidence=[self.order.seq]))
        except (MissingDependency, Unsupported) as unavailable:
            return Ending("skipped", error=str(unavailable))
        except KernelUnreachable as unreachable:
            return Ending("error", error=str(kernel_gone(self.parts.stack, self.parts.client, unreachable)))
        except ExecGoError as error:
            return Ending("error", error=str(error))
        except OSError as error:
            return Ending("error", error=f"the machine: {error}")

    def calm(self) -> None:
        """Lift every fault, and see every service back."""
        if self._nemesis is not None:
            self._nemesis.lift()
        self.guard.settle()

    def _begin(self) -> StandardPlan:
        workspace = str(self.folder.workspace)
        self.stream.emit(events.RunStarted(cell_id=self.cell.cell_id, seed=self.seed, workspace=workspace))
        self._sandbox = choose_sandbox(self.parts, self.stream)
        self._effects_before = self._applied_effects()
        lay_out(self.parts.scenario.fixtures, self.folder.workspace)
        planned = obtain_plan(self.cell, self.parts, self.seed, self.record, self._disturb)
        plan = planned.plan
        self.folder.write_json(files.TRACE, dict(planned.trace))
        self.folder.write_json(files.PLAN, plan.model_dump(mode="json", exclude_unset=True))
        self.record.plan, self.record.plan_valid = plan, True
        if planned.prompt_tokens is not None:  # an adapter that asks a model by itself knows
            self.record.prompt_tokens, self.record.completion_tokens = planned.prompt_tokens, planned.completion_tokens
        self.stream.emit(
            events.PlanObtained(
                source=str(planned.trace.get("source", self.cell.mode)),
                plan_id=plan.plan_id,
                stages=len(plan.stages),
                tasks=sum(len(stage.task_graph.tasks) for stage in plan.stages),
                warnings=list(plan.normalization_warnings),
            )
        )
        self._state = first_state(self.cell, self.run_id, self.parts.sweep_id, self.seed, plan, self._effects_before)
        self._place = Place()
        self._save(self._place, None)
        return plan

    def _disturb(self, document: dict[str, Any]) -> dict[str, Any]:
        return document if self._nemesis is None else self._nemesis.disturb(document)

    def _go_on(self, state: RunState) -> StandardPlan:
        """Take up a run that was cut short: what is finished stays so."""
        self.finished, self._place = recall(state, self.record)
        self._restarts_before = self.record.restarts
        plan = self.record.plan
        assert plan is not None  # a run state has one
        done = [stage.stage_id for stage in plan.stages[: state.stage_index]]
        self.stream.emit(events.RunResumed(finished=done))
        self._sandbox = choose_sandbox(self.parts, self.stream)
        return plan

    def _execute(self, plan: StandardPlan, place: Place) -> None:
        recovery = Recovery(self.parts.scenario.spec.recovery, self.guard, self.stream.emit, self.order.check)
        stages = StageRunner(
            run_id=self.run_id,
            client=self.kernel,
            patience=recovery,
            going=self.order.going,
            heed=self.order.heed,
            stream=self.stream,
            record=self.record,
            values={
                "workspace": str(self.folder.workspace),
                "fixtures_url": self.parts.endpoints.fixtures_for_tasks,
                "run_id": self.run_id,
                "seed": str(self.seed),
            },
            artifacts=self.parts.scenario.spec.artifacts,
            finished=self.finished,
            taken_up=self.record.lives > 1,
            sandbox=self._sandbox,
        )
        Execution(stages, recovery, self.order, self._save).run(plan.stages, place)

    def _save(self, place: Place, stage_id: str | None) -> None:
        """Leave a checkpoint from which another process can go on."""
        assert self._state is not None  # the run has its plan
        self.count_restarts()
        now = [fault.index for fault in self._nemesis.records if fault.fired_ns is not None] if self._nemesis else []
        fired = sorted({*self._state.faults_fired, *now})
        self._state = remember(self._state, self.record, self.finished, place, self.stream.last, fired)
        checkpoint = self._store.save(self._state, node_id=stage_id, step=place.finished, tags=["stage"] if stage_id else [])
        if stage_id is not None:
            self.stream.emit(events.CheckpointSaved(stage_id=stage_id, checkpoint_id=checkpoint.id, step=place.finished))

    def count_restarts(self) -> None:
        """Note how many services were brought back, in earlier lives of the run too."""
        self.record.restarts = self._restarts_before + self.guard.restarts

    def _verified(self, plan: StandardPlan) -> Ending:
        scenario = self.parts.scenario
        known = scenario.expected.get("artifact_sha256")
        if isinstance(known, Mapping):
            self.record.known_hashes = {str(name): str(value) for name, value in known.items()}
        context = VerifierContext(
            run_id=self.run_id,
            seed=self.seed,
            scenario_dir=scenario.folder,
            workspace=self.folder.workspace,
            fixtures_url=self.parts.endpoints.fixtures,
            input=scenario.spec.input,
            expected=scenario.expected,
            plan=plan,
            tasks=self.finished,
        )
        allowed = scenario.spec.effect_budget.max_effects
        applied = self._applied_effects() - self._effects_before
        verdict = within_budget(verdict_of(self.parts.verifier, context), applied, allowed)
        self.record.invalid_actions += max(0, applied - allowed)
        self.record.verdict = verdict
        judged_at = self.stream.emit(
            events.VerdictReached(status="ok" if verdict.passed else "failed", passed=verdict.passed, reasons=list(verdict.reasons))
        )
        if verdict.passed:
            return Ending("passed")
        said = "; ".join(verdict.reasons[:3]) or "no reason given"
        attribution = Attribution(layer="verifier", code="verdict_failed", message=said, evidence=[judged_at])
        return self.failed(attribution, judged=verdict)

    def _applied_effects(self) -> int:
        return self.parts.fixtures.applied_effects(self.run_id if self.parts.shared else None)

    def failed(self, attribution: Attribution, judged: Verdict | None = None) -> Ending:
        """Record why the plan failed."""
        self.record.verdict = judged or Verdict(passed=False, reasons=[attribution.message])
        self.stream.emit(
            events.FailureAttributed(
                status="failed",
                error_code=attribution.code,
                layer=attribution.layer,
                message=attribution.message,
                evidence=attribution.evidence,
            )
        )
        return Ending("failed", attribution)

    @property
    def nemesis(self) -> Nemesis | None:
        """What disturbs the run; None when nothing is to."""
        return self._nemesis
