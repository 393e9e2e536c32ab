"""The small parts that hold a command: the filter of system calls, maps of users, measured folders, private folders."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execgo.core.containment import control_groups, syscall_filter
from pytest_execgo.core.containment.control_groups import Hierarchy
from pytest_execgo.core.containment.room import id_map
from pytest_execgo.core.containment.work_copy import copy
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.sandbox import host_view, private_folder
from pytest_execgo.sandbox.disk_watch import DiskWatch
from pytest_execgo.sandbox.native import _own_user, _remove_abandoned

X86 = os.uname().machine == "x86_64"
NATIVE = 0xC000003E if X86 else 0xC00000B7


def verdict(program: bytes, number: int, *arguments: int, architecture: int = NATIVE) -> int | str:
    """Run a filter as the kernel does: return "allow", "kill", or the errno with which the call fails."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    steps = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    place, loaded = 0, 0
    while True:
        code, yes, no, value = steps[place]
        place += 1
        if code == 0x20:
            loaded = struct.unpack("=I", data[value : value + 4])[0]
        elif code == 0x06:
            kinds = {0x7FFF0000: "allow", 0x80000000: "kill"}
            return kinds.get(value & 0xFFFF0000) or value & 0xFFFF
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            place += yes if holds else no


@pytest.mark.skipif(not syscall_filter.known_machine(), reason="the filter knows x86_64 and aarch64")
class TestFilter:
    def test_what_is_denied_fails_and_nothing_else(self) -> None:
        program = syscall_filter.program(syscall_filter.ALWAYS, sockets=True, internet_only=False)
        denied = syscall_filter.numbers(syscall_filter.ALWAYS)
        special = syscall_filter.numbers(("clone3", "openat2", "socketpair"))
        for number in range(500):
            expected = errno.EPERM if number in denied.values() else "allow"
            if number not in special.values():
                assert verdict(program, number, 2) == expected, number  # a socket of the internet

    def test_every_named_call_has_a_number(self) -> None:
        names = {*syscall_filter.ALWAYS, *syscall_filter.UNCOUNTED_MEMORY, *syscall_filter.OTHERS_OF_THE_USER}
        names |= {*syscall_filter.WHAT_LANDLOCK_LEAVES, *syscall_filter.CHOICE_OF_PROCESSORS}
        found = syscall_filter.numbers(names)
        assert len(set(found.values())) == len(found)
        if X86:
            assert set(found) == names

    def test_numbers_are_the_system_s(self) -> None:
        header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h" if X86 else "/usr/include/asm-generic/unistd.h")
        if not header.exists():
            pytest.skip(f"{header} is not installed")
        known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text())}
        mine = syscall_filter.numbers(syscall_filter._NUMBERS)
        assert {name: number for name, number in mine.items() if known.get(name, number) != number} == {}
        assert len(mine.keys() & known.keys()) > 50

    def test_no_process_is_started_in_new_namespaces(self) -> None:
        program = syscall_filter.program((), sockets=True, internet_only=False)
        clone, clone3 = syscall_filter.numbers(("clone", "clone3")).values()
        assert verdict(program, clone, 0x01200011) == "allow"  # a fork
        assert verdict(program, clone, 0x003D0F00) == "allow"  # a thread
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert verdict(program, clone, 17 | flag) == errno.EPERM
        assert verdict(program, clone3) == errno.ENOSYS

    def test_no_file_gets_the_bits_of_another_user(self) -> None:
        program = syscall_filter.program((), sockets=True, internet_only=False)
        calls = syscall_filter.numbers(
            ("open", "openat", "openat2", "creat", "chmod", "fchmod", "fchmodat", "fchmodat2", "mknodat")
        )
        given = {"open": (0, 0o101), "openat": (3, 0, 0o101), "creat": (0,), "chmod": (0,), "fchmod": (3,)}
        given |= {"fchmodat": (3, 0), "fchmodat2": (3, 0), "mknodat": (3, 0)}
        for name, before in given.items():
            if name in calls:
                assert verdict(program, calls[name], *before, 0o100755) == "allow", name
                assert verdict(program, calls[name], *before, 0o104755) == errno.EPERM, name
                assert verdict(program, calls[name], *before, 0o102755) == errno.EPERM, name
        assert verdict(program, calls["openat"], 3, 0, os.O_RDWR, 0o104755) == "allow"  # nothing is made, the mode is no mode
        assert verdict(program, calls["openat"], 3, 0, os.O_RDWR | os.O_TMPFILE, 0o104755) == errno.EPERM
        assert verdict(program, calls["openat2"]) == errno.ENOSYS

    @pytest.mark.parametrize(
        ("sockets", "internet_only", "families"),
        [(False, True, ()), (True, True, (2, 10)), (True, False, (1, 2, 10, 16))],  # never 38, 40: AF_ALG, AF_VSOCK
    )
    def test_sockets(self, sockets: bool, internet_only: bool, families: tuple[int, ...]) -> None:
        program = syscall_filter.program((), sockets=sockets, internet_only=internet_only)
        (number,) = syscall_filter.numbers(("socket",)).values()
        assert tuple(family for family in range(46) if verdict(program, number, family) == "allow") == families
        assert verdict(program, number + 1, 40) == "allow"  # another call

    @pytest.mark.parametrize(("sockets", "internet_only", "datagrams"), [(False, True, 1), (True, True, 1), (True, False, "allow")])
    def test_pairs_of_sockets(self, sockets: bool, internet_only: bool, datagrams: int | str) -> None:
        program = syscall_filter.program((), sockets=sockets, internet_only=internet_only)
        (number,) = syscall_filter.numbers(("socketpair",)).values()
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            assert verdict(program, number, 1, kind | socket.SOCK_CLOEXEC) == "allow"
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
            assert verdict(program, number, 1, kind | socket.SOCK_CLOEXEC) == datagrams
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RDM, socket.SOCK_SEQPACKET)
        for family in (0, *range(2, 46)):  # 30, AF_TIPC, has pairs, too, of kinds of its own
            assert {verdict(program, number, family, kind) for kind in kinds} == {errno.EPERM}, family
        assert verdict(program, number + 1, 30) == "allow"  # another call

    def test_limits_of_oneself_can_be_lowered(self) -> None:
        program = syscall_filter.program(syscall_filter.OTHERS_OF_THE_USER, sockets=True, internet_only=False)
        (number,) = syscall_filter.numbers(("prlimit64",)).values()
        assert verdict(program, number, 0) == "allow"
        assert verdict(program, number, 4711) == errno.EPERM

    def test_other_ways_to_call_are_closed(self) -> None:
        program = syscall_filter.program((), sockets=True, internet_only=False)
        assert verdict(program, 4, architecture=0x40000003) == "kill"  # 32 bits
        assert verdict(program, 0x40000000 + 1) == errno.EPERM  # x32


