"""Programs that try to get out. Each says what it tried, and `ESCAPED` for what it could do; no mode lets one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.confinement import ConfinedEnd, Mount

MIB = 1 << 20

TRY = """
import os, sys, socket, errno, time
try:
    import ctypes
except ImportError:  # a Python that is a WASI module has none
    ctypes = None

def attempt(what, do):
    try:
        got = do()
    except BaseException as error:
        print("tried", what, type(error).__name__)
    else:
        print("ESCAPED" if got or got is None else "tried", what, repr(got)[:200], flush=True)
"""


def held(end: ConfinedEnd, least: int = 1) -> None:
    """Assert that a program ran, tried as much as it should, and got out in no way."""
    said = end.stdout.decode("utf-8", "replace")
    assert "ESCAPED" not in said, said
    assert said.count("tried") >= least, end


def survivors(token: str) -> list[int]:
    """Return the processes of this machine whose command line has a token."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if token.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


@pytest.fixture
def secrets(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Files of the caller's: one for nobody else, one for everybody to read in the folder where the caller is, one in its home."""
    monkeypatch.chdir(open_path)
    found = [open_path / "private", open_path / "in-the-cwd", Path.home() / f".canary-{uuid.uuid4().hex}"]
    for path, mode in zip(found, (0o600, 0o644, 0o600), strict=True):
        path.write_text("s3cret")
        path.chmod(mode)
    yield found
    found[-1].unlink()


def test_files_of_the_host_cant_be_read(box: Any, secrets: list[Path]) -> None:
    code = f"""{TRY}
for path in sys.argv[1:]:
    name = path.rsplit("/", 1)[1]
    for way in (path, "/proc/1/root" + path, "/proc/self/root" + path, "/proc/1/cwd/" + name, "../" * 30 + path, "/oldroot" + path):
        attempt(way, lambda: "s3cret" in open(way).read())
    attempt("list " + path, lambda: name in os.listdir(os.path.dirname(path)))
    try:
        os.symlink(path, "link-" + name)
    except OSError:  # a module of mode wasm makes no link that leads out
        pass
    attempt("link to " + path, lambda: "s3cret" in open("link-" + name).read())
    os.path.lexists("hard-" + name) or attempt("hard link to " + path, lambda: os.link(path, "hard-" + name))
for folder in {("/root", "/home", "/var/lib", "/var/log", "/boot") if box.mode.of_the_host else ()}:
    attempt("list " + folder, lambda: [name for name in os.listdir(folder) if name not in (".pyenv", "runner", "work")])
for path in ("/etc/shadow", "/etc/gshadow", "/etc/ssh/sshd_config", "/dev/mem", "/dev/vda", "/dev/sda", "/proc/kcore"):
    attempt(path, lambda: bool(open(path, "rb").read(64).strip(b"0 \\n")))
"""
    box.own(*secrets)
    held(box.run(code, *secrets), least=30)


def test_the_environment_of_others_cant_be_read(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_OF_THE_CALLER", "s1ngs")
    code = f"""{TRY}
attempt("own", lambda: "s1ngs" in repr(dict(os.environ)))
pids = {{1, getattr(os, "getppid", lambda: 2)(), int(sys.argv[1])}}
try:
    pids |= {{int(name) for name in os.listdir("/proc") if name.isdecimal()}}
except OSError:
    pass
for pid in pids:
    for what in ("environ", "cmdline", "mem", "maps"):
        attempt(f"/proc/{{pid}}/{{what}}", lambda: b"s1ngs" in open(f"/proc/{{pid}}/{{what}}", "rb").read(1 << 20))
"""
    held(box.run(code, os.getpid()), least=10)


@contextlib.contextmanager
def listening() -> Iterator[tuple[list[str], str]]:
    """Listen as a service of the host does: TCP, UDP, a Unix socket that anybody may use, an abstract one. Collects who came."""
    came: list[str] = []
    folder = Path("/tmp") / f"door-{uuid.uuid4().hex}"
    folder.mkdir(0o755)
    kinds: dict[str, tuple[socket.AddressFamily, socket.SocketKind, Any]] = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "door")),
        "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder.name}"),
        "datagrams": (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "box")),
        "abstract datagrams": (socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{folder.name}-box"),
    }
    opened = {}
    for name, (family, kind, address) in kinds.items():
        opened[name] = socket.socket(family, kind)
        opened[name].bind(address)
        if kind == socket.SOCK_STREAM:
            opened[name].listen()
        opened[name].settimeout(0)
    for door in folder.iterdir():
        door.chmod(0o777)
    try:
        ports = [str(opened[name].getsockname()[1]) for name in ("tcp", "udp")]
        yield came, " ".join([*ports, str(folder / "door"), folder.name])
        for name, one in opened.items():
            with contextlib.suppress(BlockingIOError):
                if one.type == socket.SOCK_DGRAM:
                    came.append(f"{name}: {one.recv(100)!r}")
                else:
                    connection, _ = one.accept()
                    connection.close()
                    came.append(name)
    finally:
        for one in opened.values():
            one.close()
        shutil.rmtree(folder)


