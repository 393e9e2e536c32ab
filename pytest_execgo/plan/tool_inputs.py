"""What each tool takes: one strict description a tool, of what a task's `input` (or `params`) may hold.

The fields are those of the kernel's os tools and of the runtime service. Where those ignore an unknown field, or make a text of a
number, a plan is refused: that is nearly always a mistake. Null counts as absent.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from pytest_execgo.plan.base import Document
from pytest_execgo.plan.sandbox import FileName, Language, SandboxMode

_MAX_MS = 2**53 - 1
_MAX_ARGUMENT = 128 * 1024 - 1  # bytes: Linux takes no longer single argument, and a script travels as one
_MAX_CAPTURE = 64 * 1024 * 1024


def _one_argument(text: str) -> str:
    if len(text.encode()) > _MAX_ARGUMENT:
        raise ValueError(f"allowed: at most {_MAX_ARGUMENT} bytes; put it into a file")
    return text


def _variable_name(name: str) -> str:
    if not name or "=" in name:
        raise ValueError("allowed: a variable's name, which is not empty and holds no '='")
    return name


def _url(text: str) -> str:
    if not text.lower().startswith(("http://", "https://", "${{")):
        raise ValueError("allowed: http://…, https://… or ${{ fixtures_url }}/…")
    return text


def _address(text: str) -> str:
    if ":" not in text and "${{" not in text:
        raise ValueError("allowed: host:port")
    return text


Filled = Annotated[str, Field(min_length=1, pattern=r"\S")]
Milliseconds = Annotated[int, Field(ge=0, le=_MAX_MS)]
PositiveMilliseconds = Annotated[int, Field(ge=1, le=_MAX_MS)]
CaptureBytes = Annotated[int, Field(ge=0, le=_MAX_CAPTURE)]
Argument = Annotated[str, AfterValidator(_one_argument)]
Program = Annotated[str, Field(min_length=1), AfterValidator(_one_argument)]
Environment = dict[Annotated[str, AfterValidator(_variable_name)], str]


class ShellInput(Document):
    """`os.shell`: an allowed command with its arguments, or a script."""

    command: str | None = Field(default=None, description="Program to start, without a shell; the kernel allows a list of them.")
    args: list[str] | None = Field(default=None, description="Arguments of `command`.")
    script: str | None = Field(default=None, description="Text that a shell runs; wins over `command`.")
    runner: Literal["auto", "sh", "powershell", "cmd", "direct"] | None = Field(
        default=None, description="Shell for `script`; `direct` goes with `command` only."
    )
    dir: str | None = Field(default=None, description="Working folder, an absolute path; absent: the kernel's own.")


class FileInput(Document):
    """`os.file`: one thing done to one file."""

    action: Literal["read", "write", "append", "delete", "stat"] = Field(description="What is done.")
    path: Annotated[str, Field(min_length=1)] = Field(description="The file, an absolute path.")
    content: str | None = Field(default=None, description="Text to write or append; absent: none.")


class HttpInput(Document):
    """`os.http`: one request."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="Where to, http or https.")
    method: Annotated[str, Field(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]*$")] | None = Field(
        default=None, description="Method; absent: GET."
    )
    headers: dict[str, str] | None = Field(default=None, description="Request headers.")
    body: str | None = Field(default=None, description="Text that is sent.")


class DnsInput(Document):
    """`os.dns`: one lookup."""

    name: Filled = Field(description="Name to look up.")
    record: Literal["ip", "txt", "cname"] | None = Field(default=None, description="Kind of record; absent: ip.")


class TcpInput(Document):
    """`os.tcp`: can a connection be opened."""

    address: Annotated[str, Field(min_length=1), AfterValidator(_address)] = Field(description="host:port.")
    timeout_ms: Annotated[int, Field(ge=0, le=60_000)] | None = Field(default=None, description="Milliseconds; absent or 0: 5000.")


class SleepInput(Document):
    """`os.sleep`: waits."""

    duration_ms: Annotated[int, Field(ge=0, le=600_000)] | None = Field(default=None, description="Milliseconds; absent: 0.")


class NoopInput(Document):
    """`os.noop`: says back what it was told."""

    message: str | None = Field(default=None, description="Text that the output repeats.")


class _Process(Document):
    args: list[Argument] | None = Field(default=None, description="Arguments.")
    cwd: str | None = Field(default=None, description="Working folder, an absolute path; absent: the runtime's own.")
    env: Environment | None = Field(default=None, description="Environment variables, added to the runtime's.")
    timeout_ms: PositiveMilliseconds | None = Field(default=None, description="Milliseconds after which it is killed.")


class CommandExecution(_Process):
    """A program, started without a shell."""

    kind: Literal["command"]
    program: Program = Field(description="Program to start.")


class ScriptExecution(_Process):
    """A script, handed to its interpreter as one argument."""

    kind: Literal["script"]
    script: Program = Field(description="Text of the script.")
    interpreter: Argument | None = Field(default=None, description="Program that runs it; absent: sh.")


