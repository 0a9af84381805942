"""Coefficients of agreement between readers: Krippendorff's alpha for ordinal values,
the intraclass correlation, Cohen's kappa with quadratic weights and Fleiss's kappa.

Alpha and kappa are also given for weighted images, which is what a redraw makes of
them: `..._of(table)` prepares what does not depend on the weights.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats import inter_rater

from readerstudy.analysis.statistics.arrays import Floats, Integers, ratio
from readerstudy.analysis.statistics.resampling import Statistic


def ordinal_alpha_of(table: Floats) -> Statistic:
    """Krippendorff's alpha with the ordinal distance, of weighted images.

    `table` is (images, readers), NaN where there is no rating; images with fewer than
    two ratings say nothing. The statistic takes weights (redraws, images) and gives
    (redraws,), NaN where all ratings that have a weight are the same.

    K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011).
    """
    levels = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, np.newaxis] == levels).sum(axis=1).astype(np.float64)
    ratings = counts.sum(axis=1)
    counts[ratings < 2] = 0
    low, high = np.triu_indices(levels.size, 1)
    # How often two values meet within an image, each image counting as its ratings.
    met = counts[:, low] * counts[:, high] / np.maximum(ratings - 1, 1)[:, np.newaxis]

    def statistic(weights: Floats) -> Floats:
        margins = weights @ counts
        # The distance of two values is that of their middle ranks, squared.
        middles = np.cumsum(margins, axis=1) - margins / 2
        distances = (middles[:, high] - middles[:, low]) ** 2
        observed = (weights @ met * distances).sum(axis=1)
        expected = (margins[:, low] * margins[:, high] * distances).sum(axis=1)
        return 1 - ratio(observed * (margins.sum(axis=1) - 1), expected)

    return statistic


def quadratic_kappas_of(table: Floats, pairs: Integers) -> Statistic:
    """Cohen's kappa with quadratic weights of each pair of readers, of weighted images.

    `table` is (images, readers) with NaN; `pairs` (pairs, 2) numbers readers. An image
    counts where both have rated it. The statistic takes weights (redraws, images) and
    gives (redraws, pairs), NaN where two readers gave one and the same value
    throughout, or have no image in common.
    """
    x, y = table[:, pairs[:, 0]], table[:, pairs[:, 1]]
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y = np.where(both, x, 0), np.where(both, y, 0)
    n_pairs = len(pairs)
    sums = np.hstack([both, x, y, x**2 + y**2, (x - y) ** 2])

    def statistic(weights: Floats) -> Floats:
        n, sum_x, sum_y, squares, apart = np.split(
            (weights @ sums).reshape(len(weights), 5 * n_pairs), 5, axis=1
        )
        # Sums of whole numbers: what should be zero is.
        return 1 - ratio(n * apart, n * squares - 2 * sum_x * sum_y)

    return statistic


@dataclass(frozen=True)
class Icc:
    """Intraclass correlations of n images and k readers, both random, for absolute
    agreement, with 95 % intervals: of one reader, and of the mean of all.

    P. E. Shrout, J. L. Fleiss, Psychological Bulletin 86 (1979) 420-428, cases 2,1 and
    2,k. None where it is not defined, see `reason`.
    """

    single: float | None = None
    single_lo: float | None = None
    single_hi: float | None = None
    mean: float | None = None
    mean_lo: float | None = None
    mean_hi: float | None = None
    reason: str | None = None


def icc(table: Floats) -> Icc:
    """Of a complete `table` (images, readers)."""
    n, k = table.shape
    if n < 2 or k < 2:
        return Icc(reason="ICC needs two readers and two complete images")
    images, readers, rest = _mean_squares(table)
    below = images + (k - 1) * rest + k * (readers - rest) / n
    if below <= 0:
        return Icc(reason="ICC is not defined where nothing varies between images")
    single = (images - rest) / below
    mean = _quotient(images - rest, images + (readers - rest) / n)
    bounds = _icc_bounds(images, readers, rest, n, k, single) if rest else None
    # The approximation breaks down where its degrees of freedom are hardly any.
    if bounds is None or not bounds[0] <= single <= bounds[1]:
        return Icc(single, mean=mean, reason="ICC has no interval with these residuals")
    low, high = bounds
    mean_low, mean_high = _stepped_up(low, k), _stepped_up(high, k)
    reason = None
    if mean is None or mean_low is None or mean_high is None:
        reason = "ICC of the mean needs more variation between images"
    return Icc(single, low, high, mean, mean_low, mean_high, reason)


def _mean_squares(table: Floats) -> tuple[float, float, float]:
    """Of images, of readers and of what is left, from whole numbers."""
    n, k = table.shape
    values = np.rint(table).astype(np.int64)
    corrected = int(values.sum()) ** 2
    of_images = n * int((values.sum(axis=1) ** 2).sum()) - corrected
    of_readers = k * int((values.sum(axis=0) ** 2).sum()) - corrected
    of_all = n * k * int((values**2).sum()) - corrected
    return (
        of_images / (n * k * (n - 1)),
        of_readers / (n * k * (k - 1)),
        (of_all - of_images - of_readers) / (n * k * (n - 1) * (k - 1)),
    )


def _icc_bounds(
    images: float, readers: float, rest: float, n: int, k: int, single: float
) -> tuple[float, float] | None:
    """From F with Satterthwaite's degrees of freedom; None where these are zero."""
    f = readers / rest
    others = n * (1 + (k - 1) * single) - k * single
    spread = (n - 1) * k**2 * single**2 * f**2 + others**2
    df = _quotient((k - 1) * (n - 1) * (k * single * f + others) ** 2, spread)
    noise = k * readers + (k * n - k - n) * rest
    if not df or noise + images == 0:
        return None
    upper = float(stats.f.ppf(0.975, n - 1, df))
    lower = float(stats.f.ppf(0.975, df, n - 1))
    if not np.isfinite([upper, lower]).all():
        return None
    low = n * (images - upper * rest) / (upper * noise + n * images)
    high = n * (lower * images - rest) / (noise + n * lower * images)
    return low, high


def _stepped_up(single: float, k: int) -> float | None:
    """Spearman and Brown: of one reader, to the mean of k."""
    return _quotient(single * k, 1 + single * (k - 1))


def _quotient(above: float, below: float) -> float | None:
    return above / below if below > 0 else None


def fleiss_kappa(table: Floats) -> float | None:
    """Of a complete `table` (images, readers); values are taken as mere categories.

    None for fewer than two readers, for no image, and where all ratings are the same.

    J. L. Fleiss, Psychological Bulletin 76 (1971) 378-382.
    """
    n, k = table.shape
    if n == 0 or k < 2 or np.ptp(table) == 0:
        return None
    counts, _ = inter_rater.aggregate_raters(table)
    return float(inter_rater.fleiss_kappa(counts, method="fleiss"))
