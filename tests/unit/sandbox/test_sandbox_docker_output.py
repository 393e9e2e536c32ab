"""A container's two streams, taken apart wherever the connection cuts them."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

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
