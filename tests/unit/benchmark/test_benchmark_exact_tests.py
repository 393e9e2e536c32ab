"""Exact tests against textbook tables and scipy; their power against every outcome there can be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_execgo.benchmark.exact_tests import fisher, fisher_power, holm, mcnemar, mcnemar_power

COUNTS = st.integers(0, 30)


def test_mcnemar_of_the_approval_ratings() -> None:
    assert mcnemar(150, 86) == pytest.approx(3.716e-05, rel=1e-3)  # Agresti's survey of 1,600 voters, exact


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (0, 6, 0.03125), (1, 9, 0.021484375)]
)
def test_mcnemar_is_a_coin_tossed(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == p


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_as_scipy_has_it(lost: int, won: int) -> None:
    theirs = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(float(theirs), rel=1e-9)


def test_mcnemar_of_thousands() -> None:
    assert mcnemar(2500, 2300) == pytest.approx(float(stats.binomtest(2500, 4800).pvalue), rel=1e-9)


@pytest.mark.parametrize(
    ("before", "after", "p"),
    [((3, 4), (1, 4), 0.4857), ((2, 17), (10, 13), 0.0005367), ((0, 5), (0, 5), 1.0), ((5, 5), (0, 5), 0.0079365)],
    ids=["tea", "twins", "nothing", "all"],
)
def test_fisher_of_the_lady_and_the_twins(before: tuple[int, int], after: tuple[int, int], p: float) -> None:
    assert fisher(before, after) == pytest.approx(p, rel=1e-3)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_fisher_as_scipy_has_it(passed: int, others: int, passed_after: int, others_after: int) -> None:
    before, after = (passed, passed + others), (passed_after, passed_after + others_after)
    theirs = stats.fisher_exact([[passed, others], [passed_after, others_after]]).pvalue
    assert fisher(before, after) == pytest.approx(float(theirs), rel=1e-7)


def test_fisher_of_thousands() -> None:
    theirs = stats.fisher_exact([[1900, 100], [1860, 140]]).pvalue
    assert fisher((1900, 2000), (1860, 2000)) == pytest.approx(float(theirs), rel=1e-7)


def test_holm_as_textbooks_have_it() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.01, 0.9]) == pytest.approx([0.08, 0.03, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def every_power_mcnemar(pairs: int, back: float, drop: float, alpha: float) -> float:
    down = back + drop
    power = 0.0
    for lost in range(pairs + 1):
        for won in range(pairs + 1 - lost):
            if mcnemar(lost, won) <= alpha:
                rest = pairs - lost - won
                power += stats.multinomial.pmf([lost, won, rest], pairs, [down, back, 1 - down - back])
    return float(power)


@pytest.mark.parametrize(
    ("pairs", "back", "drop", "alpha"),
    [(20, 0.0, 0.3, 0.05), (40, 0.05, 0.2, 0.05), (15, 0.1, 0.5, 0.01), (6, 0.0, 1.0, 0.05), (5, 0.0, 1.0, 0.05)],
)
def test_mcnemars_power_is_the_chance_of_all_that_it_would_find(pairs: int, back: float, drop: float, alpha: float) -> None:
    assert mcnemar_power(pairs, back, alpha=alpha, drop=drop) == pytest.approx(
        every_power_mcnemar(pairs, back, drop, alpha), abs=1e-9
    )


def test_six_pairs_can_find_something_and_five_can_not() -> None:
    assert mcnemar_power(6, 0.0, alpha=0.05, drop=1.0) == 1.0
    assert mcnemar_power(5, 0.0, alpha=0.05, drop=1.0) == 0.0


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 1.0), st.sampled_from([0.05, 0.01, 0.2]))
def test_fishers_power_is_the_chance_of_all_that_it_would_find(ran: int, ran_after: int, rate: float, alpha: float) -> None:
    drop = rate / 2
    every = sum(
        stats.binom.pmf(passed, ran, rate) * stats.binom.pmf(after, ran_after, rate - drop)
        for passed in range(ran + 1)
        for after in range(ran_after + 1)
        if fisher((passed, ran), (after, ran_after)) <= alpha * (1 + 1e-9)
    )
    assert fisher_power(ran, ran_after, rate, alpha=alpha, drop=drop) == pytest.approx(float(every), abs=1e-8)


def test_power_grows_with_what_there_is_and_falls_with_what_is_asked() -> None:
    powers = [mcnemar_power(pairs, 0.02, alpha=0.05) for pairs in (10, 50, 100, 400)]
    assert powers == sorted(powers)
    assert powers[0] < 0.05
    assert powers[-1] > 0.99
    assert fisher_power(400, 400, 0.9, alpha=0.05) > fisher_power(400, 400, 0.9, alpha=0.001) > 0.5
