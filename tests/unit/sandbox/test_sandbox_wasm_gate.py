"""The bound on what a WASI module writes: never too little is counted, and what is free again may be used again."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execgo.sandbox.wasm_gate import DiskBudget, used

KIB = 1024
NO_SPACE, INVALID = 51, 28


class Pieces:
    """A guest's memory that holds the pieces of one write."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths

    def read(self, start: int, size: int) -> bytes:
        assert size == 8 * len(self.lengths)
        return b"".join(struct.pack("<II", 0, length) for length in self.lengths)


def write(budget: DiskBudget, fd: int, *lengths: int) -> int:
    return budget.admit("fd_write", (fd, 0, len(lengths), 0), Pieces(*lengths))


def open_(budget: DiskBudget, flags: int) -> int:
    return budget.admit("path_open", (3, 0, 0, 0, flags, 0, 0, 0, 0), Pieces())


def test_what_fits_is_written_and_what_does_not_is_refused(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 64 * KIB)
    assert write(budget, 4, 30 * KIB, 10 * KIB) == 0
    assert write(budget, 4, 64 * KIB) == NO_SPACE
    assert budget.exhausted


def test_space_that_was_freed_may_be_used_again(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 64 * KIB)
    full = tmp_path / "full"
    full.write_bytes(b"x" * 60 * KIB)
    assert write(budget, 4, 10 * KIB) == NO_SPACE
    full.unlink()
    assert write(budget, 4, 10 * KIB) == 0


def test_output_is_no_disk_until_its_descriptor_is_a_file(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 1 * KIB)
    assert write(budget, 1, 1 << 20) == 0
    assert budget.admit("fd_close", (1,), Pieces()) == 0
    assert write(budget, 1, 1 << 20) == NO_SPACE
    assert write(budget, 2, 1 << 20) == 0
    assert budget.admit("fd_renumber", (5, 2), Pieces()) == 0
    assert write(budget, 2, 1 << 20) == NO_SPACE


def test_names_take_disk_too(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 64 * KIB)
    made = 0
    while made < 100 and open_(budget, 1) == 0:
        (tmp_path / str(made)).touch()
        made += 1
    assert 32 < made <= 64
    assert budget.admit("path_create_directory", (3, 0, 1), Pieces()) == NO_SPACE
    assert open_(budget, 0) == 0  # to read what is there


def test_a_write_in_too_many_pieces_is_refused_unread(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 64 * KIB)
    assert budget.admit("fd_write", (4, 0, 1 << 28, 0), Pieces()) == INVALID
    assert budget.admit("fd_write", (4, 0, -1, 0), Pieces()) == INVALID


def test_what_a_mounted_folder_grows_by_counts_too(tmp_path: Path) -> None:
    own, mounted = tmp_path / "own", tmp_path / "mounted"
    own.mkdir()
    mounted.mkdir()
    (mounted / "before").write_bytes(b"x" * 100 * KIB)
    budget = DiskBudget(str(own), 64 * KIB, [str(mounted)])
    (own / "data").write_bytes(b"x" * 20 * KIB)
    (mounted / "after").write_bytes(b"x" * 20 * KIB)
    assert write(budget, 4, 10 * KIB) == 0
    (mounted / "after").write_bytes(b"x" * 40 * KIB)
    assert write(budget, 4, 10 * KIB) == NO_SPACE


def test_a_byte_here_and_there_takes_a_block_each(tmp_path: Path) -> None:
    budget = DiskBudget(str(tmp_path), 256 * KIB)
    with (tmp_path / "sparse").open("wb") as file:
        for place in range(1000):
            if budget.admit("fd_pwrite", (4, 0, 1, place * 64 * KIB, 0), Pieces(1)) != 0:
                break
            os.pwrite(file.fileno(), b"x", place * 64 * KIB)
    assert 20 < place < 64
    assert used(str(tmp_path)) <= 256 * KIB


@settings(max_examples=40, deadline=None)
@given(writes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40 * KIB)), max_size=30))
def test_the_folder_never_takes_more_than_the_bound(
    writes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bounded")
    bound = 96 * KIB
    budget = DiskBudget(str(folder), bound)
    for name, size in writes:
        path = folder / str(name)
        if open_(budget, 1) == 0 and write(budget, 4, size) == 0:
            with path.open("ab") as file:
                file.write(b"x" * size)
        assert used(str(folder)) <= bound


def test_used_counts_blocks_and_names_and_no_holes(tmp_path: Path) -> None:
    assert used(str(tmp_path)) == 0
    (tmp_path / "sparse").touch()
    with (tmp_path / "sparse").open("r+b") as file:
        file.truncate(1 << 30)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "data").write_bytes(b"x" * 100 * KIB)
    assert 100 * KIB < used(str(tmp_path)) < 200 * KIB
