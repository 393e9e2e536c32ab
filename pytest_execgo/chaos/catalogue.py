"""The actions that profiles may use: the built-in ones, and those that users add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.trigger import unreachable
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import Action, PlanAction, Surroundings

HOOK = "pytest_execgo_chaos_actions"
PLAN = frozenset({"plan"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")


def merge_actions(answers: Iterable[object]) -> dict[str, Action | PlanAction]:
    """Return the built-in actions and those that implementations of the hook returned, by their names.

    `UsageError` for an answer that is no mapping, a name that no profile could write or that is taken, and an object that has not
    what an `Action` or a `PlanAction` has.
    """
    merged = dict(ACTIONS)
    for answer in answers:
        if not isinstance(answer, Mapping):
            raise _bad(f"returned {type(answer).__name__}", "return a mapping from names to actions")
        for name, action in answer.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise _bad(f"{name!r} is no name of an action", "use letters, digits, _, - and .")
            if name in merged:
                whose = "a built-in one" if name in ACTIONS else "another one that was added"
                raise _bad(f"action {name!r} has the name of {whose}", "choose another name")
            if isinstance(action, type):
                raise _bad(f"{name!r} is the class {action.__name__}", f"return an instance: {action.__name__}()")
            if not isinstance(action, Action | PlanAction):
                raise _bad(
                    f"{name!r} is no action: it lacks {_lacking(action)}",
                    "see Action and PlanAction in pytest_execgo/plan/fault.py",
                )
            merged[name] = action
    return merged


def _bad(what: str, hint: str) -> UsageError:
    return UsageError("bad_hook", f"{HOOK}: {what}", hint)


def _lacking(thing: object) -> str:
    kinds = (("problems", "unusable", "targets", "apply"), ("problems", "unusable", "disturb"))
    return " (or ".join(", ".join(name for name in names if not hasattr(thing, name)) for names in kinds) + ")"


def targets_of(action: Action | PlanAction) -> frozenset[str]:
    """Return what an action can be done to."""
    return PLAN if isinstance(action, PlanAction) else action.targets


def unusable(profile: ChaosProfile, actions: Mapping[str, Action | PlanAction], surroundings: Surroundings) -> str | None:
    """Say why one of a profile's faults can't be injected, or could hit nothing, in such a cell; None when all of them can."""
    for index, fault in enumerate(profile.faults):
        reason = unreachable(fault, surroundings.plan) or actions[fault.action].unusable(fault, surroundings)
        if reason:
            return f"{reason} (chaos profile {profile.id!r}, fault {index}: {fault.action} {fault.target})"
    return None
