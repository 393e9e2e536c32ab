"""Knots and cycles of a task graph."""

from __future__ import annotations

import graphlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_execgo.plan.check_graph import Graph, knots, shortest_cycle

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


def graph(text: str) -> Graph:
    """`a:bc b:` -> a depends on b and c, b on nothing."""
    return {name: list(others) for name, _, others in (part.partition(":") for part in text.split())}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = [str(number) for number in range(draw(st.integers(1, 8)))]
    drawn = {name: draw(st.lists(st.sampled_from(names), max_size=4)) for name in names}
    return {name: [other for other in others if other != name] for name, others in drawn.items()}


def is_cyclic(given_graph: Graph) -> bool:
    try:
        graphlib.TopologicalSorter(given_graph).prepare()
    except graphlib.CycleError:
        return True
    return False


def test_each_knot_once_in_document_order() -> None:
    assert knots(graph("x: a:b b:a c:ax d:e e:fd f:d g:ad")) == [["a", "b"], ["d", "e", "f"]]
    assert knots(graph("a:b b:c c:")) == []


def test_shortest_cycle_starts_at_its_first_task() -> None:
    knot = graph("a:b b:c c:ad d:e e:dc")
    assert shortest_cycle(knot, list(knot)) == ["d", "e"]
    assert shortest_cycle(graph("a:b b:c c:a"), ["a", "b", "c"]) == ["a", "b", "c"]
    assert shortest_cycle(graph("b:c c:a a:b"), ["b", "c", "a"]) == ["b", "c", "a"]


@CALM
@given(graphs())
def test_knots_are_there_exactly_when_no_order_is(made: Graph) -> None:
    found = knots(made)
    assert bool(found) == is_cyclic(made)
    for knot in found:
        cycle = shortest_cycle(made, knot)
        assert set(cycle) <= set(knot)
        assert len(set(cycle)) == len(cycle)
        assert all(after in made[name] for name, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    tied = {(name, other) for knot in found for name in knot for other in knot}
    assert not is_cyclic({name: [other for other in others if (name, other) not in tied] for name, others in made.items()})


def test_a_long_ring_needs_no_recursion() -> None:
    size = 20_000
    ring = {str(number): [str((number + 1) % size)] for number in range(size)}
    (knot,) = knots(ring)
    assert shortest_cycle(ring, knot) == [str(number) for number in range(size)]
