"""How sure a figure is: intervals of rates, bounds on what was never seen, quantiles. Formulas and sources: docs/benchmarks.md."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import comb, exp, fsum, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean

from pytest_execgo.plan.statistics import Interval, Quantiles

CONFIDENCE = 0.95
RESAMPLES = 2000
"""How often the bootstrap draws the scenarios anew."""
_SEED = 20_000  # of the bootstrap: the same runs have the same interval, whenever and wherever it is computed
_HALVINGS = 60  # of an interval of length 1: the bound is right to the last bit of a double


def wilson(passed: int, ran: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the Wilson score interval of a rate of which `passed` in `ran` were seen.

    `ValueError` unless 0 <= passed <= ran > 0.
    """
    _check(passed, ran)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, z2 = passed / ran, z * z
    centre, spread = rate + z2 / (2 * ran), z * sqrt(rate * (1 - rate) / ran + z2 / (4 * ran * ran))
    low, high = ((centre + sign * spread) / (1 + z2 / ran) for sign in (-1, 1))
    return Interval(low=0.0 if passed == 0 else low, high=1.0 if passed == ran else high, confidence=confidence)


def upper_bound(found: int, looked: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided upper bound (Clopper-Pearson) of a rate of which `found` in `looked` were seen.

    It is the rate at which `found` or fewer would be seen with a chance of 1 - `confidence`; for none found,
    1 - (1 - confidence)^(1 / looked). `ValueError` unless 0 <= found <= looked > 0.
    """
    _check(found, looked)
    if found == looked:
        return 1.0
    if found == 0:
        return 1 - float((1 - confidence) ** (1 / looked))
    low, high = found / looked, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if at_most(found, looked, middle) < 1 - confidence else (middle, high)
    return high


def at_most(found: int, looked: int, rate: float) -> float:
    """Return the chance of `found` or fewer in `looked` draws that each come true with chance `rate`."""
    return min(fsum(binomial(count, looked, rate) for count in range(found + 1)), 1.0)


def binomial(found: int, looked: int, rate: float) -> float:
    """Return the chance of just `found` in `looked` draws that each come true with chance `rate`."""
    if rate <= 0 or rate >= 1:
        return float(found == (looked if rate >= 1 else 0))
    ways = lgamma(looked + 1) - lgamma(found + 1) - lgamma(looked - found + 1)
    return exp(ways + found * log(rate) + (looked - found) * log1p(-rate))


def pass_hat(passed: int, ran: int, k: int) -> float:
    """Return pass^k, C(passed, k) / C(ran, k): the chance that k of the repetitions, drawn without replacement, all passed."""
    _check(passed, ran)
    return comb(passed, k) / comb(ran, k)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of values that are sorted, not empty, by linear interpolation between order statistics."""
    place = (len(values) - 1) * share
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """Return the quantiles of values in any order; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    p50, p90, p95, p99 = (quantile(ranked, share) for share in (0.5, 0.9, 0.95, 0.99))
    return Quantiles(count=len(ranked), p50=p50, p90=p90, p95=p95, p99=p99, most=ranked[-1])


def bootstrap(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the percentile bootstrap interval of the mean of values, one a scenario, from `RESAMPLES` draws with a fixed seed.

    None when fewer than two of them differ: draws from what is all the same tell nothing.
    """
    if len(set(values)) < 2:
        return None
    source = random.Random(_SEED)  # noqa: S311 - repeatable on purpose
    means = sorted(fmean(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = (quantile(means, share) for share in ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(low=low, high=high, confidence=confidence, method="bootstrap")


def _check(found: int, looked: int) -> None:
    if not 0 <= found <= looked or looked == 0:
        raise ValueError(f"{found} of {looked} is no share")