class CodeExecution(Document):
    """Code in a language, executed in a sandbox in a folder of its own."""

    kind: Literal["code"]
    language: Language = Field(description="Language of the code.")
    code: Annotated[str, Field(min_length=1)] = Field(description="The code: a whole program.")
    stdin: str | None = Field(default=None, description="Its standard input; absent: empty.")
    args: list[Argument] | None = Field(default=None, description="Arguments.")
    env: Environment | None = Field(default=None, description="Environment variables.")
    env_vars: Environment | None = Field(default=None, description="Another name of `env`.")
    files: dict[FileName, str] | None = Field(default=None, description="Files that lie beside the code: relative paths to texts.")
    timeout_ms: PositiveMilliseconds | None = Field(default=None, description="Milliseconds after which it is killed.")


class EmitExecution(Document):
    """Succeeds with a given output."""

    kind: Literal["emit"]
    payload: Any = Field(default=None, description="The output.")
    delay_ms: Milliseconds | None = Field(default=None, description="Milliseconds before it ends.")


class SleepExecution(Document):
    """Succeeds after a while."""

    kind: Literal["sleep"]
    duration_ms: Milliseconds | None = Field(default=None, description="Milliseconds; absent: 0.")


class FailExecution(Document):
    """Fails as told."""

    kind: Literal["fail"]
    code: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, description="Error code.")
    message: str | None = Field(default=None, description="Error message.")
    delay_ms: Milliseconds | None = Field(default=None, description="Milliseconds before it ends.")
    retryable: bool | None = Field(default=None, description="Whether the error says that a retry may help.")


class RuntimeLimits(Document):
    """What a runtime task may use; output limits are each stream's."""

    wall_time_ms: PositiveMilliseconds | None = None
    cpu_time_sec: Annotated[int, Field(ge=1, le=2**31)] | None = None
    memory_bytes: Annotated[int, Field(ge=1, le=2**62)] | None = None
    pids_max: Annotated[int, Field(ge=1, le=2**22)] | None = None
    cpu_cores: Annotated[float, Field(gt=0, le=4096)] | None = None
    stdout_max_bytes: CaptureBytes | None = None
    stderr_max_bytes: CaptureBytes | None = None


class RuntimeSandbox(Document):
    """The isolation asked for; `strict` refuses to run with less. `mode` is a sandbox, which is had or the task fails.

    `folder`, an absolute path, is what a sandbox has of the host and may change; absent: the working folder.
    """

    profile: str | None = None
    strict: bool | None = None
    mode: SandboxMode | None = None
    folder: str | None = None
    network_enabled: bool | None = None
    allowed_hosts: list[str] | None = None


class RuntimeControl(Document):
    """Whose task it is."""

    tenant: str | None = None
    owner: str | None = None


class _RuntimeInput(Document):
    task_id: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Id in the runtime; absent: the task's."
    )
    limits: RuntimeLimits | None = Field(default=None, description="What the task may use.")
    sandbox: RuntimeSandbox | None = Field(default=None, description="Isolation asked for.")
    policy: dict[str, Any] | None = Field(default=None, description="Handed to the runtime as it is.")
    control_context: RuntimeControl | None = Field(default=None, description="Whose task it is.")
    metadata: dict[str, Any] | None = Field(default=None, description="Handed to the runtime as it is.")


class RuntimeCommandInput(_RuntimeInput):
    """`runtime.command`."""

    execution: CommandExecution


class RuntimeScriptInput(_RuntimeInput):
    """`runtime.script`."""

    execution: ScriptExecution


class RuntimeCodeInput(_RuntimeInput):
    """`runtime.code` and `os.code`."""

    execution: CodeExecution


class RuntimeEmitInput(_RuntimeInput):
    """`runtime.emit`."""

    execution: EmitExecution


class RuntimeSleepInput(_RuntimeInput):
    """`runtime.sleep`."""

    execution: SleepExecution


class RuntimeFailInput(_RuntimeInput):
    """`runtime.fail`."""

    execution: FailExecution


class CliInput(Document):
    """`cli.run`: a command of the kernel's CLI skills."""

    command: Filled = Field(description="Program to start.")
    args: list[str] | None = Field(default=None, description="Its arguments.")


class McpInput(Document):
    """`mcp.call`: whatever the task's `tool_name` takes."""

    model_config = ConfigDict(extra="allow")


TOOL_INPUTS: dict[str, type[Document]] = {
    "os.shell": ShellInput,
    "os.file": FileInput,
    "os.http": HttpInput,
    "os.dns": DnsInput,
    "os.tcp": TcpInput,
    "os.sleep": SleepInput,
    "os.noop": NoopInput,
    "os.code": RuntimeCodeInput,
    "runtime.command": RuntimeCommandInput,
    "runtime.script": RuntimeScriptInput,
    "runtime.code": RuntimeCodeInput,
    "runtime.emit": RuntimeEmitInput,
    "runtime.sleep": RuntimeSleepInput,
    "runtime.fail": RuntimeFailInput,
    "mcp.call": McpInput,
    "cli.run": CliInput,
}
"""What a task's arguments may hold, by the tool that it uses (`plan/tools.tool_of`)."""
