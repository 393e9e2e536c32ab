"""Turns a request for code into a confined command, and how that ended into a result (seed 002: `ExecutionBackend`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pytest_execgo.core.errors import SandboxError, UsageError
from pytest_execgo.plan.confinement import ConfinedCommand, ConfinedEnd, Confinement, Mount
from pytest_execgo.plan.sandbox import ExecutionRequest, ExecutionResult, Language, SandboxConfig
from pytest_execgo.sandbox.languages import ENVIRONMENT, RECIPES, Recipe, module_recipe
from pytest_execgo.sandbox.private_folder import private_folder

WORK = "/work"
"""Where code finds itself and its files."""
TIMED_OUT = "timed out"
"""How the `error` of what its time limit ended begins, whatever the backend."""
_MIB = 1 << 20
_NOT_STARTED = 127


@runtime_checkable
class ExecutionBackend(Protocol):
    """Executes requests that have been checked."""

    @property
    def name(self) -> str:
        """Which one it is."""

    def execute(self, request: ExecutionRequest, config: SandboxConfig) -> ExecutionResult:
        """Run code to its end; `SandboxError` when it could not be confined, `Unsupported` for a language that it can't run."""

    def cleanup(self) -> None:
        """Remove whatever is left. Safe to call twice."""


class ConfinementBackend:
    """Executes code by a mode's `Confinement`. `images` name what mode docker runs a language in, instead of the default."""

    def __init__(self, confinement: Confinement, *, images: Mapping[Language, str] | None = None) -> None:
        self.confinement = confinement
        self._images = dict(images or {})

    @property
    def name(self) -> str:
        """The mode."""
        return self.confinement.mode

    @property
    def isolation(self) -> dict[str, Any]:
        """By what the last code was confined, as far as its mode tells: `mode`, and in mode native `rung` and the like."""
        return {"mode": self.confinement.mode, **getattr(self.confinement, "isolation", {})}

    def execute(self, request: ExecutionRequest, config: SandboxConfig) -> ExecutionResult:
        """Lay the code and its files into a folder, run it confined, and tell how it ended."""
        if config.mode != self.confinement.mode:
            message = f"the configuration asks for mode {config.mode}, and what would run is mode {self.confinement.mode}"
            raise UsageError("mode_mismatch", message, f"SandboxConfig(mode={self.confinement.mode!r}), or the other confinement")
        recipe, own_env, mounts, image = self._means(request.language)
        with private_folder() as folder:
            work = folder / "work"
            work.mkdir(0o755)
            _lay(work, {recipe.file: request.code, **request.files})
            command = ConfinedCommand(
                argv=(*recipe.argv, *request.args),
                cwd=WORK,
                timeout=min(request.timeout or config.timeout, config.timeout),
                memory_bytes=config.max_memory_mb * _MIB,
                cpu_cores=config.max_cpu_percent / 100,
                disk_bytes=config.max_disk_mb * _MIB,
                processes=config.max_processes,
                output_bytes=config.max_output_bytes,
                work=work,
                env={**ENVIRONMENT, **own_env, **config.env_vars, **request.env_vars},
                stdin=request.stdin.encode(),
                mounts=(*mounts, *mounts_of(config)),
                hosts=tuple(config.allowed_hosts) if config.network_enabled else None,
                image=image,
            )
            try:
                end = self.confinement.run(command)
            except SandboxError as error:
                if error.code != "sandbox_launch_failed":
                    raise
                end = ConfinedEnd(_NOT_STARTED, b"", b"", 0.0)
                return _result(request, end, error.message)
        return _result(request, end, limit_error(end, command, config))

    def cleanup(self) -> None:
        """Remove what the mode has left."""
        self.confinement.cleanup()

    def _means(self, language: Language) -> tuple[Recipe, dict[str, str], tuple[Mount, ...], str | None]:
        """Return how the mode runs a language: the recipe, variables and folders that it needs, an image."""
        if self.confinement.mode == "native":
            from pytest_execgo.sandbox.toolchains import toolchain

            tools = toolchain(language)
            return tools.recipe, {"PATH": tools.path}, tools.mounts, None
        if self.confinement.mode == "wasm":
            return module_recipe(language), {}, (), None
        from pytest_execgo.sandbox.images import image_for

        return RECIPES[language], {}, (), image_for(language, self._images)


def mounts_of(config: SandboxConfig) -> tuple[Mount, ...]:
    """Return a configuration's `mount_paths`; `UsageError` for one that is not absolute."""
    found = []
    for source, told in config.mount_paths.items():
        target = told.removesuffix(":rw")
        if not source.startswith("/") or not target.startswith("/"):
            message = f"mount_paths: {source!r}: {told!r}: both have to be absolute folders"
            raise UsageError("bad_mount", message, 'write "/on/the/host": "/inside", or "/inside:rw" for one that may be changed')
        found.append(Mount(Path(source), target, told != target))
    return tuple(found)


def _lay(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def limit_error(end: ConfinedEnd, command: ConfinedCommand, config: SandboxConfig) -> str | None:
    """Say in one sentence which limit ended a command; None when none did."""
    sentences = {
        "timeout": f"{TIMED_OUT}: its limit is {command.timeout:g} s",
        "memory": f"out of memory: its limit is {config.max_memory_mb} MiB",
        "disk": f"out of disk space: its limit is {config.max_disk_mb} MiB",
        "processes": f"out of processes: its limit is {config.max_processes}",
    }
    return None if end.limit is None else sentences[end.limit]


def _result(request: ExecutionRequest, end: ConfinedEnd, error: str | None) -> ExecutionResult:
    return ExecutionResult(
        id=request.id,
        success=end.exit_code == 0 and error is None,
        exit_code=end.exit_code,
        stdout=end.stdout.decode("utf-8", "replace"),
        stderr=end.stderr.decode("utf-8", "replace"),
        error=error,
        duration=end.duration,
        memory_used_bytes=end.memory_used_bytes,
        truncated=end.truncated,
    )
