"""When a run gets no plan: why, what was exchanged with the model, and how it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_execgo.observability import artifacts as files
from pytest_execgo.plan import events
from pytest_execgo.plan.planning import PlanningFailed
from pytest_execgo.plan.problems import PlanInvalid
from pytest_execgo.plan.verdict import Attribution, Verdict
from pytest_execgo.runner.ending import Ending
from pytest_execgo.scenarios.recordings import recording_of

if TYPE_CHECKING:
    from pytest_execgo.runner.course import Course


def unplanned(course: Course, failed: PlanningFailed) -> Ending:
    """Tell why there is no plan: the planner's failure is the run's, that of a framework's process an error."""
    exchanges = [one.model_dump(mode="json") for one in course.record.exchanges]
    trace = {"framework": course.cell.framework, "mode": course.cell.mode, "error": str(failed), "exchanges": exchanges}
    course.folder.write_json(files.TRACE, trace)
    course.record.plan_valid = False if failed.layer == "planner" else None
    seq = course.stream.emit(events.PlanRejected(status="failed", error_code=failed.code, problems=[failed.message]))
    attribution = Attribution(
        layer=failed.layer, code=failed.code, message=failed.message, retryable=failed.retryable, evidence=[seq]
    )
    return Ending("error", attribution, str(failed)) if failed.layer == "adapter" else course.failed(attribution)


def rejected(course: Course, invalid: PlanInvalid) -> Ending:
    """Tell everything that is wrong with the plan; a code that all problems share is the failure's."""
    course.record.plan_valid, course.record.plan_validity = False, invalid.validity
    course.record.invalid_actions += sum(problem.code in ("unknown_tool", "tool_not_allowed") for problem in invalid.problems)
    problems = list(invalid.lines)
    exchanges = [one.model_dump(mode="json") for one in course.record.exchanges]
    scenario = course.parts.scenario
    replayed = recording_of(scenario, course.cell.framework) or scenario.reference_plan
    told = {"raw": replayed} if course.cell.mode == "replay" else {"exchanges": exchanges}
    trace = {"framework": course.cell.framework, "mode": course.cell.mode, **told, "problems": problems}
    course.folder.write_json(files.TRACE, trace)
    codes = {problem.code for problem in invalid.problems}
    code = codes.pop() if len(codes) == 1 else invalid.code
    seq = course.stream.emit(events.PlanRejected(status="failed", error_code=code, problems=problems))
    said = f"the plan is invalid: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    attribution = Attribution(layer="plan", code=code, message=said, evidence=[seq])
    return course.failed(attribution, judged=Verdict(passed=False, reasons=problems))
