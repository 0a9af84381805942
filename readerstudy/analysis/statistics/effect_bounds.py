"""Intervals that need no redraws: of the Hodges-Lehmann shift, by inversion of the
exact signed-rank test; of a mean; of Kendall's W; of a rank-biserial correlation of 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from readerstudy.analysis.statistics.arrays import Floats, Integers
from readerstudy.analysis.statistics.exact_tests import signed_rank_p

LEVEL = 0.05
# Differences that are no whole numbers are taken to this part of one.
_FRACTIONS = 10**9
# Beyond the end that bisection finds, in case P does not fall evenly.
_LOOK_BEYOND = 4
# With so many differences the normal approximation is never three times too large or
# too small near the level.
_MANY = 60


@dataclass(frozen=True)
class ShiftInterval:
    """low and high are None where the interval has no end there: with five differences
    or fewer no shift can be rejected. An end that is open is itself rejected."""

    low: float | None
    high: float | None
    low_open: bool
    high_open: bool


def shift_interval(
    differences: Floats, divisor: int = 1, level: float = LEVEL
) -> ShiftInterval:
    """The shifts x that the exact signed-rank test of `differences` (n,) - x accepts,
    where its P is at least `level`: 0 is inside where the P of the pair is.

    P changes at Walsh averages alone, so these and the midpoints between them are all
    there is to try. `divisor` is that of the differences.
    """
    d, unit = _whole(differences)
    return _inverted(tuple(d.tolist()), 8 * divisor * unit, level)


# Data sets that are one, and poolings without gaps, give the same differences again.
@lru_cache(maxsize=64)
def _inverted(differences: tuple[int, ...], scale: int, level: float) -> ShiftInterval:
    d = np.array(differences, np.int64)
    first, second = np.triu_indices(d.size)
    # In eighths, where the midpoints of Walsh averages are whole numbers too.
    averages = np.unique(4 * (d[first] + d[second]))
    candidates = np.empty(2 * averages.size + 1, np.int64)
    candidates[1::2] = averages
    candidates[2:-1:2] = (averages[:-1] + averages[1:]) // 2
    # Beyond all of them.
    candidates[0], candidates[-1] = averages[0] - 1, averages[-1] + 1

    def accepted(place: int) -> bool:
        return _accepts(8 * d - candidates[place], level)

    estimate = np.median(4 * (d[first] + d[second]))
    start = int(np.searchsorted(candidates[:-1], estimate))
    low = _outermost(accepted, start, -1, 0)
    high = _outermost(accepted, start, 1, candidates.size - 1)
    return ShiftInterval(
        low=None if low == 0 else float(candidates[low - (low % 2 == 0)] / scale),
        high=None
        if high == candidates.size - 1
        else float(candidates[high + (high % 2 == 0)] / scale),
        # Where a midpoint is the last that is accepted, the average beyond it is not.
        low_open=low % 2 == 0,
        high_open=high % 2 == 0,
    )


def _whole(differences: Floats) -> tuple[Integers, int]:
    d = np.round(differences, 9)
    unit = 1 if bool((d == np.rint(d)).all()) else _FRACTIONS
    return np.rint(d * unit).astype(np.int64), unit


def _accepts(shifted: Integers, level: float) -> bool:
    nonzero = shifted[shifted != 0]
    if nonzero.size == 0:
        return True
    ranks = stats.rankdata(np.abs(nonzero))
    plus = float(ranks[nonzero > 0].sum())
    if nonzero.size >= _MANY:
        # The exact P takes milliseconds, and here can only fall on one side.
        z = abs(2 * plus - ranks.sum()) / float((ranks**2).sum()) ** 0.5
        normal = 2 * float(stats.norm.sf(z))
        if not level / 3 < normal < level * 3:
            return normal > level
    return signed_rank_p(ranks, plus) >= level


def _outermost(accepted: Callable[[int], bool], start: int, step: int, end: int) -> int:
    """The place farthest from `start`, in steps of +-1 to `end`, that is accepted."""
    inside, outside = 0, abs(end - start) + 1
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if accepted(start + step * middle):
            inside = middle
        else:
            outside = middle
    beyond = range(inside + 2, min(inside + 2 + _LOOK_BEYOND, abs(end - start) + 1))
    farther = [place for place in beyond if accepted(start + step * place)]
    return start + step * (farther[-1] if farther else inside)


def mean_interval(
    differences: Floats, divisor: int = 1, level: float = LEVEL
) -> tuple[float, float] | None:
    """Student's, of the mean of (n,) differences; None of fewer than two."""
    n = differences.size
    if n < 2:
        return None
    half = float(stats.t.ppf(1 - level / 2, n - 1) * differences.std(ddof=1) / n**0.5)
    mean = float(differences.mean())
    return (mean - half) / divisor, (mean + half) / divisor


def corrected_w(w: float, n: int) -> float | None:
    """Kendall's W of n blocks less its bias: the mean rank correlation of two blocks,
    which is 0 on average where nothing differs. None of one block."""
    return (n * w - 1) / (n - 1) if n > 1 else None


def w_interval(chi2: float, n: int, k: int) -> tuple[float, float]:
    """Of Kendall's W, from Friedman's chi2 as a noncentral chi-squared with k - 1 df.

    Its lower end is 0 exactly where chi2 is not significant at .025; W itself is never
    outside, however small it is.
    """
    most = n * (k - 1)
    low, high = (
        _noncentrality(chi2, k - 1, p) / most for p in (1 - LEVEL / 2, LEVEL / 2)
    )
    return min(low, 1.0), min(max(high, chi2 / most), 1.0)


def _noncentrality(chi2: float, df: int, p: float) -> float:
    """For which `chi2` is the quantile at `p`; 0 where even that is too much."""
    if stats.chi2.cdf(chi2, df) <= p:
        return 0.0

    def beyond(noncentrality: float) -> float:
        return float(stats.ncx2.cdf(chi2, df, noncentrality)) - p

    upper = 2 * chi2 + 20.0
    while beyond(upper) > 0:
        upper *= 2
    return float(optimize.brentq(beyond, 0.0, upper, xtol=1e-12, rtol=1e-14))


def one_sided_bound(n_nonzero: int) -> float:
    """How small a rank-biserial correlation of 1 may be in truth, when all nonzero
    differences have one sign: from the sign test (Clopper and Pearson)."""
    return 2 * float((LEVEL / 2) ** (1 / n_nonzero)) - 1
