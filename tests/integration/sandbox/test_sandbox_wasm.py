"""Mode wasm with real modules, each written to do one thing that a sandbox is there for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_execgo.core.errors import SandboxError
from pytest_execgo.core.process_identity import ProcessIdentity
from pytest_execgo.plan.sandbox import ConfinedCommand, ConfinedEnd, ExecutionRequest, Language, Mount, SandboxConfig
from pytest_execgo.sandbox.executor import SandboxExecutor
from pytest_execgo.sandbox.wasm import WasmConfinement
from pytest_execgo.sandbox.wasm_gate import used

PROBLEM = WasmConfinement().problem()
pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=PROBLEM or "")

MIB = 1 << 20
NO_SPACE = 51
IMPORTS = """
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate" (func $fd_allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
"""
COMMAND = ConfinedCommand(
    argv=("it.wasm",),
    cwd="/w",
    timeout=60,
    memory_bytes=16 * MIB,
    cpu_cores=1,
    disk_bytes=1 * MIB,
    processes=1,
    output_bytes=1000,
)
Run = Callable[..., ConfinedEnd]


def module(body: str, path: str = "", pages: int = 4) -> bytes:
    """Return a WASI command; `path` is at 1024, and an entry for `fd_read`/`fd_write` of the 64 KiB from 65536 at 0."""
    import wasmtime

    text = f"""(module {IMPORTS} (memory (export "memory") {pages})
      (data (i32.const 0) "\\00\\00\\01\\00\\00\\00\\01\\00") (data (i32.const 1024) "{path}")
      (func $open (param $fd i32) (param $flags i32) (param $rights i64) (result i32)
        (call $path_open (local.get $fd) (i32.const 1) (i32.const 1024) (i32.const {len(path)})
          (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16)))
      (func (export "_start") (local $error i32) {body}))"""
    return bytes(wasmtime.wat2wasm(text))


def reads(path: str, fd: int = 3) -> bytes:
    """Print a file; the exit code is the error with which it could not be opened."""
    return module(
        f"""(call $open (i32.const {fd}) (i32.const 0) (i64.const 2)) local.tee $error
        (if (then (call $proc_exit (local.get $error))))
        (drop (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)))
        (i32.store (i32.const 4) (i32.load (i32.const 20)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))""",
        path,
    )


def fills(path: str, fd: int = 3, before: str = "") -> bytes:
    """Write to a file until that fails; the exit code is the error."""
    return module(
        f"""(call $open (i32.const {fd}) (i32.const 1) (i64.const 66)) local.tee $error
        (if (then (call $proc_exit (local.get $error)))) {before}
        (loop $on
          (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20)) local.tee $error
          i32.eqz br_if $on)
        (call $proc_exit (local.get $error))""",
        path,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a module as `it.wasm` in a work folder of its own, `tmp_path / "work"`."""
    work = tmp_path / "work"
    work.mkdir()
    confinement = WasmConfinement()

    def go(code: bytes, **changes: object) -> ConfinedEnd:
        (work / "it.wasm").write_bytes(code)
        return confinement.run(replace(COMMAND, work=work, **changes))  # type: ignore[arg-type]

    return go


def test_a_module_reads_what_it_is_given_and_says_how_it_ended(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "data").write_text("what is there")
    end = run(reads("data"))
    assert (end.exit_code, end.stdout, end.stderr, end.limit, end.truncated) == (0, b"what is there", b"", None, False)
    assert end.memory_used_bytes == 4 * 65536
    for code in (7, 126, 255, 256 + 7):  # of which a process's exit code is the last byte
        assert run(module(f"(call $proc_exit (i32.const {code})) (loop $on br $on)")).exit_code == code & 255


def test_standard_input_comes_whole(run: Run) -> None:
    echo = module(
        """(drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 20)))
        (i32.store (i32.const 4) (i32.load (i32.const 20)))
        (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 20)))"""
    )
    assert run(echo, stdin=b"typed").stderr == b"typed"


