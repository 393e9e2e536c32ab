"""What a kernel is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_execgo.kernel.executors.policy import UNBOUNDED, Policy

DEFAULT_RUNTIME_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """Where runtime tasks go: base URL, the token that it wants, and who submits (filled in where a task names nobody)."""

    url: str = DEFAULT_RUNTIME_URL
    token: str = ""
    tenant: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Flags and environment of one kernel; `shutdown_timeout` is in seconds, `environment` is what commands get.

    `retain`: how many ended tasks are kept. `export_state`: a file to write the tasks to, instead of serving.

    `compat`: ExecGo's letter, without extensions; otherwise the kernel is strict (docs/kernel.md says where they differ).
    `history`: the file of the journal; none: no history is kept.
    `allowed_hosts`: the `host` or `host:port` that a request's Host header may name; none: any.
    """

    address: str = ":8080"
    grpc_address: str = ":50051"
    data_dir: str = "data"
    max_concurrency: int = 10
    shutdown_timeout: int = 15
    retain: int = 100_000
    export_state: str = ""
    history: str = ""
    ready_fd: int | None = None
    shared_port: bool = False
    token: str = ""
    compat: bool = False
    allowed_hosts: tuple[str, ...] = ()
    open_shell: bool = False
    policy: Policy = UNBOUNDED
    environment: Mapping[str, str] = field(default_factory=dict)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
