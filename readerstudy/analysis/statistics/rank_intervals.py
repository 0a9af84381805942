"""Bootstrap percentile interval of the matched-pairs rank-biserial correlation, the
effect size of Wilcoxon's test."""

import numpy as np

from readerstudy.analysis.statistics.arrays import Floats, Integers, ratio
from readerstudy.analysis.statistics.effect_bounds import one_sided_bound
from readerstudy.analysis.statistics.resampling import Bootstrap, Interval, Statistic


def rank_biserial_interval(
    differences: Floats, images: Integers, bootstrap: Bootstrap
) -> Interval:
    """Images are redrawn, with all their differences; `images` (n,) numbers them.

    Where all differences that are not zero have one sign, no redraw has another
    correlation than 1 or -1: the inner end is then that of the sign test.
    """
    number = int(images.max()) + 1 if images.size else 0
    if number == 0:
        return Interval()
    statistic = _rank_biserial(differences)
    (interval,) = bootstrap.intervals(
        lambda counts: statistic(counts[:, images])[:, np.newaxis], number
    )
    nonzero = np.sign(np.round(differences, 9))
    nonzero = nonzero[nonzero != 0]
    if number < 2 or not nonzero.size or abs(nonzero.sum()) < nonzero.size:
        return interval
    bound = one_sided_bound(nonzero.size)
    if nonzero[0] > 0:
        return Interval(bound, 1.0, interval.undefined)
    return Interval(-1.0, -bound, interval.undefined)


def _rank_biserial(differences: Floats) -> Statistic:
    """(W+ - W-) / (W+ + W-) of weighted differences; NaN where all are zero."""
    d = np.round(differences, 9)  # as the test does
    levels = np.unique(np.abs(d[d != 0]))
    signed = np.concatenate([levels, -levels])
    members = (d[:, np.newaxis] == signed).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        plus, minus = np.split(weights @ members, 2, axis=1)
        alike = plus + minus
        ranks = np.cumsum(alike, axis=1) - (alike - 1) / 2
        nonzero = alike.sum(axis=1)
        return ratio(((plus - minus) * ranks).sum(axis=1), nonzero * (nonzero + 1) / 2)

    return statistic
