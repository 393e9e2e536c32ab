"""Whether two sweeps differ by more than chance: exact tests, what they could have seen, and Holm's step for making many of them.

Outcomes are counted as passed or not. Sources: docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb

from pytest_execgo.benchmark.intervals import binomial

DETECTABLE = 0.1
"""The drop of the pass rate of which a test's power is told."""
ALPHA = 0.05
_TIE = 1e-9  # tables as likely as the observed one, to within rounding, count as no more likely
_NEGLIGIBLE = 1e-12  # what is less likely than that is left out of sums


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided exact p of McNemar's test: `lost` pairs passed only before, `won` only after.

    Under the hypothesis that nothing changed, which of the two a pair is in is the toss of a coin.
    """
    moved = lost + won
    tail = sum(comb(moved, count) for count in range(min(lost, won) + 1))
    return min(2 * tail / (1 << moved), 1.0)


def fisher(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Return the two-sided exact p of Fisher's test for two (passed, ran): the tables no more likely than this one, together."""
    (passed, ran), (passed_after, ran_after) = before, after
    total = passed + passed_after
    weights = dict(_tables(total, ran, ran_after))
    bound = weights[passed] * (1 + _TIE)
    return min(sum(weight for weight in weights.values() if weight <= bound) / sum(weights.values()), 1.0)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted for there being many (Holm's step-down), in the order in which they came."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min((len(values) - rank) * values[index], 1.0))
        adjusted[index] = highest
    return adjusted


def mcnemar_power(pairs: int, back: float, *, alpha: float, drop: float = DETECTABLE) -> float:
    """Return the chance that McNemar's test finds p <= alpha when the pass rate drops by `drop`.

    A share `back` of the pairs moves up all the same, and so a share `back + drop` down; both together are at most 1.
    """
    up = min(max(back, 0.0), (1 - drop) / 2)
    moving = drop + 2 * up
    power = 0.0
    for moved in range(pairs + 1):
        chance = binomial(moved, pairs, moving)
        if chance > _NEGLIGIBLE:
            power += chance * _seen(moved, up / moving, alpha)
    return min(power, 1.0)


def _seen(moved: int, up: float, alpha: float) -> float:
    """Return the chance that the test finds something in `moved` pairs, of which each moved up with chance `up`."""
    tail = power = 0.0
    for count in range(moved // 2 + 1):
        tail += binomial(count, moved, 0.5)
        if 2 * tail > alpha * (1 + _TIE):
            break
        power += binomial(count, moved, up) + binomial(moved - count, moved, up)
    return power


def fisher_power(ran: int, ran_after: int, rate: float, *, alpha: float, drop: float = DETECTABLE) -> float:
    """Return the chance that Fisher's test finds p <= alpha when the pass rate drops by `drop` from `rate` (to 0, at least)."""
    chances = [(count, binomial(count, ran, rate)) for count in range(ran + 1)]
    chances_after = [(count, binomial(count, ran_after, max(rate - drop, 0.0))) for count in range(ran_after + 1)]
    likely = [(count, chance) for count, chance in chances if chance > _NEGLIGIBLE]
    likely_after = [(count, chance) for count, chance in chances_after if chance > _NEGLIGIBLE]
    regions: dict[int, tuple[int, int]] = {}
    power = 0.0
    for passed, chance in likely:
        for passed_after, chance_after in likely_after:
            total = passed + passed_after
            if total not in regions:
                regions[total] = _unremarkable(total, ran, ran_after, alpha)
            least, most = regions[total]
            if not least <= passed <= most:
                power += chance * chance_after
    return min(power, 1.0)


def _unremarkable(total: int, ran: int, ran_after: int, alpha: float) -> tuple[int, int]:
    """Return the least and the most `passed` of which Fisher's test, given `total`, makes nothing: p > alpha."""
    weights = dict(_tables(total, ran, ran_after, _NEGLIGIBLE))
    all_of_them = sum(weights.values())
    tail = 0.0
    ranked = sorted(weights.items(), key=lambda pair: pair[1])
    out: set[int] = set()
    start = 0
    while start < len(ranked):  # ties go together
        end = start
        while end < len(ranked) and ranked[end][1] <= ranked[start][1] * (1 + _TIE):
            tail += ranked[end][1]
            end += 1
        if tail / all_of_them > alpha * (1 + _TIE):
            break
        out.update(count for count, _ in ranked[start:end])
        start = end
    inside = [count for count in weights if count not in out]
    return min(inside), max(inside)


def _tables(total: int, ran: int, ran_after: int, least: float = 0.0) -> Iterator[tuple[int, float]]:
    """Yield each `passed` that a table with these margins can have, and how likely it is beside the likeliest one.

    From that one outwards, as far as that is at least `least`.
    """
    low, high = max(0, total - ran_after), min(ran, total)
    mode = min(max((total + 1) * (ran + 1) // (ran + ran_after + 2), low), high)
    weight = 1.0
    for count in range(mode, high + 1):
        yield count, weight
        weight *= (ran - count) * (total - count) / ((count + 1) * (ran_after - total + count + 1))
        if weight < least:
            break
    weight = 1.0
    for count in range(mode, low, -1):
        weight *= count * (ran_after - total + count) / ((ran - count + 1) * (total - count + 1))
        if weight < least:
            break
        yield count - 1, weight