def test_an_id_map_shows_one_as_another_and_the_rest_as_they_are() -> None:
    for stored, shown in ((0, 1_879_100_000), (1000, 1_879_100_000), (5, 5), (4_000_000_000, 77)):
        lines = [tuple(map(int, line.split())) for line in id_map(stored, shown).splitlines()]

        def seen(number: int, lines: list[tuple[int, ...]] = lines) -> int | None:
            return next((to + number - start for start, to, count in lines if start <= number < start + count), None)

        assert seen(stored) == shown
        for other in (0, 1, 1000, 65534, 1_879_100_001):
            if other not in (stored, shown):
                assert seen(other) == other
        if stored != shown:
            assert seen(shown) is None


@pytest.mark.parametrize(
    ("uid_map", "least", "most"),
    [
        ("0 0 4294967295", 1_879_100_000, 1_879_165_535),
        ("0 1000 1\n1 100000 65536", 65536, 65536),
        ("0 100000 65536", 65535, 65535),
    ],
)
def test_root_s_commands_become_somebody_who_is_there(uid_map: str, least: int, most: int) -> None:
    assert all(least <= (_own_user(uid_map) or 0) <= most for _ in range(50))


def test_where_root_is_alone_nobody_else_can_be_had() -> None:
    assert _own_user("0 1000 1") is None


