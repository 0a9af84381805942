"""Exact P of Wilcoxon's signed-rank test and of Friedman's, conditional on the ranks
observed: ties need no approximation.

Both build the whole null distribution by adding one block after the other.
"""

from functools import lru_cache
from itertools import permutations

import numpy as np
from scipy import stats

from readerstudy.analysis.statistics.arrays import Floats, Integers

# Doubled ranks, less the smallest, of a block without ties, of one whose two lowest are
# tied, and of one whose two highest are.
_TIE_PATTERNS = np.array([[0, 2, 4], [0, 0, 3], [0, 3, 3]])


def signed_rank_p(ranks: Floats, w_plus: float) -> float:
    """Two-sided p of the sum of positive ranks when every sign is a fair coin.

    `ranks` are those of the nonzero differences, with mid-ranks for ties. n = 300 takes
    up to 10 ms.
    """
    doubled = np.sort(np.rint(2 * ranks).astype(int))  # mid-ranks are halves
    unit = int(np.gcd.reduce(doubled))
    doubled //= unit
    total = int(doubled.sum())
    observed = round(2 * w_plus / unit)
    # Only sums up to the smaller of the two are needed, to find how likely they are.
    smaller = min(observed, total - observed)
    chance = np.zeros(smaller + 1)
    chance[0] = 1
    reached = 0  # no sum is larger so far
    for rank in doubled:
        half = chance[: reached + 1] / 2
        chance[: reached + 1] = half
        reached = min(reached + int(rank), smaller)
        chance[rank : reached + 1] += half[: max(reached + 1 - rank, 0)]
    return min(1.0, 2 * float(chance.sum()))


def friedman_p(blocks: Floats) -> float:
    """p of Friedman's statistic when every order within a block is equally likely.

    `blocks` is (n, 3). The statistic falls and rises with the squared deviations of the
    rank sums, which are whole numbers here: no tolerance is needed. n = 300 takes up to
    half a second, and time grows with the cube of n.
    """
    doubled = np.rint(2 * stats.rankdata(blocks, axis=1)).astype(int)
    # What a block adds to all three sums changes no deviation from their mean.
    doubled -= doubled.min(axis=1, keepdims=True)
    ordered = np.sort(doubled, axis=1)
    counts = [int((ordered == ties).all(axis=1).sum()) for ties in _TIE_PATTERNS]
    sums = doubled.sum(axis=0)
    observed = _deviation(sums[:1], sums[1:2], int(sums.sum()))
    return _tail(*counts, int(observed[0]))


# Data sets that are one, and readers who rate alike, give the same test twice.
@lru_cache(maxsize=64)
def _tail(untied: int, low: int, high: int, observed: int) -> float:
    """The chance of a deviation of at least `observed`, from how many blocks there are
    of each of _TIE_PATTERNS; a block that is tied throughout changes nothing."""
    # Blocks without ties need whole ranks only: a quarter of the grid.
    grid = np.ones((1, 1))
    for _ in range(untied):
        grid = _add_block(grid, _TIE_PATTERNS[0] // 2)
    wide = np.zeros((2 * len(grid) - 1, 2 * len(grid) - 1))
    wide[::2, ::2] = grid
    for pattern, number in zip(_TIE_PATTERNS[1:], (low, high), strict=True):
        for _ in range(number):
            wide = _add_block(wide, pattern)
    total = int(_TIE_PATTERNS.sum(axis=1) @ (untied, low, high))
    first, second = np.indices(wide.shape, sparse=True)
    null = _deviation(first, second, total)
    return min(1.0, float(wide[null >= observed].sum()))


def _add_block(grid: Floats, block: Integers) -> Floats:
    """Chances of the first two rank sums, after one more block in random order."""
    size = len(grid)
    orders = sorted(set(permutations(block.tolist())))
    share = grid / len(orders)
    wider = np.zeros((size + block.max(), size + block.max()))
    for first, second, _ in orders:
        wider[first : first + size, second : second + size] += share
    return wider


def _deviation(first: Integers, second: Integers, total: int) -> Integers:
    """Nine times the sum of squared deviations of the three rank sums."""
    third = total - first - second
    nine: Integers = (
        (3 * first - total) ** 2 + (3 * second - total) ** 2 + (3 * third - total) ** 2
    )
    return nine
