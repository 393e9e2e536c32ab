from __future__ import annotations

import contextlib
import gc
import os
import select
import threading

from pytest_execgo.harness.watchers import Watchers


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_news_are_readable_until_the_thread_has_looked() -> None:
    watchers = Watchers()
    assert readable(watchers.fileno())  # it never looked
    watchers.seen()
    assert not readable(watchers.fileno())
    for _ in range(3):
        watchers.tell()
    assert readable(watchers.fileno())
    watchers.seen()
    assert not readable(watchers.fileno())


def test_who_has_looked_before_it_watches_is_told_of_what_came_since() -> None:
    watchers = Watchers()
    watchers.seen()
    assert not readable(watchers.fileno())
    other = Watchers()
    other.seen()
    other.tell()
    assert readable(other.fileno())


def test_no_thread_takes_the_news_of_another() -> None:
    watchers = Watchers()
    watchers.seen()
    mine = watchers.fileno()
    watchers.tell()
    theirs: list[int] = []

    def look() -> None:
        theirs.append(watchers.fileno())
        watchers.seen()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert theirs != [mine]
    assert not readable(theirs[0])
    assert readable(mine)


def test_a_full_pipe_takes_no_harm() -> None:
    watchers = Watchers()
    for _ in range(70_000):
        watchers.tell()
        watchers.fileno()
    assert readable(watchers.fileno())


def test_descriptors_live_as_long_as_their_owner() -> None:
    watchers = Watchers()
    fd = watchers.fileno()
    pipe = os.fstat(fd).st_ino
    assert watchers.fileno() == fd
    del watchers
    gc.collect()
    with contextlib.suppress(OSError):  # closed, and not given to anybody else
        assert os.fstat(fd).st_ino != pipe
