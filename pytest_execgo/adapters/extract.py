"""A plan document found in what a model said: bare JSON, in a code fence, between sentences, the last of several."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_execgo.core.jsonvalue import shown
from pytest_execgo.plan.planning import PlanningFailed

STAGES = ("stages", "steps", "phases")
"""The names under which a plan's stages are found."""

_WRAPPERS = ("plan", "standard_plan", "execution_plan", "result", "output", "answer", "response")
_TASKS = ("task_graph", "tasks", "stage_id")
_FENCE = re.compile(r"```[A-Za-z0-9_-]*")
_REFUSAL = re.compile(
    r"\bI(?:'m| am) (?:sorry|unable|not able|not going)\b"
    r"|\bI (?:can't|can ?not|won't|will not|must decline|do not feel able)\b",
    re.IGNORECASE,
)
_SHOWN = 160  # characters of what the model said that a message repeats
_NESTED = 3  # wrappers around a plan, one in another


@dataclass(frozen=True, slots=True)
class Found:
    """A plan document, and what had to be taken off to get at it."""

    document: Mapping[str, Any]
    warnings: list[str] = field(default_factory=list)


def find_plan(value: Mapping[str, Any] | str) -> Found:
    """Return the plan document in a model's text, or in a JSON object, which may wrap it (`{"plan": …}`).

    An object that wraps nothing is returned as it is. `PlanningFailed` for a text: `planner_refused` or `planner_no_plan` when
    no JSON object is in it, `planner_wrong_shape` when the one in it is broken, or none has stages.
    """
    found = _in_text(value) if isinstance(value, str) else Found(value)
    for _ in range(_NESTED):
        inner = _wrapped(found)
        if inner is None:
            break
        found = inner
    return found


def newest_plan(candidates: Iterable[Any]) -> Mapping[str, Any] | str | None:
    """Return the first of the candidates (newest first) that holds a plan, else the one that comes nearest to it, if any.

    Candidates are JSON objects and texts; others are passed over. For the raw output of a framework, which may end with a
    reviewer's word.
    """
    said: list[Mapping[str, Any] | str] = []
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip():
            if holds_plan(candidate):
                return candidate
            said.append(candidate)
        elif isinstance(candidate, Mapping) and candidate:
            if _like_a_plan(find_plan(candidate).document):
                return candidate
            said.append(candidate)
    tried = [one for one in said if not isinstance(one, str) or "{" in one]
    return next(iter(tried or said), None)


def holds_plan(text: str) -> bool:
    """Tell whether `find_plan` would find a plan in a text."""
    try:
        return _like_a_plan(find_plan(text).document)
    except PlanningFailed:
        return False


def text_of(content: Any) -> Any:
    """Return the text of a chat message's content that comes in parts; any other content as it is."""
    if not isinstance(content, list):
        return content
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "".join(text for text in texts if isinstance(text, str))


