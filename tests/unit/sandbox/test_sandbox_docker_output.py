"""A container's two streams, taken apart wherever the connection cuts them."""

from __future__ import annotations

import socket
import struct
import time
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.sandbox.disk_watch import DiskWatch
from pytest_execgo.sandbox.docker_output import AttachedOutput

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=20)


def wire(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxI", stream, len(data)) + data for stream, data in frames)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 1500), max_size=20))
def test_both_streams_come_whole(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    output, sent = AttachedOutput(10_000), wire(frames)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    for start, stop in pairwise(edges):
        output.feed(sent[start:stop])
    assert output.stdout.content() == b"".join(data for stream, data in frames if stream == 1)
    assert output.stderr.content() == b"".join(data for stream, data in frames if stream == 2)
    assert not output.truncated


def test_each_stream_is_bounded() -> None:
    output = AttachedOutput(1000)
    output.feed(wire([(1, b"o" * 700), (2, b"e" * 5000), (1, b"O" * 200)]))
    assert output.stdout.content() == b"o" * 700 + b"O" * 200
    assert len(output.stderr.content()) <= 1000
    assert output.truncated


class Ended:
    """A connection whose other end is closed."""

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        return b""


class Watch:
    """A watch that has not looked yet."""

    def __init__(self, too_much: bool) -> None:
        self.next = time.monotonic() + 60
        self.too_much = too_much

    def exceeded(self) -> bool:
        return self.too_much


@pytest.mark.parametrize("too_much", [False, True])
def test_what_was_written_between_two_looks_counts_at_the_end(too_much: bool) -> None:
    output, deadline = AttachedOutput(10), time.monotonic() + 60
    ended, watch = cast(socket.socket, Ended()), cast(DiskWatch, Watch(too_much))
    assert output.follow(ended, deadline) is None
    assert output.follow(ended, deadline, watch) == ("disk" if too_much else None)