def make_deep(folder: Path, name: str, depth: int) -> None:
    """Make folders in folders, to beyond what a path can be."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(depth):
            Path(name).mkdir()
            os.chdir(name)
    finally:
        os.chdir(before)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "before").write_bytes(b"x" * 500_000)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=False)


def test_what_was_there_before_is_not_counted(watched: Path) -> None:
    watch = DiskWatch([watched], 300_000, set)
    assert not watch.exceeded()
    (watched / "deep/er").mkdir(parents=True)
    (watched / "deep/er/new").write_bytes(b"x" * 200_000)
    assert not watch.exceeded()
    (watched / "more").write_bytes(b"x" * 200_000)
    assert watch.exceeded()
    (watched / "before").unlink()
    assert not watch.exceeded()


def test_a_file_without_a_name_counts_while_it_is_open(watched: Path) -> None:
    watch = DiskWatch([watched], 300_000, lambda: {os.getpid()})
    with (watched / "hidden").open("wb") as file:
        (watched / "hidden").unlink()
        assert not watch.exceeded()
        file.write(b"x" * 600_000)
        file.flush()
        assert watch.exceeded()
    assert not watch.exceeded()


def test_links_out_of_a_folder_are_not_followed(watched: Path) -> None:
    watch = DiskWatch([watched], 300_000, set)
    (watched / "link").symlink_to("/usr")
    assert not watch.exceeded()


def test_a_path_that_is_longer_than_paths_can_be_is_looked_into(watched: Path) -> None:
    watch = DiskWatch([watched], 300_000, set)
    make_deep(watched, "d" * 100, 50)
    assert not watch.exceeded()
    where = os.open(watched, os.O_RDONLY)
    for _ in range(50):
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = deeper
    far = os.open("far", os.O_WRONLY | os.O_CREAT, dir_fd=where)
    assert os.write(far, b"x" * 400_000) == 400_000
    os.close(far)
    os.close(where)
    assert watch.exceeded()


def test_files_without_content_take_a_place_too(watched: Path) -> None:
    watch = DiskWatch([watched], 300_000, set)
    for number in range(400):
        (watched / str(number)).touch()
    assert watch.exceeded()


RENAMING = """
import os, sys, time
os.chdir(sys.argv[1])
for place in range(40):
    os.mkdir(f"{place}-a")
    open(f"{place}-a/f", "wb").write(b"x" * 20_000)
    open(f"{place}-f-a", "wb").write(b"x" * 20_000)
print("made", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    for one, other in ("ab", "ba"):
        for place in range(40):
            os.rename(f"{place}-{one}", f"{place}-{other}")
            os.rename(f"{place}-f-{one}", f"{place}-f-{other}")
"""


def test_what_is_renamed_all_the_time_is_counted(watched: Path) -> None:
    watch = DiskWatch([watched], 1_000_000, set)
    with subprocess.Popen([sys.executable, "-c", RENAMING, str(watched)], stdout=subprocess.PIPE) as renaming:
        assert renaming.stdout is not None
        try:
            assert renaming.stdout.readline() == b"made\n"
            assert [watch.exceeded() for _ in range(200)] == [True] * 200
        finally:
            renaming.kill()


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(watched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = DiskWatch([watched], 300_000, set)
    (watched / "turning").mkdir()
    seen, looked = os.open, []

    def turned(name: str, *how: int, **rest: int) -> int:
        if name == "turning":
            looked.append(name)
            (watched / "turning").rename(watched / "was")
            (watched / "turning").symlink_to("/usr")
        return seen(name, *how, **rest)

    monkeypatch.setattr(os, "open", turned)
    assert not watch.exceeded()
    assert looked == ["turning"]


def test_what_can_t_be_looked_into_is_too_much(watched: Path) -> None:
    if os.geteuid() == 0:
        make_deep(watched, "d", 250)
        watch = DiskWatch([watched], 10**9, set)
        assert not watch.exceeded()
        (watched / "other").mkdir()
        make_deep(watched / "other", "d", 250)
        assert watch.exceeded()
    else:
        watch = DiskWatch([watched], 10**9, set)
        (watched / "closed").mkdir(0)
        assert watch.exceeded()


def test_looks_are_never_too_close(watched: Path) -> None:
    watch = DiskWatch([watched], 1, set)
    began = time.monotonic()
    watch.exceeded()
    assert watch.next >= began + 0.05


def test_a_copy_is_of_files_folders_and_links_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "a/file").write_bytes(b"12345")
    (source / "a/file").chmod(0o4751)
    (source / "link").symlink_to("/etc/passwd")
    assert copy(str(source), str(tmp_path / "target")) == 5
    assert (tmp_path / "target/a/file").read_bytes() == b"12345"
    assert (tmp_path / "target/a/file").stat().st_mode & 0o7777 & ~0o022 == 0o751 & ~0o022
    assert (tmp_path / "target/link").readlink() == Path("/etc/passwd")
    os.mkfifo(source / "pipe")
    with pytest.raises(OSError, match="neither a file nor a folder"):
        copy(str(source), str(tmp_path / "again"))


FEW_DESCRIPTORS = """
import os, resource
from pytest_execgo.core.errors import SandboxError
from pytest_execgo.sandbox.private_folder import private_folder
with private_folder():
    pass
before = len(os.listdir("/proc/self/fd"))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for room in range(12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 2 + room, hard))
    try:
        with private_folder() as folder:
            (folder / "made").touch()
        said = "done"
    except (SandboxError, OSError) as error:
        said = getattr(error, "code", "raw")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(said, len(os.listdir("/proc/self/fd")) - before)