def test_arguments_and_environment_are_the_commands_and_no_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of the caller")
    sizes = "(call ${name}_sizes_get (i32.const 16) (i32.const 20)) drop (call $proc_exit (i32.load (i32.const 16)))"
    assert run(module(sizes.replace("{name}", "environ"))).exit_code == 0
    assert run(module(sizes.replace("{name}", "environ")), env={"A": "1", "B": "2"}).exit_code == 2
    assert run(module(sizes.replace("{name}", "args")), argv=("it.wasm", "a", "b")).exit_code == 3


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "../../../../etc/passwd", "sub/../../outside", "link", "up/outside"])
@pytest.mark.parametrize("fd", [0, 1, 3, 4, 5, 6])
def test_no_path_and_no_descriptor_leads_to_the_host(run: Run, tmp_path: Path, path: str, fd: int) -> None:
    (tmp_path / "outside").write_text("SECRET")
    (tmp_path / "mount").mkdir()
    (tmp_path / "work" / "sub").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "work" / "up").symlink_to("..")
    end = run(reads(path, fd), mounts=(Mount(tmp_path / "mount", "/data"),))
    assert end.exit_code != 0
    assert end.stdout == b""


def test_a_mount_is_read_only_unless_it_is_writable(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "there").write_text("given")
    mounts = (Mount(data, "/data"),)
    assert run(reads("there", fd=4), mounts=mounts).stdout == b"given"
    makes = module("(call $proc_exit (call $open (i32.const 4) (i32.const 1) (i64.const 66)))", "made")
    assert run(makes, mounts=mounts).exit_code != 0
    overwrites = module("(call $proc_exit (call $open (i32.const 4) (i32.const 8) (i64.const 66)))", "there")
    assert run(overwrites, mounts=mounts).exit_code != 0
    assert [path.name for path in data.iterdir()] == ["there"]
    assert (data / "there").read_text() == "given"
    assert run(makes, mounts=(Mount(data, "/data", writable=True),)).exit_code == 0
    assert (data / "made").exists()


def test_a_folder_of_a_mount_can_be_where_it_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "it.wasm").write_bytes(reads("near", fd=5))
    (tmp_path / "data" / "sub" / "near").write_text("by")
    command = replace(COMMAND, cwd="/data/sub", mounts=(Mount(tmp_path / "data", "/data"),))
    assert WasmConfinement().run(command).stdout == b"by"
    makes = "(call $proc_exit (call $open (i32.const {fd}) (i32.const 1) (i64.const 66)))"
    for fd in (3, 5):  # by its own path, and as what relative paths are in
        (tmp_path / "data" / "sub" / "it.wasm").write_bytes(module(makes.replace("{fd}", str(fd)), "new"))
        assert WasmConfinement().run(command).exit_code != 0
    assert not list(tmp_path.rglob("new"))


def test_temporary_files_are_bounded_and_gone_afterwards(run: Run, tmp_path: Path) -> None:
    before = {path.name for path in Path(tempfile.gettempdir()).glob("execgo-sandbox-*")}
    end = run(fills("big", fd=4))
    assert (end.exit_code, end.limit) == (NO_SPACE, "disk")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["it.wasm"]
    mine = [path for path in Path(tempfile.gettempdir()).glob("execgo-sandbox-*/tmp/big") if path.parents[1].name not in before]
    assert mine == []


def test_files_that_are_more_than_the_disk_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "big").write_bytes(bytes(2 * MIB))
    with pytest.raises(SandboxError) as caught:
        run(reads("big"))
    assert caught.value.code == "files_too_large"