NETWORK = f"""{TRY}
tcp, udp, path, abstract = sys.argv[1].split()

def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(2)
        client.connect(address)
        return True

def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", address)
        client.settimeout(0.2)
        return client.recv(10)

def post(kind, address):  # a socket that was made connected can be told another address
    pair = socket.socketpair(socket.AF_UNIX, kind)
    return pair[0].sendto(b"hello", address)

def unix_sockets():
    attempt("unix", lambda: connect(socket.AF_UNIX, path))
    attempt("abstract", lambda: connect(socket.AF_UNIX, chr(0) + abstract))
    attempt("docker", lambda: connect(socket.AF_UNIX, "/var/run/docker.sock"))
    for kind in (socket.SOCK_DGRAM, 3):  # SOCK_RAW, which is the same here
        attempt("datagram", lambda: post(kind, os.path.dirname(path) + "/box"))
        attempt("abstract datagram", lambda: post(kind, chr(0) + abstract + "-box"))

if sys.argv[2] == "any":
    unix_sockets()
    sys.exit()
for host in ("127.0.0.1", "localhost", "0.0.0.0", "host.docker.internal", "10.0.2.2", "172.17.0.1"):
    attempt(f"tcp {{host}}", lambda: connect(socket.AF_INET, (host, int(tcp))))
attempt("udp", lambda: send(("127.0.0.1", int(udp))))
unix_sockets()
attempt("resolve", lambda: socket.getaddrinfo("example.com", 80))
attempt("outside", lambda: connect(socket.AF_INET, ("1.1.1.1", 53)))
attempt("raw", lambda: bool(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
"""


def test_there_is_no_network(box: Any) -> None:
    with listening() as (came, where):
        held(box.run(NETWORK, where, "none"), least=17)
    assert came == []


def test_with_any_network_the_unix_sockets_of_the_host_are_not_reached(box: Any) -> None:
    box.needs("any_network")
    with listening() as (came, where):
        held(box.run(NETWORK, where, "any", hosts=()), least=7)
    assert came == []


def test_a_connected_pair_of_sockets_can_be_had(box: Any) -> None:
    box.needs("processes")
    for hosts in (None, ()):
        end = box.run("import socket; a, b = socket.socketpair(); a.sendall(b'x'); print(b.recv(1))", hosts=hosts)
        assert end.stdout == b"b'x'\n", end


OTHER_PAIRS = """
import errno, socket
for family in (2, 10, 16, 30, 40):  # AF_INET, AF_INET6, AF_NETLINK, AF_TIPC, AF_VSOCK
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RDM, socket.SOCK_SEQPACKET):
        try:
            socket.socketpair(family, kind)
        except OSError as error:  # the machine's own answer would be another one, where it has no such pairs
            print(errno.errorcode[error.errno])
        else:
            print("ESCAPED", family, kind)
"""


def test_a_pair_of_sockets_is_of_no_other_family(box: Any) -> None:
    box.needs("unix_pairs_alone")
    for hosts in (None, ()):
        end = box.run(OTHER_PAIRS, hosts=hosts)
        assert end.stdout.split() == [b"EPERM"] * 20, end