"""


def test_who_may_open_too_few_files_for_a_private_folder_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FEW_DESCRIPTORS]
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert (said[0], said[-1]) == ("no_folder 0", "done 0"), said
    assert set(said) <= {"no_folder 0", "folder_left 0", "done 0"}, said
    assert [folder.name for folder in tmp_path.iterdir() if not (folder / ".lock").exists()] == []  # the next process removes those


def test_a_private_folder_is_gone_afterwards_with_all_in_it() -> None:
    with private_folder.private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "closed").mkdir(0)
        make_deep(folder, "deep", 1500)
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_nobody_else_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, held, foreign = (tmp_path / f"execgo-sandbox-{name}" for name in ("left", "held", "foreign"))
    for folder in (left, held, foreign):
        folder.mkdir()
    (left / ".lock").touch()
    (left / "work").mkdir()
    with (held / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        private_folder.remove_abandoned.cache_clear()
        private_folder.remove_abandoned()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["execgo-sandbox-foreign", "execgo-sandbox-held"]
    private_folder.remove_abandoned.cache_clear()


def test_no_home_folder_is_ever_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    host_view.python_home.cache_clear()
    try:
        with pytest.raises(SandboxError, match="holds the home folder"):
            host_view.views(names_of_hosts=False)
    finally:
        host_view.python_home.cache_clear()


def test_what_is_shown_of_the_host_is_its_programs() -> None:
    paths = [view["path"] for view in host_view.views(names_of_hosts=False)]
    assert "/usr" in paths
    allowed = ("/usr", "/bin", "/sbin", "/lib", "/nix/store", "/etc/", str(host_view.python_home()))
    assert [path for path in paths if not path.startswith(allowed)] == []
    assert not {"/etc", "/etc/passwd", "/etc/shadow", "/etc/ssh", "/etc/resolv.conf", "/etc/hosts"} & set(paths)
    assert "/etc/hosts" in [view["path"] for view in host_view.views(names_of_hosts=True)]


def test_a_share_of_processor_time_is_a_quota() -> None:
    hierarchy = Hierarchy(Path("/"), {"cpu": "cpu.max"})
    assert hierarchy.limits(1, 1, 0.5) == {"cpu.max": 50_000}
    assert hierarchy.limits(1, 1, 0.001) == {"cpu.max": 1000}
    assert hierarchy.limits(1, 1) == {}


def test_only_the_controllers_that_are_wanted_are_probed(tmp_path: Path) -> None:
    assert control_groups.probe("x", tmp_path) == []
    (tmp_path / "cgroup.procs").touch()
    assert control_groups.probe("x", tmp_path) == []  # an ordinary folder has no limits to be set


def test_who_cleans_up_sees_whose_trial_a_group_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.procs").touch()
    tried: list[str] = []
    make = Path.mkdir

    def cleaned_up_at_once(folder: Path) -> None:
        make(folder)
        tried.append(folder.name)
        _remove_abandoned([Hierarchy(tmp_path, {})])
        if folder.exists():
            (folder / "pids.max").touch()

    monkeypatch.setattr(Path, "mkdir", cleaned_up_at_once)
    for _ in range(2):
        found = control_groups.probe("execgo-sandbox", tmp_path, ("pids",))
        assert [set(one.files) for one in found] == [{"pids"}]
    assert len(set(tried)) == 2  # two threads may try at once