def test_a_full_disk_is_an_error_inside_and_no_more_than_the_bound_outside(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    mounts = (Mount(tmp_path / "data", "/data", writable=True),)
    for fd in (3, 4):  # its working folder, and one that is mounted
        end = run(fills("big", fd=fd), mounts=mounts)
        assert (end.exit_code, end.limit) == (NO_SPACE, "disk")
    assert 0.8 * MIB < used(str(tmp_path / "data")) <= 1 * MIB
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["it.wasm"]


def test_a_file_that_has_no_name_any_more_is_bounded_too(run: Run) -> None:
    end = run(fills("big", before="(drop (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 3)))"))
    assert end.exit_code == NO_SPACE


def test_space_can_not_be_laid_aside_beyond_the_bound(run: Run) -> None:
    allocates = "(call $fd_allocate (i32.load (i32.const 16)) (i64.const 0) (i64.const 2000000)) local.set $error"
    assert run(fills("big", before=f"{allocates} (call $proc_exit (local.get $error))")).exit_code == NO_SPACE


@pytest.mark.parametrize("call", ["fd_close (i32.const 1)", "fd_renumber (i32.load (i32.const 16)) (i32.const 1)"])
def test_a_file_in_the_place_of_standard_output_is_bounded_too(run: Run, call: str) -> None:
    opened_as_output = f"(drop (call ${call}))"
    if "close" in call:
        opened_as_output += "(drop (call $open (i32.const 3) (i32.const 0) (i64.const 66)))"
    else:
        opened_as_output += "(i32.store (i32.const 16) (i32.const 1))"
    end = run(fills("big", before=opened_as_output))
    assert end.exit_code == NO_SPACE


def test_memory_does_not_grow_beyond_the_limit(run: Run) -> None:
    grow = "(call $proc_exit (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)))"
    assert run(module(grow.replace("{pages}", "100"))).exit_code == 0
    assert run(module(grow.replace("{pages}", "1000"))).exit_code == 1
    end = run(module("", pages=1000))
    assert (end.exit_code, end.limit) == (-signal.SIGABRT, "memory")


@pytest.mark.parametrize("sleeps", [False, True])
def test_a_timeout_ends_what_computes_and_what_waits(run: Run, sleeps: bool) -> None:
    """A clock's subscription at 1024: in 10^18 ns."""
    waits = "(drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 20)))"
    clock = "(i32.store (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const 1000000000000000000))"
    end = run(module(clock + waits if sleeps else "(loop $on br $on)"), timeout=0.5)
    assert (end.exit_code, end.limit) == (-signal.SIGKILL, "timeout")
    assert 0.5 <= end.duration < 30


def test_a_small_share_of_the_processor_is_soon_used_up(run: Run) -> None:
    end = run(module("(loop $on br $on)"), cpu_cores=0.01)
    assert (end.exit_code, end.limit) == (-signal.SIGXCPU, "timeout")
    assert end.duration < 50


def test_a_flood_is_bounded_while_it_flows(run: Run) -> None:
    flood = "(loop $on (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))) br $on)"
    end = run(module(flood), timeout=5)
    assert end.limit == "timeout"
    assert end.truncated
    assert len(end.stdout) <= 1000


def test_a_trap_is_an_end_that_says_why(run: Run) -> None:
    end = run(module("unreachable"))
    assert end.exit_code == -signal.SIGABRT
    assert b"unreachable" in end.stderr


def test_there_is_nothing_to_connect_with(run: Run) -> None:
    accept = (
        "(call $sock_accept (i32.const {fd}) (i32.const 0) (i32.const 16)) local.set $error (call $proc_exit (local.get $error))"
    )
    assert [run(module(accept.replace("{fd}", str(fd)))).exit_code for fd in (0, 3, 4, 5)].count(0) == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"no module", "no WebAssembly module"),
        (b"\0asm\x01\0\0\0", "exports no function _start"),
        ('(module (import "env" "magic" (func)) (func (export "_start")))', "magic"),
        ('(module (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "_start")))', "fd_write"),
    ],
)
def test_what_is_no_wasi_command_is_refused_with_its_reason(run: Run, code: bytes | str, said: str) -> None:
    import wasmtime

    with pytest.raises(SandboxError, match=said):
        run(code if isinstance(code, bytes) else bytes(wasmtime.wat2wasm(code)))


def test_calls_before_the_start_get_nowhere(run: Run) -> None:
    """A module's own start function runs while it is bound, when the gates are still closed."""
    import wasmtime

    early = f"""(module {IMPORTS} (memory (export "memory") 1) (func $early (drop (call $fd_close (i32.const 1))))
      (func (export "_start")) (start $early))"""
    with pytest.raises(SandboxError, match="instantiated"):
        run(bytes(wasmtime.wat2wasm(early)))