BOMB = """
import os, sys, time
made = failed = 0
for _ in range(100):  # no more than that, whatever happens
    try:
        pid = os.fork()
    except OSError:
        failed += 1
        time.sleep(0.002)
        continue
    if pid == 0:
        if made % 3 == 0:
            os.setsid()
        time.sleep(600)
        os._exit(0)
    made += 1
print(made, failed, flush=True)
time.sleep(600)
"""


def test_a_fork_bomb_is_bounded_beside_a_sibling_that_finishes(box: Any) -> None:
    box.needs("processes")
    token = f"bomb-{uuid.uuid4().hex}"
    ends: list[ConfinedEnd] = []
    bomb = threading.Thread(target=lambda: ends.append(box.run(BOMB, token, timeout=6, processes=24)))
    bomb.start()
    sibling = "import subprocess\nfor _ in range(20): subprocess.run(['true'], check=True)\nprint('finished')"
    assert box.run(sibling, processes=64).stdout == b"finished\n"
    bomb.join()
    made, failed = map(int, ends[0].stdout.split())
    # on Landlock an ordinary user's processes are counted together, and those that end make room for others
    assert 0 < made <= (48 if box.name == "landlock-user" else 24)
    assert made + failed == 100
    assert ends[0].exit_code != 0
    assert survivors(token) == []


RESTLESS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)

def flee(depth):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            if depth:
                flee(depth - 1)
            if depth % 2:
                for fd in range(3):
                    os.close(fd)
            while True:  # always somebody new, never more than a few at once
                if os.fork() == 0:
                    time.sleep(0.05)
                    os._exit(0)
                os.wait()
        os._exit(0)

flee(2)
print("fled", flush=True)
time.sleep(600 if sys.argv[2] == "stay" else 0.3)
"""


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_nothing_outlives_the_command(box: Any, how: str) -> None:
    box.needs("processes")
    token = f"restless-{uuid.uuid4().hex}"
    end = box.run(RESTLESS, token, how, timeout=5 if how == "stay" else 30)
    assert end.stdout == b"fled\n"
    assert end.limit == ("timeout" if how == "stay" else None)
    assert end.duration < 60
    assert survivors(token) == []


def test_a_stopped_process_is_ended_too(box: Any) -> None:
    box.needs("processes")
    token = f"stopped-{uuid.uuid4().hex}"
    code = "import os, signal\nif os.fork() == 0: os.setsid()\nos.kill(os.getpid(), signal.SIGSTOP)"
    assert box.run(code, token, timeout=1).limit == "timeout"
    assert survivors(token) == []


FILL = """
import os, sys, time
how, folder, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
piece, written, kept, number = b"x" * (1 << 20), 0, [], 0
deep = folder
try:
    while written < most:
        number += 1
        if how == "deep":
            deep = os.path.join(deep, "d" * 100)
            os.mkdir(deep)
            os.chdir(deep)
            deep = "."
            path = "f"
        else:
            path = os.path.join(folder, f"fill-{number}")
        file = open(path, "wb", buffering=0)
        if how == "unlinked":
            os.unlink(path)
            kept.append(file)
        for _ in range(4):
            written += file.write(piece)
            print(written, flush=True)
        if how == "slow":
            time.sleep(0.1)
except OSError as error:
    print("refused", error, file=sys.stderr)
    sys.exit(9)
time.sleep(20)
"""


@pytest.mark.parametrize("how", ["files", "unlinked", "deep"])
@pytest.mark.parametrize("where", ["work", "tmp"])
def test_the_disk_is_bounded(box: Any, how: str, where: str) -> None:
    box.needs(f"disk_{where}")
    folder = "." if where == "work" else "/tmp"
    code = FILL.replace("sys.argv[2]", "os.environ['TMPDIR']") if where == "tmp" else FILL
    end = box.run(code, how, folder, 1024 * MIB, disk_bytes=16 * MIB, memory_bytes=512 * MIB, output_bytes=MIB)
    assert end.exit_code != 0, end
    assert end.limit == "disk", end
    if "landlock" not in box.name:  # there somebody watches, and takes a moment
        assert int(end.stdout.split()[-1]) <= 16 * MIB


def test_a_disk_that_was_filled_quickly_is_no_success(box: Any) -> None:
    end = box.run("for n in range(20): open(f'f{n}', 'wb').write(b'x' * (2 << 20))", disk_bytes=16 * MIB, memory_bytes=512 * MIB)
    assert end.limit == "disk", end


def test_files_without_content_are_bounded_too(box: Any) -> None:
    code = """
