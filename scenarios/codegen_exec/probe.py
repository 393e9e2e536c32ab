"""Calls functions of the patched modules in a process of its own; run by the verifier, which alone knows the right answers.

The working folder holds the package timesheet. Standard input: `[[function, arguments], …]`, where a function is such as
`clock.shift_minutes`, and `{"date": …}` and `{"decimal": …}` stand for values that JSON lacks. Standard output: for each call
`{"function", "returned"}` (a mapping as the list of its values) or `{"function", "raised"}` (the exception's class and bases).
"""

import importlib
import json
import resource
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

OUTPUT_LIMIT = 1 << 20  # bytes: a module that prints for ever must not fill the disk


def _restored(document: dict[str, str]) -> object:
    ((kind, text),) = document.items()
    return date.fromisoformat(text) if kind == "date" else Decimal(text)


def _argument(value: Any) -> Any:
    """Days and shifts are lists of tuples."""
    return [tuple(item) for item in value] if isinstance(value, list) else value


def _answer(name: str, function: Any, arguments: list[Any]) -> dict[str, Any]:
    try:
        result = function(*map(_argument, arguments))
    except Exception as error:
        return {"function": name, "raised": [kind.__name__ for kind in type(error).__mro__]}
    return {"function": name, "returned": list(result.values()) if isinstance(result, dict) else result}


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_LIMIT, OUTPUT_LIMIT))
    calls = json.load(sys.stdin, object_hook=_restored)
    sys.path.insert(0, str(Path.cwd()))
    modules = {name: importlib.import_module(f"timesheet.{name}") for name in sorted({call[0].split(".")[0] for call in calls})}
    answers = []
    for name, arguments in calls:
        module, function = name.split(".")
        answers.append(_answer(name, getattr(modules[module], function), arguments))
    sys.stdout.write(json.dumps(answers, default=repr))


_main()
