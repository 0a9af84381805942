"""Friedman's and Wilcoxon's asymptotic tests of many studies at once, for simulations.

They give what `rank_tests` gives for each study alone, a thousand times as fast.
"""

import numpy as np
from scipy import stats

from readerstudy.analysis.statistics.arrays import Floats


def friedman_p_values(blocks: Floats) -> Floats:
    """p_chi2 of Friedman's test for each study; `blocks` is (studies, n, 3).

    1 where all blocks of a study are tied.
    """
    ranks = stats.rankdata(blocks, axis=2)
    n = blocks.shape[1]
    deviations = ranks.sum(axis=1) - 2 * n
    # Without ties 2 n: the spread of 1, 2, 3 in each block.
    spread = ((ranks - 2) ** 2).sum(axis=(1, 2))
    chi2 = 2 * (deviations**2).sum(axis=1) / np.where(spread == 0, 1, spread)
    return np.asarray(stats.chi2.sf(chi2, 2), float)


def wilcoxon_p_values(differences: Floats) -> Floats:
    """p of Wilcoxon's test, zeros dropped, for each study; (studies, n) whole numbers.

    1 where all differences of a study are zero.
    """
    sizes = np.abs(differences)
    zeros = np.count_nonzero(sizes == 0, axis=1, keepdims=True)
    # Zeros have the lowest ranks: without them the others move down by so many.
    ranks = np.where(sizes > 0, stats.rankdata(sizes, axis=1) - zeros, 0)
    # Twice the positive ranks' sum less its mean, and twice its SD under random signs.
    excess = np.abs((np.sign(differences) * ranks).sum(axis=1))
    spread = np.sqrt((ranks**2).sum(axis=1))
    z = excess / np.where(spread == 0, 1, spread)
    return np.asarray(2 * stats.norm.sf(z), float)
