"""Problems of shape: what pydantic finds, told by place, by what was found, and by what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pytest_execgo.core.jsonvalue import Part, clean_json, describe, path_text
from pytest_execgo.plan.problems import Problem, Suggester

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "string_type": "text",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "string_too_short": "text of at least {min_length} character(s)",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
    "literal_error": "{expected}",
}


def check_shape(model: type[Model], document: object) -> tuple[Model | None, Any, list[Problem]]:
    """Return the model (None if there are problems), a clean copy of the document, and every problem of its shape.

    The copy lacks what JSON can't carry (see `clean_json`), which is among the problems.
    """
    clean, faults = clean_json(document)
    problems = [Problem(path_text(fault.parts), fault.code, fault.message) for fault in faults]
    if any(not fault.parts for fault in faults):
        return None, clean, problems
    try:
        found = model.model_validate(clean)
    except ValidationError as error:
        faulty = {fault.parts for fault in faults}
        problems += [
            Problem(path_text(parts), code, message)
            for parts, code, message in told_faults(model, clean, error, Suggester())
            if not any(parts[:depth] in faulty for depth in range(1, len(parts) + 1))
        ]
        return None, clean, problems
    return (None if problems else found), clean, problems


def told_faults(
    model: type[BaseModel], document: Any, error: ValidationError, suggest: Suggester
) -> Iterator[tuple[tuple[Part, ...], str, str]]:
    """Tell each of a model's complaints about a document once: its place, a code, and what is wrong with what would be right."""
    wanted: dict[tuple[Part, ...], list[str]] = {}
    for item in error.errors(include_url=False, include_input=False):
        parts, value = _place(document, item["loc"])
        kind, context = item["type"], item.get("ctx", {})
        if item["loc"][-1:] == ("[key]",) and kind == "value_error" and parts:
            yield parts, "bad_name", f"found {describe(parts[-1])} as a name; {context['error']}"
        elif kind == "missing":
            yield parts, "missing", f"required field {parts[-1]!r} is missing"
        elif kind == "extra_forbidden":
            fields = list(_model_at(model, parts[:-1]).model_fields)
            yield parts, "unknown_field", suggest.unknown("field", parts[-1], fields)
        elif kind == "too_short" and value == []:
            yield parts, "empty", f"is empty; allowed: at least {context['min_length']} item(s)"
        elif kind == "literal_error":
            names = re.findall(r"'([^']*)'", context["expected"])
            yield parts, "bad_value", f"found {describe(value)}; {suggest.allowed(value, names)}"
        elif kind == "value_error":
            yield parts, "bad_value", f"found {describe(value)}; {context['error']}"
        elif kind in _WANTED:
            wanted.setdefault(parts, []).append(_WANTED[kind].format(**context))
        else:
            yield parts, "bad_value", f"found {describe(value)}; {item['msg']}"
    for parts, options in wanted.items():  # the members of a union each have an error for the same place
        _, value = _place(document, parts)
        allowed = " or ".join(dict.fromkeys(options))
        yield parts, "bad_value", f"found {describe(value)}; allowed: {allowed}"


def _place(document: Any, location: tuple[Part, ...]) -> tuple[tuple[Part, ...], Any]:
    """Return the place that pydantic's location means, without the names of union members in it, and what is there."""
    parts: list[Part] = []
    value = document
    for depth, part in enumerate(location):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif isinstance(value, dict) and depth == len(location) - 1 and part != "[key]":  # so pydantic marks a field's name
            value = None
        else:
            continue
        parts.append(part)
    return tuple(parts), value


def _model_at(model: type[BaseModel], parts: tuple[Part, ...]) -> type[BaseModel]:
    for part in parts:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation such as `list[Task] | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