import time
for n in range(1_000_000):
    open(f"f{n}", "wb").close()
print("all of them", flush=True)
time.sleep(2)
"""
    end = box.run(code, disk_bytes=16 * MIB, memory_bytes=512 * MIB)
    assert end.exit_code != 0, end
    assert end.limit == "disk", end
    assert b"all of them" not in end.stdout


def test_a_single_file_is_bounded(box: Any) -> None:
    end = box.run("f = open('big', 'wb')\nwhile True: f.write(b'x' * (1 << 20))", disk_bytes=16 * MIB, memory_bytes=512 * MIB)
    assert end.exit_code != 0
    assert end.limit == "disk", end


def test_a_mounted_folder_is_bounded(box: Any) -> None:
    box.needs("mounted_disk")
    folder = box.shared("results")
    target = box.target(folder, "results")
    mounts = (Mount(folder, target, writable=True),)
    end = box.run(FILL, "slow", target, 1024 * MIB, mounts=mounts, disk_bytes=16 * MIB)
    assert end.limit == "disk", end
    assert int(end.stdout.split()[-1]) < 512 * MIB


GREEDY = """
import os, sys
most = int(sys.argv[2])
kept = []
step = 8 << 20
if sys.argv[1] == "heap":
    for _ in range(0, most, step):
        kept.append(bytearray(os.urandom(4096)) * (step // 4096))
elif sys.argv[1] == "shared":
    import mmap
    for _ in range(0, most, step):
        kept.append(mmap.mmap(-1, step))
        for page in range(0, step, 4096):
            kept[-1][page] = 1
else:
    for number in range(0, most, step):
        kept.append(os.memfd_create(str(number)))
        os.write(kept[-1], bytes(step))
print("got it all", flush=True)
"""


@pytest.mark.parametrize("how", ["heap", "shared", "memfd"])
def test_memory_is_bounded(box: Any, how: str) -> None:
    box.needs(f"memory_{how}")
    end = box.run(GREEDY, how, 512 * MIB, memory_bytes=64 * MIB)
    assert b"got it all" not in end.stdout
    assert end.exit_code != 0
    if how != "memfd":  # which may not even be there
        assert end.limit == "memory", end


def test_memory_is_bounded_together(box: Any) -> None:
    box.needs("memory_together")
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(b"x" * (24 << 20))
        time.sleep(5)
        print("kept", flush=True)
        os._exit(0)
for _ in range(8):
    os.wait()
raise SystemExit(1)
"""
    end = box.run(code, memory_bytes=96 * MIB)
    assert end.limit == "memory"
    assert end.stdout.count(b"kept") <= 4


def test_nothing_can_be_written_outside(box: Any, open_path: Path) -> None:
    open_path.chmod(0o777)
    (open_path / "there").write_text("before")
    (open_path / "there").chmod(0o666)
    root = '"/", ' if box.name != "wasm" else ""  # there it is the folder that the module works in
    code = f"""{TRY}
for folder in ({root}*"/usr /usr/bin /etc /bin /lib /var/tmp /root /home /dev /proc /sys /run".split(), sys.argv[1]):
    attempt("write " + folder, lambda: open(folder + "/escaped-{uuid.uuid4().hex}", "w").write("x"))
attempt("append", lambda: open(sys.argv[1] + "/there", "a").write("x"))
attempt("truncate", lambda: os.truncate(sys.argv[1] + "/there", 0))
attempt("remove", lambda: os.remove(sys.argv[1] + "/there"))
attempt("mode", lambda: [os.chmod(sys.argv[1] + "/there", 0o600), os.stat(sys.argv[1] + "/there")])
attempt("times", lambda: os.utime(sys.argv[1] + "/there", (1, 1)))
attempt("rename", lambda: os.rename(sys.argv[1] + "/there", sys.argv[1] + "/gone"))
syslog = 103 if not hasattr(os, "uname") or os.uname().machine == "x86_64" else 116
attempt("log", lambda: ctypes.CDLL(None).syscall(syslog, 3, ctypes.create_string_buffer(9), 9) > 0)
attempt("core", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/bin/false"))
attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("h"))
"""
    before = (open_path / "there").stat()
    held(box.run(code, open_path), least=20)
    after = (open_path / "there").stat()
    assert (open_path / "there").read_text() == "before"
    assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)
    assert [path.name for path in open_path.iterdir()] == ["there"]


def test_links_lead_nowhere_outside(box: Any, secrets: list[Path]) -> None:
    box.needs("mount")
    folder = box.shared("linked")
    for number, secret in enumerate(secrets):
        (folder / f"link-{number}").symlink_to(secret)
    (folder / "up").symlink_to("..")
    (folder / "root").symlink_to("/")
    target = box.target(folder, "linked")
    command = box.command(
        f"""{TRY}
for number, path in enumerate(sys.argv[2:]):
    folder = sys.argv[1]
    for name in (f"{{folder}}/link-{{number}}", f"given-{{number}}", f"{{folder}}/root{{path}}", f"{{folder}}/up/{{path}}"):
        attempt(name, lambda: "s3cret" in open(name).read())
    attempt("write", lambda: open(f"{{sys.argv[1]}}/link-{{number}}", "a").write("x"))
""",
        target,
        *secrets,
        mounts=(Mount(folder, target, writable="mount_for_writing" not in box.mode.cannot),),
    )
    for number, secret in enumerate(secrets):
        (command.work / f"given-{number}").symlink_to(secret)
    held(box.confinement.run(command), least=15)
    assert [secret.read_text() for secret in secrets] == ["s3cret"] * 3


def test_no_program_is_left_that_makes_others_the_caller(box: Any) -> None:
    box.needs("mount_for_writing")
    folder = box.shared("results")
    target = box.target(folder, "results")
    code = f"""{TRY}
import shutil
os.chdir(sys.argv[1])
getattr(os, "umask", int)(0)
open("plain", "w").close()
attempt("made", lambda: os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o6755)) or os.stat("made").st_mode & 0o6000)
attempt("changed", lambda: os.chmod("plain", 0o4755) or os.stat("plain").st_mode & 0o6000)
attempt("changed by descriptor", lambda: os.fchmod(os.open("plain", os.O_RDONLY), 0o6755) or os.stat("plain").st_mode & 0o6000)
attempt("node", lambda: os.mknod("node", 0o104755) or os.stat("node").st_mode & 0o6000)
if hasattr(os, "O_TMPFILE"):
    def nameless():
        os.link(f"/proc/self/fd/{{os.open('.', os.O_TMPFILE | os.O_WRONLY, 0o6755)}}", "named", follow_symlinks=True)
        return os.stat("named").st_mode & 0o6000
    attempt("named later", nameless)
if hasattr(os, "uname") and os.uname().machine == "x86_64":
    libc, how = ctypes.CDLL(None), (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o6755, 0)
    attempt("openat2", lambda: libc.syscall(437, -100, b"openat2", how, 24) and os.stat("openat2").st_mode & 0o6000)
    attempt("fchmodat2", lambda: libc.syscall(452, -100, b"plain", 0o4755, 0) and os.stat("plain").st_mode & 0o6000)
"""
    end = box.run(code, target, mounts=(Mount(folder, target, writable=True),))
    found = [path.name for path in folder.iterdir() if path.stat().st_mode & 0o6000]
    assert (folder / "plain").exists(), end
    if box.confinement.mode == "native":
        held(end, least=5)
        assert found == []
    assert [name for name in found if (folder / name).stat().st_uid == 0] == []


def test_no_descriptor_of_ours_is_open(box: Any) -> None:
    least = 3 if box.name != "wasm" else 8  # there each folder that it is given is one: the work folder, as `.` too, and /tmp
    code = f"import os\nfor fd in range({least}, 1024):\n    try: print(fd, os.fstat(fd))\n    except OSError: pass\n"
    assert box.run(f"{code}print('looked')").stdout == b"looked\n"


def test_other_processes_cant_be_touched(box: Any) -> None:
    box.needs("processes")
    code = f"""{TRY}
import resource, signal
libc = ctypes.CDLL(None, use_errno=True)

def call(*arguments):
    if libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")
    return True

kept = ctypes.create_string_buffer(8)
for pid in {{int(sys.argv[1]), os.getppid()}} - {{0, 1}}:
    attempt("signal", lambda: os.kill(pid, 0))
    attempt("limit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, 8)))
    attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt("affinity", lambda: os.sched_setaffinity(pid, {{0}}))
    attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0))
    if os.uname().machine == "x86_64":
        attempt("ptrace", lambda: call(101, 16, pid, 0, 0))
        place = (ctypes.c_void_p * 2)(ctypes.addressof(kept), 8)
        attempt("read", lambda: call(310, pid, place, 1, place, 1, 0))
print("tried everything")
"""
    held(box.run(code, os.getpid()), least=1)


def test_no_rights_can_be_had(box: Any) -> None:
    box.needs("processes")
    key = _key()
    code = f"""{TRY}
libc = ctypes.CDLL(None, use_errno=True)

def call(*arguments):
    if libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")
    return True

attempt("root", lambda: os.setuid(0) if os.getuid() else False)
attempt("groups", lambda: os.setgroups([0]))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("node", lambda: os.mknod("device", 0o20666, os.makedev(1, 1)))
attempt("host name", lambda: socket.sethostname("owned"))
status = dict(line.split(":", 1) for line in open("/proc/self/status")) if os.path.exists("/proc/self/status") else {{}}
attempt("capabilities", lambda: int(status["CapEff"], 16) != 0)
if os.uname().machine == "x86_64":
    for name, number, *arguments in (
        ("mount", 165, b"none", b"/tmp", b"tmpfs", 0, 0), ("umount", 166, b"/proc", 2), ("unshare", 272, 0x10000000),
        ("unshare mounts", 272, 0x20000), ("clone", 56, 0x10000011, 0, 0, 0, 0), ("pivot", 155, b"/", b"/"), ("bpf", 321, 0, 0, 0),
        ("perf", 298, 0, 0, -1, -1, 0), ("keyctl", 250, 0, -3, 1), ("add key", 248, b"user", b"mine", b"x", 1, -3),
        ("userfault", 323, 0), ("uring", 425, 8, 0), ("open by handle", 304, 3, 0, 0), ("quota", 179, 0, 0, 0, 0),
        ("swap", 167, b"/tmp/x", 0), ("module", 313, 0, b"", 0), ("reboot", 169, 0, 0, 0, 0), ("time", 227, 0, 0),
    ):
        attempt(name, lambda: call(number, *arguments))
    attempt("key of the caller", lambda: call(250, 10, -3, b"user", b"{key}", 0))
    attempt("key by request", lambda: call(249, b"user", b"{key}", 0, 0))
"""
    held(box.run(code), least=5)


def _key() -> str:
    """Give this process's session a key, as somebody's tools do."""
    name = f"canary-{uuid.uuid4().hex}"
    if os.uname().machine == "x86_64":
        ctypes.CDLL(None).syscall(248, b"user", name.encode(), b"s3cret", 6, -3)
    return name


def test_the_caller_is_not_kept_waiting_by_held_pipes(box: Any) -> None:
    box.needs("processes")
    started = time.monotonic()
    end = box.run("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nprint('parent')")
    assert (end.exit_code, end.stdout) == (0, b"parent\n")
    assert time.monotonic() - started < 60
    assert end.exit_code != -signal.SIGKILL