def test_an_interpreter_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "any.wasm").write_bytes(reads("code"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "code").write_text("source")
    confinement = WasmConfinement({"python": tmp_path / "any.wasm"})
    assert confinement.problem() is None
    assert confinement.run(replace(COMMAND, work=tmp_path / "work", argv=("python", "code"))).stdout == b"source"


CODE: dict[Language, str] = {
    "python": "import sys, other; print(other.x, sys.argv[1:], sys.stdin.read())",
    "javascript": "import {x} from './other.js'; console.log(x, scriptArgs.slice(1))",
}


@pytest.mark.parametrize(("language", "file", "said"), [("python", "python", "1 ['a'] in"), ("javascript", "quickjs", "1 a")])
def test_interpreters_that_can_be_fetched_run_code(language: Language, file: str, said: str) -> None:
    interpreter = Path(os.environ.get("EXECGO_TEST_WASM_PYTHON", "none")).with_name(f"{file}.wasm")
    if not interpreter.is_file():
        pytest.skip(f"EXECGO_TEST_WASM_PYTHON names no folder with {interpreter.name} (docs/sandbox.md says where to get it)")
    request = ExecutionRequest(
        id="1",
        language=language,
        code=CODE[language],
        args=["a"],
        stdin="in",
        files={"other.py": "x = 1", "other.js": "export const x = 1"},
    )
    with SandboxExecutor(SandboxConfig(mode="wasm"), WasmConfinement({language: interpreter})) as executor:
        result = executor.execute(request)
    assert (result.success, result.stdout) == (True, f"{said}\n"), result
    assert result.memory_used_bytes


def test_the_command_line_takes_interpreters(tmp_path: Path) -> None:
    (tmp_path / "any.wasm").write_bytes(module("(call $proc_exit (i32.const 7))"))
    words = [sys.executable, "-m", "pytest_execgo.sandbox", "exec", "--mode", "wasm", "--cwd", "/w"]
    given = ["--interpreter", f"python={tmp_path / 'any.wasm'}"]
    for options, said in ((given, ""), ([], "has no interpreter for python")):
        done = subprocess.run(
            [*words, *options, "--", "python"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert said in done.stderr
        assert done.returncode == (125 if said else 7)


def test_many_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    ends: dict[int, ConfinedEnd] = {}

    def one(number: int) -> None:
        work = tmp_path / str(number)
        work.mkdir()
        (work / "it.wasm").write_bytes(reads("mine"))
        (work / "mine").write_text(str(number))
        ends[number] = WasmConfinement().run(replace(COMMAND, work=work))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: end.stdout for number, end in ends.items()} == {number: str(number).encode() for number in range(8)}


def test_a_killed_caller_leaves_no_engine(tmp_path: Path) -> None:
    (tmp_path / "it.wasm").write_bytes(
        module("(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))) (loop $on br $on)")
    )
    program = textwrap.dedent(
        f"""
        import threading
        from pathlib import Path
        from pytest_execgo.plan.sandbox import ConfinedCommand
        from pytest_execgo.sandbox import wasm, wasm_process
        keep = wasm_process.HeadAndTail.feed
        def feed(self, data):
            print("running", flush=True)
            keep(self, data)
        wasm_process.HeadAndTail.feed = feed
        wasm.WasmConfinement().run(ConfinedCommand(("it.wasm",), "/w", timeout=600, memory_bytes={16 * MIB}, cpu_cores=1,
            disk_bytes={MIB}, processes=1, output_bytes=1000, work=Path({str(tmp_path)!r})))
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "running\n"
        children = Path(f"/proc/{caller.pid}/task").glob("*/children")
        (engine,) = [ProcessIdentity.of(int(pid)) for file in children for pid in file.read_text().split()]
        os.kill(caller.pid, signal.SIGKILL)
    assert engine.end(None, timeout=30)