def _in_text(text: str) -> Found:
    whole = _loaded(text.strip())
    if isinstance(whole, str):
        return _noting(_in_text(whole), "$: the plan was a JSON text within a JSON text")
    if isinstance(whole, list) and whole and all(map(_like_a_stage, whole)):
        return Found({"stages": whole}, [f"$: a list of {len(whole)} became the plan's stages"])
    if isinstance(whole, dict):
        if not _like_a_plan(whole) and _wrapped(Found(whole)) is None:
            raise _no_stages(text)
        return Found(whole, _repeated(text.strip()))
    objects = list(_objects(text))
    plans = [one for one in objects if one.is_plan()]
    plans = [one for one in plans if _has_stages(find_plan(one.value).document)] or plans
    if not plans:
        raise _nothing(text, objects)
    chosen = plans[-1]
    warnings = [f"$: of {len(plans)} plans in the text, the last one was taken"] if len(plans) > 1 else []
    around = text[: chosen.start] + "\n" + text[chosen.end :]
    if not warnings and "```" in around and not _FENCE.sub("", around).strip():
        warnings.append("$: the code fence around the plan was taken off")
    elif not warnings:
        warnings.append("$: the text around the plan was left out")
    return Found(chosen.value, warnings + _repeated(text[chosen.start : chosen.end]))


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object in a text. `inner` tells that it may be a part of a broken one."""

    value: dict[str, Any]
    start: int
    end: int
    inner: bool

    def is_plan(self) -> bool:
        """Tell whether it is a whole plan; of a broken one, a task or a stage is none."""
        if not self.inner:
            return _like_a_plan(self.value) or _wrapped(Found(self.value)) is not None
        stages = self.value.get("stages")
        return isinstance(stages, list) and bool(stages) and all(map(_like_a_stage, stages))


def _objects(text: str) -> Iterator[_Object]:
    """Yield the outermost JSON objects of a text, in their order."""
    reader, at, broken = json.JSONDecoder(), text.find("{"), False
    while at >= 0:
        try:
            value, end = reader.raw_decode(text, at)
        except (ValueError, RecursionError):
            # braces of a sentence hide nothing; those of a broken plan have its parts within
            broken, end = broken or text[at + 1 :].lstrip()[:1] == '"', at + 1
        else:
            yield _Object(value, at, end, broken)
        at = text.find("{", end)


def _like_a_plan(value: Mapping[str, Any]) -> bool:
    return _has_stages(value) or isinstance(value.get("tasks"), list) or isinstance(value.get("task_graph"), Mapping)


def _has_stages(value: Mapping[str, Any]) -> bool:
    return any(isinstance(value.get(name), list) for name in STAGES)


def _like_a_stage(value: Any) -> bool:
    return isinstance(value, Mapping) and any(name in value for name in _TASKS)


def _wrapped(found: Found, deep: int = _NESTED) -> Found | None:
    """Return the plan within an object that is none itself; None when there isn't exactly one."""
    if not deep or _like_a_plan(found.document):
        return None
    inner = []
    for name in _WRAPPERS:
        value = found.document.get(name)
        if isinstance(value, str):
            value = _loaded(value)
        if isinstance(value, Mapping) and (_like_a_plan(value) or _wrapped(Found(value), deep - 1) is not None):
            inner.append((name, value))
    if len(inner) != 1:
        return None
    return Found(inner[0][1], [*found.warnings, f"$.{inner[0][0]}: became the plan"])


def _loaded(text: str) -> Any:
    """Return the JSON value of a text that is nothing else; None for any other."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _repeated(text: str) -> list[str]:
    """Return a line for each name that an object has twice: of those, JSON readers keep the last one."""
    twice: dict[str, None] = {}

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        twice.update(dict.fromkeys(name for name in names if names.count(name) > 1) if len(set(names)) < len(names) else {})
        return dict(items)

    try:
        json.loads(text, object_pairs_hook=pairs)
    except RecursionError:  # nothing that could be a plan: its checks will say so
        return []
    return [f"$: of the fields named {shown(name, 60)!r} in one object, the last one was taken" for name in twice]


def _noting(found: Found, line: str) -> Found:
    return Found(found.document, [line, *found.warnings])


def _nothing(text: str, objects: list[_Object]) -> PlanningFailed:
    if "{" not in text:
        refused = _REFUSAL.search(text) is not None
        said = f"the model said: {shown(text.strip(), _SHOWN)}" if text.strip() else "the model said nothing"
        if refused:
            return PlanningFailed("planner_refused", f"the model refused to plan; {said}")
        return PlanningFailed("planner_no_plan", f"there is no plan in the answer; {said}")
    if objects and not any(one.inner for one in objects):
        return _no_stages(text)
    return PlanningFailed("planner_wrong_shape", f"the plan is no JSON: {_breaks_off(text)}")


def _no_stages(text: str) -> PlanningFailed:
    said = shown(text.strip(), _SHOWN)
    return PlanningFailed(
        "planner_wrong_shape", f"the answer is JSON, but no plan: nothing in it has stages; the model said: {said}"
    )


def _breaks_off(text: str) -> str:
    start = text.find("{")
    try:
        json.JSONDecoder().raw_decode(text, start)
    except RecursionError:
        return "it is nested too deeply"
    except json.JSONDecodeError as error:
        near = shown(text[max(start, error.pos - 20) : error.pos + 20], 60)
        return f"{error.msg} at character {error.pos - start} of {len(text) - start}, near {near!r}"
    return "what is broken begins after other JSON objects"
