"""What repetitions and sweeps amount to beyond counts, how two sweeps compare, and what a gate demands. Rates are 0..1."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_execgo.plan.base import Document, Name
from pytest_execgo.plan.model import Mode
from pytest_execgo.plan.verdict import Outcome

Rate = Annotated[float, Field(ge=0, le=1)]


class Interval(Document):
    """A two-sided confidence interval, and how it was made: `wilson` or `bootstrap`."""

    low: float
    high: float
    confidence: Rate = 0.95
    method: Literal["wilson", "bootstrap"] = "wilson"


class Quantiles(Document):
    """Quantiles of `count` values in milliseconds, by linear interpolation between order statistics."""

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


class Bound(Document):
    """How much was looked for something: `found` in `looked` runs, so that its true rate is below `upper` with `confidence`."""

    what: str
    found: int
    looked: int
    upper: Rate
    confidence: Rate = 0.95


class SweepStatistics(Document):
    """A whole sweep in figures; null or empty where there is too little to say.

    `pass_rate` counts infrastructure errors and inconclusive runs as not passed, `infra_error_rate` is their own share, without
    those that the user broke off.
    `pass_hat_k` maps k to the mean over scenarios of C(c, k) / C(n, k), for k of at most half of the fewest repetitions;
    `pass_hat_interval` is its bootstrap interval by scenario. `flake_rate` is the share of repeated cells whose repetitions
    disagree. `recovery_ms` and `wall_ms` are of the runs that reached a verdict.
    """

    runs: int
    pass_rate: Rate | None = None
    pass_interval: Interval | None = None
    infra_error_rate: Rate | None = None
    pass_hat_k: dict[int, Rate] = Field(default_factory=dict)
    pass_hat_interval: dict[int, Interval] = Field(default_factory=dict)
    flake_rate: Rate | None = None
    determinism_drift: Rate | None = None
    recovery_ms: Quantiles | None = None
    wall_ms: Quantiles | None = None
    bounds: list[Bound] = Field(default_factory=list)


class CellOutcome(Document):
    """One cell as a baseline keeps it: its identity, how it ended, what it took, and what it was made of."""

    cell_id: str
    scenario_id: Name
    framework: Name
    mode: Mode
    chaos_profile: Name
    repetition: int
    seed: int
    sweep_seed: int | None = None
    outcome: Outcome
    reasons: list[str] = Field(default_factory=list)
    wall_time_ms: float | None = None
    recovery_time_ms: float | None = None
    plan_digest: str | None = None
    outcome_digest: str | None = None
    violations: int = 0


class Baseline(Document):
    """A sweep to compare others with. `execgo_baseline` is the version of this shape."""

    execgo_baseline: Literal[1] = 1
    sweep_id: Name
    finished_at: str
    backend: str
    versions: dict[str, str] = Field(default_factory=dict)
    cells: list[CellOutcome]


class CellChange(Document):
    """One cell in two sweeps; null where one of them did not run it. `kind` says what moved."""

    kind: Literal["regression", "improvement", "other", "added", "removed"]
    before: CellOutcome | None = None
    after: CellOutcome | None = None


class ComparisonTest(Document):
    """One test of whether two sweeps differ. `p_adjusted` is by Holm over all tests of the comparison.

    `power` is the chance that such a test sees the pass rate drop by `detectable`, given how many pairs there were, at the
    strictest level of Holm's step: `alpha` divided by the number of tests. Null where there was nothing to lose.
    """

    what: str
    method: Literal["mcnemar_exact", "fisher_exact"]
    before: tuple[int, int]
    after: tuple[int, int]
    p: Rate
    p_adjusted: Rate
    alpha: Rate = 0.05
    power: Rate | None = None
    detectable: Rate | None = None


class Comparison(Document):
    """A sweep beside a baseline: which cells moved, and whether that is more than chance. `paired` counts cells in both."""

    baseline_sweep: Name
    paired: int
    unpaired: int
    regressions: int
    improvements: int
    changes: list[CellChange] = Field(default_factory=list)
    tests: list[ComparisonTest] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class GateResult(Document):
    """One condition that a sweep had to meet. `value` is null where there was nothing to measure, which does not pass.

    `because` names the cells that decided it, a line each.
    """

    condition: str
    passed: bool
    value: float | None = None
    because: list[str] = Field(default_factory=list)
