"""Bootstrap intervals of the effect sizes that go with the rank tests: Kendall's W and
the matched-pairs rank-biserial correlation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from readerstudy.analysis.statistics.resampling import Bootstrap, Interval, Statistic

Array = NDArray[np.float64]


def effect_intervals(
    blocks: Array,
    pairs: Sequence[tuple[int, int]],
    images: NDArray[np.int_],
    bootstrap: Bootstrap,
) -> tuple[Interval, list[Interval]]:
    """Of Kendall's W, and of the rank-biserial correlation of each pair of columns.

    Images are redrawn, with all their blocks. `blocks` is (n, 3) without NaN; `images`
    (n,) numbers the images from 0.
    """
    statistics = [_kendall_w(blocks)]
    statistics += [_rank_biserial(blocks[:, a] - blocks[:, b]) for a, b in pairs]

    def all_of_them(counts: Array) -> Array:
        weights = counts[:, images]
        return np.column_stack([statistic(weights) for statistic in statistics])

    number = int(images.max()) + 1 if images.size else 0
    if number == 0:
        return Interval(), [Interval()] * len(pairs)
    first, *others = bootstrap.intervals(all_of_them, number)
    return first, others


def _kendall_w(blocks: Array) -> Statistic:
    """W of weighted blocks; NaN where all that have a weight are tied throughout."""
    ranks = stats.rankdata(blocks, axis=1)
    # Sum of t**3 - t over the ties of a block: 24 for three values alike, 6 for two.
    spread = ((ranks - 2) ** 2).sum(axis=1)
    ties = 24 - 12 * spread

    def statistic(weights: Array) -> Array:
        n = weights.sum(axis=1)
        sums = weights @ ranks
        explained = (sums**2).sum(axis=1) / n - 12 * n
        return _ratio(explained, 2 * (n - weights @ ties / 24))

    return statistic


def _rank_biserial(differences: Array) -> Statistic:
    """(W+ - W-) / (W+ + W-) of weighted differences; NaN where all are zero."""
    d = np.round(differences, 9)  # as the test does
    levels = np.unique(np.abs(d[d != 0]))
    signed = np.concatenate([levels, -levels])
    members = (d[:, np.newaxis] == signed).astype(np.float64)

    def statistic(weights: Array) -> Array:
        plus, minus = np.split(weights @ members, 2, axis=1)
        alike = plus + minus
        ranks = np.cumsum(alike, axis=1) - (alike - 1) / 2
        nonzero = alike.sum(axis=1)
        return _ratio(((plus - minus) * ranks).sum(axis=1), nonzero * (nonzero + 1) / 2)

    return statistic


def _ratio(above: Array, below: Array) -> Array:
    """NaN where `below` is zero."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
