"""Friedman's test and Wilcoxon's signed-rank test, as the paper used them and exact."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.exact_tests import friedman_p, signed_rank_p
from readerstudy.analysis.statistics.many_arms import Tail, friedman_tail

# Beyond these numbers of blocks an exact p takes seconds and adds nothing.
FRIEDMAN_EXACT = 300
WILCOXON_EXACT = 600
# Why a test or its exact P is not given.
TWO_TREATMENTS = (
    "of two variants there is one pair; see Wilcoxon's test. The exact P here is that "
    "of the sign test"
)


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of n blocks under k treatments. None is explained in `reason`.

    Of two treatments there is none: Wilcoxon's test of their one pair is the answer,
    and p_exact is that of the sign test.

    all_tied: blocks in which all treatments are equal. mean_rank: by treatment, 1 to k.
    chi2: corrected for ties. p_exact: conditional on the ranks; p_exact_se: its
    standard error where it comes from Monte Carlo, else None. W: Kendall's coefficient
    of concordance, 0 to 1.
    """

    n: int
    all_tied: int
    mean_rank: tuple[float, ...] | None = None
    chi2: float | None = None
    df: int = 2
    p_chi2: float | None = None
    p_exact: float | None = None
    p_exact_se: float | None = None
    W: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Wilcoxon:
    """Wilcoxon's signed-rank test of n differences. None is explained in `reason`.

    n counts zero differences, which the test then drops. W_plus, W_minus: rank sums of
    the positive and the negative differences. z and p: normal approximation, corrected
    for ties and not for continuity, two-sided; p_exact: conditional on the ranks.
    p_pratt (exact) and p_pratt_asymptotic rank the zeros before dropping them.
    hl_shift: Hodges-Lehmann estimate, the median of the Walsh averages. rbc:
    matched-pairs rank-biserial correlation, -1 to 1. mean_diff, hl_shift, rbc and z are
    positive where the positive differences prevail.
    """

    n: int
    n_zero: int
    n_pos: int
    n_neg: int
    W_plus: float | None = None
    W_minus: float | None = None
    z: float | None = None
    p: float | None = None
    p_exact: float | None = None
    p_pratt: float | None = None
    p_pratt_asymptotic: float | None = None
    mean_diff: float | None = None
    hl_shift: float | None = None
    rbc: float | None = None
    reason: str | None = None


def friedman(blocks: Floats, level: float = 0.001, seed: int = 0) -> Friedman:
    """Test whether treatments differ; `blocks` is (n, k), without NaN.

    Of four treatments and more P is exact where blocks are few, else from Monte Carlo,
    drawn from `seed` until it is clear on which side of `level` it is.

    Values are compared with `==`, so means over readers must be formed such that equal
    ones are equal to the last bit: integer sums, or quotients of them.
    """
    n, k = blocks.shape
    if n == 0:
        return Friedman(n=0, all_tied=0, df=k - 1, reason="no complete block")
    all_tied = int(np.count_nonzero(np.ptp(blocks, axis=1) == 0))
    mean_rank = tuple(float(r) for r in stats.rankdata(blocks, axis=1).mean(axis=0))
    if k == 2:
        p = sign_test_p(blocks[:, 0] - blocks[:, 1])
        return Friedman(n, all_tied, mean_rank, df=1, p_exact=p, reason=TWO_TREATMENTS)
    if all_tied == n:
        return Friedman(
            n,
            all_tied,
            mean_rank,
            df=k - 1,
            p_chi2=1.0,
            p_exact=1.0,
            reason="all blocks tied",
        )
    chi2, p = (float(x) for x in stats.friedmanchisquare(*blocks.T))
    tail = _exact(blocks, level, seed)
    return Friedman(
        n,
        all_tied,
        mean_rank,
        chi2=chi2,
        df=k - 1,
        p_chi2=p,
        p_exact=tail.p if tail else None,
        p_exact_se=tail.se if tail else None,
        W=chi2 / (n * (k - 1)),
        reason=None if tail else _beyond(n, FRIEDMAN_EXACT),
    )


def _exact(blocks: Floats, level: float, seed: int) -> Tail | None:
    n, k = blocks.shape
    if k > 3:
        return friedman_tail(blocks, level, seed)
    return Tail(friedman_p(blocks)) if n <= FRIEDMAN_EXACT else None


def sign_test_p(differences: Floats) -> float:
    """Two-sided exact p of the signs of the differences that are not zero: of answers
    yes and no it is McNemar's test."""
    d = np.round(differences, 9)
    plus, minus = int(np.count_nonzero(d > 0)), int(np.count_nonzero(d < 0))
    return min(1.0, 2 * float(stats.binom.cdf(min(plus, minus), plus + minus, 0.5)))


def wilcoxon(differences: Floats, divisor: int = 1) -> Wilcoxon:
    """Test whether the differences are symmetric about zero.

    `differences` is (n,), without NaN; it is rounded to 1e-9 first, because 7/6 - 5/6
    and 4/6 - 2/6 differ in their last bit, which would break their tie and change p.
    `divisor` brings mean_diff and hl_shift to the unit wanted: the number of readers
    where the differences are of sums over readers.
    """
    d = np.round(differences, 9) + 0.0  # no -0.0
    n, nonzero = d.size, d[d != 0]
    n_pos = int(np.count_nonzero(d > 0))
    counts = (n, n - nonzero.size, n_pos, nonzero.size - n_pos)
    if n == 0:
        return Wilcoxon(*counts, reason="no complete block")
    if nonzero.size == 0:
        return _all_zero(n)
    ranks = stats.rankdata(np.abs(nonzero))
    plus, minus = float(ranks[nonzero > 0].sum()), float(ranks[nonzero < 0].sum())
    z, p = _normal(d, "wilcox")
    exact = n <= WILCOXON_EXACT
    return Wilcoxon(
        *counts,
        W_plus=plus,
        W_minus=minus,
        # SciPy gives the z of the smaller sum, which is never positive.
        z=abs(z) * float(np.sign(plus - minus)),
        p=p,
        p_exact=signed_rank_p(ranks, plus) if exact else None,
        p_pratt=_pratt_p(d) if exact else None,
        p_pratt_asymptotic=_normal(d, "pratt")[1],
        mean_diff=float(d.mean()) / divisor,
        hl_shift=_walsh_median(d) / divisor,
        rbc=(plus - minus) / (plus + minus),
        reason=_beyond(n, WILCOXON_EXACT),
    )


def _all_zero(n: int) -> Wilcoxon:
    return Wilcoxon(
        n=n,
        n_zero=n,
        n_pos=0,
        n_neg=0,
        W_plus=0.0,
        W_minus=0.0,
        p=1.0,
        p_exact=1.0,
        p_pratt=1.0,
        p_pratt_asymptotic=1.0,
        mean_diff=0.0,
        hl_shift=0.0,
        reason="all differences are zero",
    )


def _normal(d: Floats, zero_method: str) -> tuple[float, float]:
    test = stats.wilcoxon(
        d, zero_method=zero_method, correction=False, method="asymptotic"
    )
    return float(test.zstatistic), float(test.pvalue)


def _pratt_p(d: Floats) -> float:
    ranks = stats.rankdata(np.abs(d))
    return signed_rank_p(ranks[d != 0], float(ranks[d > 0].sum()))


def _walsh_median(d: Floats) -> float:
    first, second = np.triu_indices(d.size)
    return float(np.median((d[first] + d[second]) / 2))


def _beyond(n: int, limit: int) -> str | None:
    return f"exact P is computed up to {limit} blocks" if n > limit else None
