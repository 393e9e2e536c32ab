"""Intervals, bounds and quantiles against published values, and against what others compute."""

from __future__ import annotations

import itertools
from math import comb

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_execgo.benchmark.intervals import bootstrap, pass_hat, quantile, quantiles, upper_bound, wilson

SHARES = st.integers(1, 400).flatmap(lambda ran: st.tuples(st.integers(0, ran), st.just(ran)))


@pytest.mark.parametrize(
    ("passed", "ran", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_newcombe_1998_has_it(passed: int, ran: int, low: float, high: float) -> None:
    interval = wilson(passed, ran)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert (interval.method, interval.confidence) == ("wilson", 0.95)


@given(SHARES, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_as_scipy_has_it(seen: tuple[int, int], confidence: float) -> None:
    passed, ran = seen
    theirs = stats.binomtest(passed, ran).proportion_ci(confidence, method="wilson")
    ours = wilson(passed, ran, confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= passed / ran <= ours.high <= 1


def test_none_found_is_the_rule_of_three_made_exact() -> None:
    assert upper_bound(0, 100) == pytest.approx(0.02951, abs=5e-6)
    assert upper_bound(0, 12) == pytest.approx(1 - 0.05 ** (1 / 12), abs=1e-15)
    assert upper_bound(0, 1) == pytest.approx(0.95)
    assert upper_bound(3, 3) == 1.0


@given(SHARES, st.sampled_from([0.9, 0.95, 0.999]))
def test_bounds_as_scipy_has_them(seen: tuple[int, int], confidence: float) -> None:
    found, looked = seen
    theirs = stats.binomtest(found, looked, alternative="less").proportion_ci(confidence, method="exact").high
    assert upper_bound(found, looked, confidence) == pytest.approx(float(theirs), abs=1e-9)


def test_a_bound_of_many_runs() -> None:
    assert upper_bound(5, 10_000) == pytest.approx(float(stats.beta.ppf(0.95, 6, 9_995)), rel=1e-9)


@pytest.mark.parametrize(("found", "looked"), [(1, 0), (-1, 3), (4, 3), (0, 0)])
def test_what_is_no_share_is_refused(found: int, looked: int) -> None:
    for function in (wilson, upper_bound):
        with pytest.raises(ValueError, match="is no share"):
            function(found, looked)


@pytest.mark.parametrize(("passed", "ran", "k"), [(3, 4, 2), (5, 8, 4), (2, 6, 3), (6, 6, 3), (4, 5, 1)])
def test_pass_hat_is_the_share_of_draws_that_all_passed(passed: int, ran: int, k: int) -> None:
    ends = [True] * passed + [False] * (ran - passed)
    draws = list(itertools.combinations(ends, k))
    assert pass_hat(passed, ran, k) == sum(map(all, draws)) / len(draws) == comb(passed, k) / comb(ran, k)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_quantiles_as_numpy_has_them(values: list[float]) -> None:
    found = quantiles(values)
    assert found is not None
    theirs = numpy.quantile(values, [0.5, 0.9, 0.95, 0.99, 1.0])
    assert [found.p50, found.p90, found.p95, found.p99, found.most] == pytest.approx(list(theirs), rel=1e-9, abs=1e-6)
    assert found.count == len(values)


def test_quantiles_of_little() -> None:
    assert quantiles([]) is None
    assert quantile([3.0], 0.99) == 3.0
    assert quantile([1.0, 2.0], 0.5) == 1.5


def test_the_bootstrap_is_the_same_every_time_and_covers_what_it_drew_from() -> None:
    values = [1.0, 0.5, 0.75, 1.0, 0.25, 0.9, 1.0, 0.6]
    interval = bootstrap(values)
    assert interval is not None
    assert interval == bootstrap(values)
    assert interval.method == "bootstrap"
    theirs = stats.bootstrap((values,), numpy.mean, n_resamples=20_000, method="percentile", rng=numpy.random.default_rng(5))
    found = theirs.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((found.low, found.high), abs=0.02)


@pytest.mark.parametrize("values", [[], [1.0], [0.5, 0.5, 0.5]])
def test_what_does_not_differ_has_no_bootstrap_interval(values: list[float]) -> None:
    assert bootstrap(values) is None
