"""Every option, once: `--execgo-NAME` for pytest, `execgo_NAME` in ini files, `PYTEST_EXECGO_NAME`, `--NAME` without pytest.

Read at every start of pytest, so this module imports nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pytest_execgo.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `list` takes comma lists and repetition; `flag` takes no value on the command line."""

    name: str
    kind: Literal["flag", "list", "text"]
    default: str
    metavar: str
    help: str
    in_ini: bool = True

    @property
    def dest(self) -> str:
        """Name of the value in pytest's options, and the ini key."""
        return f"execgo_{self.name.replace('-', '_')}"

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"PYTEST_{self.dest.upper()}"


OPTIONS = (
    Option("matrix", "flag", "", "", "collect scenarios and run every cell of the matrix"),
    Option("dry-run", "flag", "", "", "list the cells, and why any is excluded; run nothing", in_ini=False),
    Option("scenario", "list", "all", "NAMES", "scenarios to run (comma list, repeatable, or all)"),
    Option("framework", "list", "all", "NAMES", "frameworks whose adapters plan: langgraph, crewai, autogen"),
    Option("mode", "list", "replay", "MODES", "replay a recorded plan, or plan live"),
    Option("chaos", "list", "none", "NAMES", "chaos profiles"),
    Option("repeat", "text", "1", "N", "repetitions of every cell"),
    Option("seed", "text", "", "N", "seed of the sweep (default: each scenario's own)"),
    Option("cell", "list", "", "CELLS", "only these cells: scenario:framework:mode:chaos:repetition, or a cell id", in_ini=False),
    Option("backend", "text", "embedded", "NAME", "who runs the stack: embedded, containers, native, external"),
    Option("bin", "text", "", "PATH", "an ExecGo binary to be the kernel (backend native)"),
    Option("image", "text", "", "IMAGE", "an ExecGo image to be the kernel (backend containers; default: ours, built when needed)"),
    Option("runtime-image", "text", "", "IMAGE", "an image to be the runtime service (backend containers)"),
    Option("base-image", "text", "", "IMAGE", "what our images are built on (backend containers; default: python:X.Y-slim)"),
    Option("url", "text", "", "URL", "a kernel that already runs (backend external)"),
    Option("runtime-url", "text", "", "URL", "its runtime service (backend external)"),
    Option("fixtures-url", "text", "", "URL", "its fixtures service (backend external)"),
    Option("token", "text", "", "TOKEN", "bearer token of an external stack; give it by PYTEST_EXECGO_TOKEN"),
    Option("provider", "text", "", "NAME", "whose model plans live: openai (any OpenAI-compatible service), mock (a scripted one)"),
    Option("model", "text", "", "NAME", "the model that plans live (default: OPENAI_MODEL)"),
    Option("temperature", "text", "0", "T", "its temperature, from 0 to 2"),
    Option("max-tokens", "text", "4096", "N", "how long an answer of it may be, in tokens"),
    Option("model-timeout", "text", "60", "SECONDS", "how long it may take for an answer"),
    Option("out", "text", "var/runs", "DIR", "folder of the runs' artifacts"),
    Option("baseline", "list", "", "FILES", "compare=FILE: compare the sweep with a baseline; save=FILE: save it as one; or both"),
    Option("gate", "list", "", "CONDITIONS", "what the sweep must meet to pass, for example 'pass_rate>=0.95,regression<=0'"),
    Option("trace", "flag", "", "", "write trace.json for every run, to be opened in Perfetto (docs/traces.md)"),
    Option("otel", "text", "", "URL", "send every run's spans to this OTLP/HTTP collector (needs the extra otel)"),
    Option("record", "flag", "", "", "keep what frameworks plan live under the scenario's recordings/", in_ini=False),
    Option("resume", "flag", "", "", "go on with the latest sweep in the artifacts folder that was cut short", in_ini=False),
    Option("progress", "text", "on", "on|off", "a line that says how far the sweep is, on a terminal, without -q or -s"),
    Option("junit-properties", "text", "on", "on|off", "each cell's properties in --junitxml; the strictest schemas forbid them"),
)


def effective(given: Mapping[str, object], ini: Mapping[str, str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return each option's value as text: the command line wins over the environment, that over ini files, that over defaults.

    `given` holds what the command line said, by option name: text, a list of texts, True, or None when not given.
    """
    variables = os.environ if environment is None else environment
    known = {option.variable for option in OPTIONS}
    for name in variables:
        if name.startswith("PYTEST_EXECGO_") and name not in known:
            raise UsageError.unknown("environment variable", name, known)
    return {option.name: _value(option, given.get(option.name), ini, variables) for option in OPTIONS}


def asked_for(name: str, given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether the command line or the environment names an option's value, rather than a project's files."""
    variables = os.environ if environment is None else environment
    option = next(option for option in OPTIONS if option.name == name)
    return given.get(name) is not None or bool(variables.get(option.variable))


def _value(option: Option, given: object, ini: Mapping[str, str], variables: Mapping[str, str]) -> str:
    if isinstance(given, list):
        if given and not any(text.strip(", ") for text in given) and not option.default:
            # most often a variable that is not set: what it was to demand must not be dropped in silence
            said = f"--execgo-{option.name}: an empty text can't be used"
            raise UsageError("bad_value", said, "give a value, or leave the option out")
        given = ",".join(given)
    if given is True:
        return "true"
    if given is not None and given is not False:
        return str(given)
    return variables.get(option.variable) or ini.get(option.name) or option.default
