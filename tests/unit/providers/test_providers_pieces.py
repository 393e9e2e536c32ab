"""The gateway's pieces without a socket: redaction, waits, events put together, records that stay small."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execgo.plan.provider import Secret
from pytest_execgo.providers import record
from pytest_execgo.providers.events import Events
from pytest_execgo.providers.record import Body, ExchangeLog, Trial
from pytest_execgo.providers.redaction import RedactedStream, Redactor
from pytest_execgo.providers.retry import backoff, retry_after

KEY = "sk-canary/55+21"
REDACTOR = Redactor([Secret(KEY), Secret("EMPTY"), Secret()])


def test_a_secret_is_hidden_in_every_spelling() -> None:
    assert REDACTOR.text(f"a {KEY} b {KEY}") == "a *** b ***"
    assert REDACTOR.data(b"sk-canary\\/55+21 sk-canary%2F55%2B21") == b"*** ***"
    assert REDACTOR.value({KEY: [KEY, {"a": f"x{KEY}"}, 1, None]}) == {"***": ["***", {"a": "x***"}, 1, None]}
    assert KEY not in repr(REDACTOR)


def test_words_and_odd_texts_stay() -> None:
    assert REDACTOR.text("EMPTY \ud800 sk-canary") == "EMPTY \ud800 sk-canary"
    assert Redactor().value({"a": [KEY]}) == {"a": [KEY]}


@given(
    st.lists(st.sampled_from([b"x", b"s", b"sk-can", KEY.encode(), KEY.encode()[:9], KEY.encode()[9:], b"\n\n"])), st.integers(1, 7)
)
def test_a_stream_is_hidden_wherever_it_is_cut(pieces: list[bytes], size: int) -> None:
    whole = b"".join(pieces)
    stream = RedactedStream(REDACTOR)
    passed = b"".join([*(stream.feed(whole[at : at + size]) for at in range(0, len(whole), size)), stream.end()])
    assert passed == whole.replace(KEY.encode(), b"***")


def test_only_what_may_be_a_secret_is_held_back() -> None:
    stream = RedactedStream(REDACTOR)
    assert stream.feed(b"data: {}\n\n") == b"data: {}\n\n"
    assert stream.feed(b"data: sk-c") == b"data: "
    assert stream.feed(b"at") == b"sk-cat"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        *((None, None), ("", None), ("soon", None), ("3", 3.0), ("0.5", 0.5), ("-3", 0.0), ("inf", None), ("nan", None)),
        ("Fri, 20 Nov 2026 10:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 09:00:00 GMT", 0.0),
        ("Fri, 20 Nov 2026 10:01:00 -0000", 60.0),
        ("Fri, 99 Nov 2026 10:01:00 GMT", None),
    ],
)
def test_what_retry_after_asks_for(said: str | None, seconds: float | None) -> None:
    assert retry_after(said, datetime(2026, 11, 20, 10, tzinfo=UTC)) == seconds


def test_waits_double_up_to_a_bound() -> None:
    assert 0.375 <= backoff(0.5, 1) <= 0.625
    assert 1.5 <= backoff(0.5, 3) <= 2.5
    assert backoff(0.5, 50) <= 10


def event(delta: dict[str, Any], index: int = 0, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": delta}], **more}).encode() + b"\n\n"


def test_tool_calls_and_several_choices_are_put_together() -> None:
    events = Events(1 << 20)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "plan", "arguments": ""}}
    data = b": comment\n\n" + event({"role": "assistant", "content": None, "tool_calls": [call]}, id="i", model="m")
    for piece in ('{"a"', ": 1}"):
        data += event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    data += event({"tool_calls": [{"index": 1, "id": "d", "function": {"name": "x", "arguments": "{}"}}]})
    data += event({"role": "assistant", "content": "other"}, index=1) + b"data: [DONE]\n\n"
    for at in range(0, len(data), 7):
        events.feed(data[at : at + 7])
    whole = events.document()
    assert whole is not None
    assert (whole["id"], whole["model"], whole["object"], whole["streamed_events"]) == ("i", "m", "chat.completion", 5)
    first, second = (choice["message"] for choice in whole["choices"])
    assert first["content"] is None
    assert first["tool_calls"] == [
        {**call, "function": {"name": "plan", "arguments": '{"a": 1}'}},
        {"index": 1, "id": "d", "function": {"name": "x", "arguments": "{}"}},
    ]
    assert second == {"role": "assistant", "content": "other"}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"event: x\n\n", b"data: no json\n\n", b"data: [1]\n\n", b'data: {"type": "response.created"}\n\n'),
        *(b"data: " + b"[" * 100_000 + b"\n\n", b"x" * 3_000_000, event({"content": "x" * 3000})),
    ],
)
def test_a_stream_of_another_kind_or_size_is_not_put_together(data: bytes) -> None:
    events = Events(2000)
    events.feed(data)
    assert events.document() is None


def test_a_stream_that_is_too_long_still_tells_its_usage() -> None:
    events = Events(10)
    events.feed(event({"content": "long"}) + event({}, usage={"prompt_tokens": 1}))
    assert (events.document(), events.usage) == (None, {"prompt_tokens": 1})


def finished(log: ExchangeLog, response: bytes, request: bytes = b"{}", *, events: bool = False) -> None:
    trial = Trial("/v1/x", Body(request))
    trial.begin(200, events=events)
    trial.feed(response)
    log.add(trial)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5}, (3, 4, 0.5)),
        ({"input_tokens": 3, "output_tokens": 4, "cost": 2}, (3, 4, 2.0)),
        ({"prompt_tokens": True, "completion_tokens": "4", "cost": "x"}, (None, None, None)),
        ({"prompt_tokens": -1, "completion_tokens": 1.5, "cost": -1}, (None, None, None)),
        (None, (None, None, None)),
        ([], (None, None, None)),
    ],
)
def test_usage_is_what_answers_say(usage: Any, expected: tuple[object, ...]) -> None:
    log = ExchangeLog(REDACTOR)
    finished(log, json.dumps({"usage": usage}).encode())
    finished(log, b"[]")
    assert (log.usage.prompt_tokens, log.usage.completion_tokens, log.usage.cost) == expected
    assert log.usage.requests == 2


def test_what_can_be_no_json_value_is_kept_as_text() -> None:
    log = ExchangeLog(REDACTOR)
    for body in (b'{"a": NaN}', b"[" * 5000, b"\xff", b'"\\ud800"'):
        finished(log, body)
    assert [one.response for one in log.exchanges] == [
        '{"a": NaN}',
        "[" * 5000,
        "\N{REPLACEMENT CHARACTER}",
        "\N{REPLACEMENT CHARACTER}",
    ]


def test_records_are_redacted_even_where_bytes_would_not_show_it() -> None:
    log = ExchangeLog(REDACTOR)
    finished(log, b'{"a": "\\u0073k-canary/55+21"}', json.dumps({KEY: KEY}).encode())
    pieces = b"".join(event({"content": piece}) for piece in (KEY[:5], KEY[5:]))
    finished(log, pieces, events=True)
    first, second = log.exchanges
    assert (first.request, first.response) == ({"***": "***"}, {"a": "***"})
    assert second.response["choices"][0]["message"]["content"] == "***"


def test_records_are_bounded_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KEPT_OF_A_BODY", 10)
    monkeypatch.setattr(record, "KEPT_OF_ALL", 35)
    monkeypatch.setattr(record, "KEPT_EXCHANGES", 4)
    log = ExchangeLog(REDACTOR)
    for _ in range(6):
        finished(log, b"x" * 1000, b"{}")
    first, *_, last = log.exchanges
    assert first.response == "x" * 10 + "… 990 bytes dropped …"
    assert "dropped" in last.response
    assert "35 bytes already" in last.response
    assert (len(log.exchanges), log.dropped, log.usage.requests) == (4, 2, 6)


def test_the_usage_of_a_stream_that_is_too_long_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KEPT_OF_A_STREAM", 10)
    log = ExchangeLog(REDACTOR)
    data = event({"content": "long"}) + event({}, usage={"prompt_tokens": 5})
    finished(log, data, events=True)
    assert log.exchanges[0].response == data.decode()
    assert log.usage.prompt_tokens == 5
