"""Bootstrap percentile intervals of Kendall's W and of the matched-pairs rank-biserial
correlation, the effect sizes of the rank tests."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from readerstudy.analysis.statistics.arrays import Floats, Integers, ratio
from readerstudy.analysis.statistics.resampling import Bootstrap, Interval, Statistic


def effect_intervals(
    blocks: Floats,
    pairs: Sequence[tuple[int, int]],
    images: Integers,
    bootstrap: Bootstrap,
) -> tuple[Interval, list[Interval]]:
    """Of Kendall's W, and of the rank-biserial correlation of each pair of columns.

    Images are redrawn, with all their blocks. `blocks` is (n, k) without NaN; `images`
    (n,) numbers the images from 0.
    """
    statistics = [_kendall_w(blocks)]
    statistics += [_rank_biserial(blocks[:, a] - blocks[:, b]) for a, b in pairs]

    def all_of_them(counts: Floats) -> Floats:
        weights = counts[:, images]
        return np.column_stack([statistic(weights) for statistic in statistics])

    number = int(images.max()) + 1 if images.size else 0
    if number == 0:
        return Interval(), [Interval()] * len(pairs)
    first, *others = bootstrap.intervals(all_of_them, number)
    return first, others


def _kendall_w(blocks: Floats) -> Statistic:
    """W of weighted blocks; NaN where all that have a weight are tied throughout."""
    k = blocks.shape[1]
    ranks = stats.rankdata(blocks, axis=1)
    # Sum of t**3 - t over the ties of a block: 24 for three values alike, 6 for two.
    alike = (blocks[:, :, np.newaxis] == blocks[:, np.newaxis]).sum(axis=2)
    ties = (alike**2 - 1).sum(axis=1)
    untied = k**3 - k

    def statistic(weights: Floats) -> Floats:
        n = weights.sum(axis=1)
        sums = weights @ ranks
        explained = (sums**2).sum(axis=1) / n - k * (k + 1) ** 2 / 4 * n
        return ratio(explained, untied / 12 * (n - weights @ ties / untied))

    return statistic


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
