"""Exact p values, conditional on the ranks observed: ties need no approximation.

Both build the whole null distribution by adding one block after the other.
"""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


def signed_rank_p(ranks: Array, w_plus: float) -> float:
    """Two-sided p of the sum of positive ranks when every sign is a fair coin.

    `ranks` are those of the nonzero differences, with mid-ranks for ties. n = 300 takes
    about 10 ms.
    """
    doubled = np.rint(2 * ranks).astype(int)  # mid-ranks are halves
    chance = np.zeros(doubled.sum() + 1)
    chance[0] = 1
    for rank in doubled:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    observed = round(2 * w_plus)
    smaller = min(observed, doubled.sum() - observed)
    return min(1.0, 2 * float(chance[: smaller + 1].sum()))


def friedman_p(blocks: Array) -> float:
    """p of Friedman's statistic when every order within a block is equally likely.

    `blocks` is (n, 3). The statistic falls and rises with the squared deviations of the
    rank sums, which are whole numbers here: no tolerance is needed. n = 300 takes up to
    half a second, and time grows with the cube of n.
    """
    doubled = np.rint(2 * stats.rankdata(blocks, axis=1)).astype(int)
    # What a block adds to all three sums changes no deviation from their mean.
    doubled -= doubled.min(axis=1, keepdims=True)
    is_untied = np.sort(doubled, axis=1)[:, 1] == 2
    # Blocks without ties need whole ranks only: a quarter of the grid.
    grid = np.ones((1, 1))
    for block in doubled[is_untied] // 2:
        grid = _add_block(grid, block)
    wide = np.zeros((2 * len(grid) - 1, 2 * len(grid) - 1))
    wide[::2, ::2] = grid
    for block in doubled[~is_untied & (doubled.max(axis=1) > 0)]:
        wide = _add_block(wide, block)
    total = int(doubled.sum())
    first, second = np.indices(wide.shape, sparse=True)
    null = _deviation(first, second, total)
    sums = doubled.sum(axis=0)
    observed = _deviation(sums[:1], sums[1:2], total)
    return min(1.0, float(wide[null >= observed].sum()))


def _add_block(grid: Array, block: NDArray[np.int_]) -> Array:
    """Chances of the first two rank sums, after one more block in random order."""
    size = len(grid)
    orders = sorted(set(permutations(block.tolist())))
    share = grid / len(orders)
    wider = np.zeros((size + block.max(), size + block.max()))
    for first, second, _ in orders:
        wider[first : first + size, second : second + size] += share
    return wider


def _deviation(
    first: NDArray[np.int_], second: NDArray[np.int_], total: int
) -> NDArray[np.int_]:
    """Nine times the sum of squared deviations of the three rank sums."""
    third = total - first - second
    nine: NDArray[np.int_] = (
        (3 * first - total) ** 2 + (3 * second - total) ** 2 + (3 * third - total) ** 2
    )
    return nine
