"""GET /history (ours): the kernel's journal, read on from where the last answer ended."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pytest_execgo.kernel.api.exchange import HTTPError

if TYPE_CHECKING:
    from pytest_execgo.kernel.history.journal import Journal


def read_history(journal: Journal, query: bytes) -> str:
    """Return `{"events", "next"}` for the query's `after`, as JSON.

    `UsageError` when no line begins there; `HTTPError` 503 when there is nothing to read and the journal can't be written, so
    that it does not hold all.
    """
    from pytest_execgo.kernel.history.reading import read_after, read_lines  # with a journal it is there already

    journal.write_on()
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    lines, following = read_lines(journal.file, read_after(given.get("after", "0")))
    why = journal.failure or journal.trouble
    if why and not lines:
        raise HTTPError(503, f"the history can't be written: {why}")
    return f'{{"events":[{",".join(lines)}],"next":{following}}}'
