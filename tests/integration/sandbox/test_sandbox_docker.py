"""Mode docker with a real engine: what a container has, what it hasn't, and that nothing is left of it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.engine.images import BuildContext, build_image
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.plan.sandbox import ConfinedCommand, ConfinedEnd, Language, Mount
from pytest_execgo.sandbox.docker import SANDBOX_LABEL, DockerConfinement
from pytest_execgo.sandbox.images import ensure_images

MIB = 1 << 20
COMMAND = ConfinedCommand(
    argv=("python3", "main.py"),
    cwd="/work",
    timeout=60,
    memory_bytes=128 * MIB,
    cpu_cores=1,
    disk_bytes=4 * MIB,
    processes=32,
    output_bytes=100_000,
)
Run = Callable[..., ConfinedEnd]


@pytest.fixture
def sandbox(base_image: str) -> Iterator[DockerConfinement]:
    confinement = DockerConfinement(base_image)
    yield confinement
    confinement.cleanup()


@pytest.fixture
def run(sandbox: DockerConfinement, tmp_path: Path) -> Run:
    """Run Python code as `main.py` of a work folder of its own, `tmp_path / "work"`."""
    work = tmp_path / "work"
    work.mkdir()

    def go(code: str, **changes: Any) -> ConfinedEnd:
        (work / "main.py").write_text(textwrap.dedent(code))
        return sandbox.run(replace(COMMAND, work=work, **changes))

    return go


def ours(engine: Any, sandbox: DockerConfinement) -> list[str]:
    found = engine.api.containers(all=True, filters={"label": f"{SANDBOX_LABEL}={sandbox.name}"})
    return [one["Id"] for one in found]


def until(happened: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.05)
    return happened()


def test_a_command_has_what_it_is_given_and_says_how_it_ended(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "of the caller")
    (tmp_path / "work" / "sub").mkdir(mode=0o700)
    (tmp_path / "work" / "sub" / "data").write_text("given")
    end = run(
        """
        import json, os, sys
        open("sub/data", "a").write(" and changed")
        print(json.dumps([sys.argv, os.getcwd(), open("sub/data").read(), sys.stdin.read(), dict(os.environ)]))
        print("said", file=sys.stderr)
        sys.exit(3)
        """,
        argv=("python3", "main.py", "a b", "$HOME"),
        stdin=b"typed",
        env={"GIVEN": "1"},
    )
    argv, cwd, data, stdin, env = json.loads(end.stdout)
    assert (argv, cwd, data, stdin) == (["main.py", "a b", "$HOME"], "/work", "given and changed", "typed")
    assert env["GIVEN"] == "1"
    assert "A_SECRET" not in env
    assert (end.exit_code, end.stderr, end.limit, end.truncated) == (3, b"said\n", None, False)
    assert (tmp_path / "work" / "sub" / "data").read_text() == "given"


def test_signals_are_told_from_exit_codes(run: Run) -> None:
    assert run("import os; os.kill(os.getpid(), 11)").exit_code == -signal.SIGSEGV
    assert run("raise SystemExit(255)").exit_code == 255


@pytest.mark.parametrize("program", ["no-such-program", "/work/main.py", "/usr"])
def test_a_program_that_can_not_be_started_is_no_command_that_failed(run: Run, program: str) -> None:
    with pytest.raises(SandboxError, match=f"{program} could not be started") as caught:
        run("", argv=(program,), stdin=b"typed")
    assert caught.value.code == "sandbox_launch_failed"


def test_a_command_may_end_as_if_it_was_not_started(run: Run) -> None:
    assert run("raise SystemExit(127)").exit_code == 127
    assert run("import sys; sys.exit('sh: 1: other: not found')").exit_code == 1
    assert run("import os; os.execvp('sh', ['sh', '-c', 'other-program'])").exit_code == 127


def test_it_is_nobody_with_no_rights_and_no_way_to_more(run: Run) -> None:
    end = run(
        """
        import os
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        print(os.getuid() != 0, os.getgid() != 0, *(status[key].strip() for key in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")))
        system = ("/usr/new", "/var/tmp/new", "/etc/passwd", "/proc/sys/kernel/hostname", "/sys/new")
        for path in (*system, "/.execgo/new", "/.execgo/work/main.py"):
            try:
                open(path, "w")
                print("wrote", path)
            except OSError:
                pass
        """
    )
    assert end.stdout.split() == [b"True", b"True", b"0" * 16, b"0" * 16, b"1", b"2"]


def test_nothing_of_the_host_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    end = run(
        f"""
        import os
        print([path for path in ({str(tmp_path)!r}, "/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)])
        print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
        print([name for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "loop", "mem", "kmsg"))])
        print(os.uname().nodename)
        """
    )
    paths, pids, devices, name = end.stdout.decode().splitlines()
    assert (paths, devices, name) == ("[]", "[]", "sandbox")
    assert len(json.loads(pids)) <= 3


def test_a_mount_is_read_only_unless_it_is_writable(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "there").write_text("given")
    for path in (tmp_path, data, data / "there"):
        path.chmod(0o777)
    tries = """
        import os
        print(open("/data/there").read())
        for write in (lambda: open("/data/there", "w"), lambda: open("/data/new", "w"), lambda: os.remove("/data/there")):
            try:
                write()
            except OSError as error:
                print(error.errno)
    """
    assert run(tries, mounts=(Mount(data, "/data"),)).stdout.split() == [b"given", b"30", b"30", b"30"]
    assert sorted(path.name for path in data.iterdir()) == ["there"]
    assert run(tries, mounts=(Mount(data, "/data", writable=True),)).stdout == b"given\n"
    assert sorted(path.name for path in data.iterdir()) == ["new"]


def test_what_a_mount_grows_by_is_watched(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    (data / "before").write_bytes(bytes(5 * MIB))
    mounts = (Mount(data, "/data", writable=True),)
    assert run("open('/data/some', 'wb').write(bytes(1 << 20))", mounts=mounts).limit is None
    slowly = """
        import time
        for number in range(600):
            open(f"/data/{number}", "wb").write(bytes(1 << 20))
            time.sleep(0.05)
    """
    end = run(slowly, mounts=mounts)
    assert (end.exit_code, end.limit) == (-signal.SIGKILL, "disk")
    assert end.duration < 25
    quickly = "open('/data/quick', 'wb').write(bytes(20 << 20))"
    assert run(quickly, mounts=mounts).limit == "disk"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount what is closed to everybody else")
def test_root_is_nobody_inside_and_is_told_what_is_closed_to_nobody(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with pytest.raises(SandboxError, match=str(data)) as caught:
        run("", mounts=(Mount(data, "/data"),))
    assert caught.value.code == "mount_closed"
    os.chown(data, 1234, 5678)
    code = "import os; print(os.getuid(), os.getgid()); open('/data/new', 'w')"
    assert run(code, mounts=(Mount(data, "/data", writable=True),)).stdout == b"1234 5678\n"
    assert (data / "new").stat().st_uid == 1234


def test_a_folder_of_a_mount_can_be_where_it_runs(sandbox: DockerConfinement, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "main.py").write_text("import os; print(os.getcwd())")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    end = sandbox.run(replace(COMMAND, cwd="/data", mounts=(Mount(tmp_path / "data", "/data"),)))
    assert end.stdout == b"/data\n"


CONNECT = """
    import os, socket, sys, urllib.request
    print(os.listdir("/sys/class/net"))
    for address in ("127.0.0.1", "172.17.0.1"):
        try:
            socket.create_connection((address, PORT), 2)
            print("connected to", address)
        except OSError:
            pass
    try:
        print(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/").status)
        print(urllib.request.urlopen("http://127.0.0.1:9/").status)
    except OSError as error:
        print(error)
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Serve something on all of this machine's addresses."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_there_is_no_network(run: Run, port: int) -> None:
    first, *others = run(CONNECT.replace("PORT", str(port))).stdout.decode().splitlines()
    assert first == "['lo']"
    assert others == ["<urlopen error [Errno 111] Connection refused>"]


def test_an_allowed_host_is_reached_and_no_other(run: Run, port: int) -> None:
    lines = run(CONNECT.replace("PORT", str(port)), hosts=(f"127.0.0.1:{port}",)).stdout.decode().splitlines()
    assert lines == ["['lo']", "200", "HTTP Error 403: Forbidden"]


def test_an_image_without_python_has_no_way_out_and_that_is_said(run: Run) -> None:
    with pytest.raises(SandboxError, match="not found") as caught:
        run("", hosts=("127.0.0.1:9",), env={"PATH": "/nowhere"})
    assert caught.value.code == "no_way_out"


@pytest.mark.parametrize("folder", ["/work", "/tmp", "/dev/shm"])
def test_no_folder_holds_more_than_the_disk(run: Run, folder: str) -> None:
    end = run(
        f"""
        written = 0
        with open("{folder}/big", "wb", buffering=0) as file:
            try:
                while written < {100 * MIB}:
                    written += file.write(bytes(65536))
            except OSError as error:
                print(error.errno, written)
                raise
        """
    )
    number, written = end.stdout.split()
    assert int(number) == 28
    assert 0 < int(written) <= 4 * MIB
    assert (end.exit_code, end.limit) == (1, "disk")


def test_files_that_are_more_than_the_disk_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "big").write_bytes(bytes(5 * MIB))
    with pytest.raises(SandboxError) as caught:
        run("")
    assert caught.value.code == "files_too_large"


EAT = "eaten = []\nwhile True: eaten.append(bytearray(1 << 20))"


def test_too_much_memory_ends_it_and_is_told(run: Run) -> None:
    end = run(EAT)
    assert (end.exit_code, end.limit) == (-signal.SIGKILL, "memory")


def test_too_much_memory_of_a_child_is_told_too(run: Run) -> None:
    end = run(f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {EAT!r}]).returncode != 0)")
    assert (end.exit_code, end.limit) == (1, "memory")


def test_a_kill_is_not_taken_for_want_of_memory(run: Run) -> None:
    end = run("import os; os.kill(os.getpid(), 9)")
    assert (end.exit_code, end.limit) == (-signal.SIGKILL, None)


BOMB = """
    import os, sys, time
    children = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(600)
            children += 1
    except OSError as error:
        print(children, flush=True)
        while True:
            pass
"""


def test_a_fork_bomb_stays_in_its_bounds_beside_a_sibling_that_finishes(
    sandbox: DockerConfinement, run: Run, engine: Any, tmp_path: Path
) -> None:
    sibling = tmp_path / "sibling"
    sibling.mkdir()
    (sibling / "main.py").write_text("print(sum(range(10**6)))")
    ends: list[ConfinedEnd] = []
    bomb = threading.Thread(target=lambda: ends.append(run(BOMB, timeout=8)))
    bomb.start()
    assert until(lambda: len(ours(engine, sandbox)) == 1)
    assert sandbox.run(replace(COMMAND, work=sibling)).stdout == b"499999500000\n"
    bomb.join()
    assert ends[0].limit == "timeout"
    assert 0 < int(ends[0].stdout) < COMMAND.processes
    assert ours(engine, sandbox) == []


def test_a_timeout_ends_everything(run: Run, engine: Any, sandbox: DockerConfinement) -> None:
    end = run(
        """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("begun", flush=True)
        if os.fork() == 0:
            os.setsid()
            os.fork()
        time.sleep(600)
        """,
        timeout=5,
    )
    assert (end.exit_code, end.limit, end.stdout) == (-signal.SIGKILL, "timeout", b"begun\n")
    assert end.duration < 30
    assert ours(engine, sandbox) == []


def test_what_is_left_in_the_background_ends_with_the_command(run: Run) -> None:
    end = run(
        """
        import subprocess
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        print("done")
        """
    )
    assert (end.exit_code, end.stdout, end.limit) == (0, b"done\n", None)
    assert end.duration < 30


def test_a_flood_is_bounded_while_it_flows(run: Run, engine: Any, sandbox: DockerConfinement) -> None:
    end = run("while True: print('x' * 10000)", timeout=5, output_bytes=1000)
    assert end.limit == "timeout"
    assert end.truncated
    assert len(end.stdout) <= 1000
    assert ours(engine, sandbox) == []


def test_a_small_share_of_the_processor_is_all_there_is(run: Run) -> None:
    code = "import time\nwhile time.monotonic() < {0}: pass\nprint(time.process_time())"
    end = run(code.format("(end := globals().setdefault('end', time.monotonic() + 2))"), cpu_cores=0.2)
    assert float(end.stdout) < 1.2


def test_many_at_once_do_not_disturb_each_other(sandbox: DockerConfinement, engine: Any, tmp_path: Path) -> None:
    ends: dict[int, bytes] = {}

    def one(number: int) -> None:
        work = tmp_path / str(number)
        work.mkdir()
        (work / "main.py").write_text(f"print({number})")
        ends[number] = sandbox.run(replace(COMMAND, work=work)).stdout

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {number: f"{number}\n".encode() for number in range(8)}
    assert ours(engine, sandbox) == []


def test_an_image_that_can_not_be_had_is_named(sandbox: DockerConfinement) -> None:
    with pytest.raises(SandboxError, match=r"registry\.invalid/nobody/nothing:1") as caught:
        sandbox.run(replace(COMMAND, cwd="/tmp", image="registry.invalid/nobody/nothing:1"))
    assert caught.value.code == "image_missing"
    assert "custom_images" in caught.value.hint


def test_the_images_of_languages_are_seen_to(base_image: str) -> None:
    images: dict[Language, str] = {"python": base_image, "bash": "registry.invalid/bash:1"}
    assert ensure_images(["python"], images) == {"python": base_image}
    with pytest.raises(SandboxError, match=r"registry\.invalid/bash:1"):
        ensure_images(["python", "bash"], images)


@pytest.fixture
def image(engine: Any, base_image: str) -> Iterator[Callable[[str], str]]:
    """Build an image of a Dockerfile, `FROM BASE` being the base image; it is removed afterwards."""
    built: list[str] = []

    def build(dockerfile: str) -> str:
        name = f"execgo-test-{uuid.uuid4().hex[:12]}:1"
        build_image(engine, name, BuildContext({"Dockerfile": dockerfile.replace("BASE", base_image).encode()}))
        built.append(name)
        return name

    yield build
    for name in built:
        engine.api.remove_image(name, force=True)


def test_an_images_own_volumes_and_entry_point_change_nothing(run: Run, image: Callable[[str], str], engine: Any) -> None:
    def volumes() -> set[str]:
        return {one["Name"] for one in engine.api.volumes()["Volumes"] or []}

    before = volumes()
    end = run(
        """
        with open("/data/big", "wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        """,
        image=image('FROM BASE\nVOLUME /data\nENTRYPOINT ["/bin/false"]\nUSER 0\n'),
    )
    assert b"No space left on device" in end.stderr
    new = volumes() - before  # of other sandboxes, which go with their containers
    assert until(lambda: not new & volumes())


def test_an_image_without_a_shell_is_refused(
    run: Run, image: Callable[[str], str], engine: Any, sandbox: DockerConfinement
) -> None:
    with pytest.raises(SandboxError, match="/bin/sh"):
        run("", image=image("FROM scratch\nLABEL empty=1\n"))
    assert ours(engine, sandbox) == []


def test_the_engine_is_told_of_every_bound(run: Run, engine: Any, sandbox: DockerConfinement, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.mkdir(0o755)
    waits = "import os, time\nwhile not os.path.exists('/gate/open'): time.sleep(0.05)"
    thread = threading.Thread(target=run, args=(waits,), kwargs={"mounts": (Mount(gate, "/gate"),)})
    thread.start()
    assert until(lambda: bool(ours(engine, sandbox)))
    told = engine.api.inspect_container(ours(engine, sandbox)[0])
    (gate / "open").touch()
    thread.join()
    bounds = ("Memory", "MemorySwap", "PidsLimit", "CpuQuota", "CpuPeriod", "Privileged", "ReadonlyRootfs", "NetworkMode")
    values = [128 * MIB, 128 * MIB, 32, 100_000, 100_000, False, True, "none"]
    assert [told["HostConfig"][name] for name in bounds] == values
    assert told["HostConfig"]["LogConfig"]["Type"] == "none"
    assert {mount["Destination"] for mount in told["Mounts"]} == {"/.execgo", "/gate"}


def test_cleanup_ends_what_is_under_way(run: Run, engine: Any, sandbox: DockerConfinement) -> None:
    ends: list[int] = []

    def under_way() -> None:
        try:
            ends.append(run("import time; time.sleep(600)", timeout=600).exit_code)
        except SandboxError:  # it was gone before its end was looked at
            ends.append(-signal.SIGKILL)

    thread = threading.Thread(target=under_way)
    thread.start()
    running = {"label": f"{SANDBOX_LABEL}={sandbox.name}", "status": "running"}
    assert until(lambda: bool(engine.api.containers(filters=running)))
    sandbox.cleanup()
    thread.join()
    assert ends == [-signal.SIGKILL]
    assert ours(engine, sandbox) == []
    sandbox.cleanup()


def test_a_killed_caller_leaves_no_container(engine: Any, base_image: str, tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        from pytest_execgo.plan.sandbox import ConfinedCommand
        from pytest_execgo.sandbox.docker import DockerConfinement
        sandbox = DockerConfinement({base_image!r})
        print(sandbox.name, flush=True)
        sandbox.run(ConfinedCommand(("sleep", "600"), "/tmp", timeout=600, memory_bytes={64 * MIB}, cpu_cores=1,
            disk_bytes={MIB}, processes=20, output_bytes=1000))
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        label = f"{SANDBOX_LABEL}={caller.stdout.readline().strip()}"
        assert until(lambda: bool(engine.api.containers(filters={"label": label, "status": "running"})))
        os.kill(caller.pid, signal.SIGKILL)
    assert until(lambda: not engine.api.containers(all=True, filters={"label": label}))
