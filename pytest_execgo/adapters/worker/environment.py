"""What a planner's process sees of the environment: little, nothing secret, and that it shall not phone home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_execgo.core.containment.environment import command_environment

_PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH")  # without these, this package or Python itself may not be found
_QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",  # else it asks on a terminal, for 20 s
    "CREWAI_TESTING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "OTEL_SDK_DISABLED": "true",
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "AUTOGEN_DISABLE_RUNTIME_TRACING": "true",
    "ANONYMIZED_TELEMETRY": "False",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "NO_COLOR": "1",
}


STORAGE = "CREWAI_STORAGE_DIR"
"""The variable of the folder for what frameworks store while they plan: CrewAI's databases."""


def worker_environment(environ: Mapping[str, str], folder: Path, storage: Path) -> dict[str, str]:
    """Return a planner's environment, made of ours (`environ`) and of a folder of its own, in which HOME and the like are made."""
    kept = command_environment(environ)
    for name in _PATHS:
        if environ.get(name):
            parts = (part for part in environ[name].split(os.pathsep) if part)
            kept[name] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
    own = {name: folder / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    for place in own.values():
        place.mkdir(parents=True, exist_ok=True)
    return {**kept, **_QUIET, **{name: str(place) for name, place in own.items()}, STORAGE: str(storage)}
