"""Bootstrap intervals. Cases are redrawn once and shared by all that is compared."""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1_000_000  # redraw counts held at a time, 8 MB


def bootstrap_mean_interval(
    values: NDArray[np.float64],
    *,
    redraws: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap interval of the mean of each column.

    Args:
        values: (n, k), one row per case, no NaN; n at least 1. All columns see the same
            redraws of the cases, so that their differences are paired.
        redraws: how many samples of n cases, with replacement.
        rng: source of the redraws.
        level: of the interval.

    Returns:
        Lower and upper limits, each (k,).
    """
    cases = len(values)
    share = np.full(cases, 1 / cases)
    means = np.empty((redraws, values.shape[1]))
    step = max(1, _CHUNK // cases)
    for start in range(0, redraws, step):
        rows = slice(start, min(start + step, redraws))
        counts = rng.multinomial(cases, share, size=rows.stop - rows.start)
        means[rows] = counts @ values / cases
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return low, high
