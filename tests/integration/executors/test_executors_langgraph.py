"""Real graphs of LangGraph, executed in a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("needs_langgraph")
Drive = Callable[..., Any]


def test_runs_on_one_thread_go_on_from_each_other_and_other_threads_begin_anew(driver: Drive) -> None:
    (one, two, other), checkpoints = driver("langgraph", "memory")
    assert {result["status"] for result in (one, two, other)} == {"succeeded"}
    assert one["said"] == ["hello", "first after 1", "second for ada on a"]
    assert two["said"] == [*one["said"], "hello", "first after 4", "second for ada on a"]
    assert other["said"] == ["hello", "first after 1", "second for ada on b"]
    assert checkpoints == 3
    assert two["metadata"]["next"] == []


def test_a_compiled_graph_needs_no_checkpointer(driver: Drive) -> None:
    result = driver("langgraph", "compiled")
    assert (result["status"], result["said"]) == ("succeeded", ["first after 0", "second for ada on t"])
    assert result["metadata"] == {"thread_id": "t", "target": "LangGraph"}


def test_a_graph_that_asks_is_pending_and_goes_on_when_it_is_answered(driver: Drive) -> None:
    asked, answered, stopped = driver("langgraph", "interrupt")
    assert (asked["status"], asked["said"], asked["metadata"]["next"]) == ("pending", ["first after 0"], ["ask"])
    assert (answered["status"], answered["said"]) == ("succeeded", ["first after 0", "answered B"])
    assert (stopped["status"], stopped["metadata"]["next"]) == ("pending", ["second"])


def test_what_a_node_raises_is_told_with_the_node(driver: Drive) -> None:
    failed, unfit = driver("langgraph", "fail")
    assert (failed["status"], failed["error"]) == ("failed", "LookupError: no such tool")
    assert failed["metadata"]["exception_type"] == "LookupError"
    assert "'fail'" in failed["metadata"]["exception_notes"][0]
    assert unfit["status"] == "failed"
    assert unfit["error"].startswith("ValueError: Graph must have an entrypoint")


def test_a_graph_is_ended_by_time_by_order_and_with_its_caller(driver: Drive) -> None:
    late, cancelled, recorded, outcome, running = driver("langgraph", "ended")
    assert (late["status"], late["error"]) == ("failed", "timed out after 0.3 s")
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", "cancelled on order")
    assert (recorded["status"], outcome) == ("cancelled", "CancelledError")
    assert running == 0


def test_many_at_once_do_not_mix(driver: Drive) -> None:
    assert driver("langgraph", "at_once") == [["first after 0", f"second for u on t{n}"] for n in range(10)]
