"""A configuration, checked: what the options mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pytest_execgo.benchmark.gates import Condition, parse_gates
from pytest_execgo.core.errors import UsageError
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.provider import ModelChoice
from pytest_execgo.wiring.baselines import parse_baseline
from pytest_execgo.wiring.collector import collector

BACKENDS = ("embedded", "containers", "native", "external")
_ENGINES = ("docker", "podman", "container", "testcontainers")
MODES: tuple[str, ...] = get_args(Mode)
MOST_REPETITIONS = 10_000
_MOST_TOKENS, _LONGEST_ANSWER_S = 10_000_000, 3600
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run, on what, and where to. `root` is the project's folder; `all` on an axis is still unexpanded here.

    A dry run is one of the matrix, whether that was asked for or not.

    `backend_named` tells that this very call asked for the backend: one that can't be had is an error then, not a skip.
    """

    root: Path
    matrix: bool
    dry_run: bool
    scenarios: tuple[str, ...]
    frameworks: tuple[str, ...]
    modes: tuple[str, ...]
    chaos: tuple[str, ...]
    repeat: int
    seed: int | None
    cells: tuple[str, ...]
    backend: str
    bin: Path | None
    image: str | None
    runtime_image: str | None
    base_image: str | None
    url: str | None
    runtime_url: str | None
    fixtures_url: str | None
    token: str | None
    record: bool
    provider: str | None
    model: ModelChoice
    out: Path
    resume: bool
    backend_named: bool = False
    gates: tuple[Condition, ...] = ()
    baseline_compare: Path | None = None
    baseline_save: Path | None = None
    trace: bool = False
    otel: str | None = None
    progress: bool = True
    junit_properties: bool = True

    @property
    def usual_out(self) -> Path:
        """Where artifacts go when nobody says where to."""
        return self.root / "var/runs"

    @classmethod
    def parse(
        cls, values: Mapping[str, str], root: Path, *, backend_named: bool = False, base_image_given: bool = False
    ) -> Settings:
        """Check option values (see `options.effective`); `UsageError` names the option, the value and what is allowed.

        `base_image_given` tells that the command line named the base image: only then it must go with the backend.
        """
        backend = values["backend"] or "embedded"
        if backend not in BACKENDS:
            raise _unknown_backend(backend)
        baseline = parse_baseline(_names(values["baseline"]), root)
        settings = cls(
            root=root,
            matrix=_flag("matrix", values["matrix"]) or _flag("dry-run", values["dry-run"]),
            dry_run=_flag("dry-run", values["dry-run"]),
            scenarios=_names(values["scenario"]),
            frameworks=_names(values["framework"]),
            modes=_names(values["mode"]),
            chaos=_names(values["chaos"]),
            repeat=_number("repeat", values["repeat"], 1, MOST_REPETITIONS),
            seed=_number("seed", values["seed"], 0, 2**63 - 1) if values["seed"] else None,
            cells=_names(values["cell"]),
            backend=backend,
            bin=Path(values["bin"]) if values["bin"] else None,
            image=values["image"] or None,
            runtime_image=values["runtime-image"] or None,
            base_image=values["base-image"] or None,
            url=values["url"] or None,
            runtime_url=values["runtime-url"] or None,
            fixtures_url=values["fixtures-url"] or None,
            token=values["token"] or None,
            record=_flag("record", values["record"]),
            provider=values["provider"] or None,
            model=_model(values),
            out=root / _folder("out", values["out"]),
            resume=_flag("resume", values["resume"]),
            backend_named=backend_named,
            gates=parse_gates(_names(values["gate"])),
            baseline_compare=baseline.get("compare"),
            baseline_save=baseline.get("save"),
            trace=_flag("trace", values["trace"]),
            otel=collector("--execgo-otel", values["otel"]) if values["otel"] else None,
            progress=_flag("progress", values["progress"]),
            junit_properties=_flag("junit-properties", values["junit-properties"]),
        )
        settings._check_backend()
        if base_image_given:
            settings._check_image("base-image", settings.base_image)
        settings._check_gates()
        return settings

    def _check_gates(self) -> None:
        for gate in self.gates:
            if gate.needs_baseline and self.baseline_compare is None:
                said = f"gate '{gate}' needs a baseline to compare with"
                raise UsageError("option_missing", said, "add --execgo-baseline compare=FILE")

    def _check_backend(self) -> None:
        if self.backend == "native" and self.bin is None:
            raise UsageError("option_missing", "backend 'native' needs the kernel's binary", "add --execgo-bin PATH")
        if self.backend == "external":
            for option, value in (("url", self.url), ("runtime-url", self.runtime_url), ("fixtures-url", self.fixtures_url)):
                if value is None:
                    raise UsageError("option_missing", f"backend 'external' needs --execgo-{option}", f"add --execgo-{option} URL")
        if self.bin is not None and self.backend != "native":
            raise UsageError(
                "option_conflict", f"--execgo-bin does not go with backend {self.backend!r}", "add --execgo-backend native"
            )
        self._check_image("image", self.image)
        self._check_image("runtime-image", self.runtime_image)
        if self.token is not None and self.backend != "external":
            said = f"a token does not go with backend {self.backend!r}"
            raise UsageError("option_conflict", said, "add --execgo-backend external")
        if (self.url or self.runtime_url or self.fixtures_url) and self.backend != "external":
            raise UsageError(
                "option_conflict", f"service URLs do not go with backend {self.backend!r}", "add --execgo-backend external"
            )

    def _check_image(self, option: str, image: str | None) -> None:
        if image is not None and self.backend != "containers":
            said = f"--execgo-{option} does not go with backend {self.backend!r}"
            raise UsageError("option_conflict", said, "add --execgo-backend containers")


def _unknown_backend(name: str) -> UsageError:
    """Offer the nearest backend; what people call an engine by is no name of ours, nor near to one."""
    error = UsageError.unknown("backend", name, BACKENDS)
    if name.lower() not in _ENGINES:
        return error
    return UsageError(error.code, error.message, f"did you mean 'containers'? allowed: {', '.join(sorted(BACKENDS))}")


def _model(values: Mapping[str, str]) -> ModelChoice:
    return ModelChoice(
        model=values["model"].strip(),
        temperature=_temperature(values["temperature"]),
        max_tokens=_number("max-tokens", values["max-tokens"], 1, _MOST_TOKENS),
        timeout_ms=_number("model-timeout", values["model-timeout"], 1, _LONGEST_ANSWER_S) * 1000,
    )


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise UsageError("bad_value", f"--execgo-temperature: {text!r} can't be used", "give a number from 0 to 2")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _folder(name: str, text: str) -> str:
    if not text.strip():
        raise UsageError("bad_value", f"--execgo-{name}: an empty path can't be used", "give a folder, or leave the option out")
    return text


def _flag(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError("bad_value", f"--execgo-{name}: {text!r} is neither true nor false", "use true or false")


def _number(name: str, text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise UsageError("bad_value", f"--execgo-{name}: {text!r} can't be used", f"give a whole number from {least} to {most}")
    return value
