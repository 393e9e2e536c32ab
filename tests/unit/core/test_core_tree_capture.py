"""What is kept of a command's output: all of it, or its beginning, its end, and how much is missing between them."""

from __future__ import annotations

import re

import pytest

from pytest_execgo.core.process_capture import HeadAndTail


def kept(data: bytes, limit: int, piece: int) -> HeadAndTail:
    capture = HeadAndTail(limit)
    for start in range(0, len(data), piece):
        capture.feed(data[start : start + piece])
    return capture


@pytest.mark.parametrize("piece", [1, 7, 128, 5000])
@pytest.mark.parametrize("size", [0, 1, 255, 256])
def test_what_fits_is_kept_whole(size: int, piece: int) -> None:
    data = bytes(range(256))[:size]
    capture = kept(data, 256, piece)
    assert capture.content() == data
    assert not capture.truncated


@pytest.mark.parametrize("piece", [1, 7, 128, 5000, 100_000])
@pytest.mark.parametrize("size", [1025, 2000, 99_999])
def test_of_more_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(size: int, piece: int) -> None:
    data = b"".join(b"%d," % number for number in range(size))[:size]
    capture = kept(data, 1024, piece)
    content = capture.content()
    assert capture.truncated
    assert 1020 <= len(content) <= 1024
    found = re.fullmatch(rb"(.{400,})\n\xe2\x80\xa6 (\d+) bytes dropped \xe2\x80\xa6\n(.{400,})", content)
    assert found is not None
    assert data.startswith(found[1])
    assert data.endswith(found[3])
    assert len(found[1]) + int(found[2]) + len(found[3]) == size


def test_a_tiny_limit_keeps_the_beginning() -> None:
    assert kept(b"abcdefgh", 5, 3).content() == b"abcde"
    nothing = kept(b"abc", 0, 3)
    assert (nothing.content(), nothing.truncated) == (b"", True)
