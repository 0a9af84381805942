"""DeLong's variance of areas under the ROC curve, and his test of their differences.

E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845; by
mid-ranks as in X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.metrics import known_cases, reason_undefined


@dataclass(frozen=True, eq=False)
class DeLong:
    """Areas of k models on the same cases, and how they vary together.

    Attributes:
        n_pos, n_neg: cases of known label.
        auc: (k,) None where there is no positive or no negative.
        covariance: (k, k) of the areas, cases taken as independent of each other; None
            where there are fewer than two positives or negatives.
        reason: why something is None.
    """

    n_pos: int
    n_neg: int
    auc: Floats | None = None
    covariance: Floats | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DeLongTest:
    """Whether two areas differ; None is explained in `reason`.

    Attributes:
        difference: the first area minus the second.
        se: its standard error.
        z, p: difference / se, and the two-sided p of the standard normal distribution.
    """

    difference: float | None = None
    se: float | None = None
    z: float | None = None
    p: float | None = None
    reason: str | None = None


def delong(scores: ArrayLike, labels: ArrayLike) -> DeLong:
    """Areas and their covariance.

    Several cases of one patient count as independent, which makes the variance too
    small; the bootstrap by patient does not.

    Args:
        scores: (n, k), a column per model; higher means more likely.
        labels: (n,) 1, 0 or NaN (left out).

    Raises:
        ValueError: shapes do not fit, or see `metrics.known_cases`.
    """
    columns = np.asarray(scores, np.float64)
    if columns.ndim != 2 or not columns.shape[1]:
        raise ValueError(f"Scores must be (cases, models), not {columns.shape}.")
    checked = [known_cases(column, labels) for column in columns.T]
    positive = checked[0][1]
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if reason := reason_undefined(positive):
        return DeLong(n_pos, n_neg, reason=reason)
    shares = [_shares(column, positive) for column, _ in checked]
    of_positives = np.array([above for above, _ in shares])
    of_negatives = np.array([above for _, above in shares])
    auc = of_positives.mean(axis=1)
    if min(n_pos, n_neg) < 2:
        few = "positive" if n_pos < 2 else "negative"
        return DeLong(n_pos, n_neg, auc, reason=f"only one {few} case")
    covariance = np.atleast_2d(np.cov(of_positives)) / n_pos
    covariance = covariance + np.atleast_2d(np.cov(of_negatives)) / n_neg
    return DeLong(n_pos, n_neg, auc, covariance)


def delong_test(result: DeLong, first: int, second: int) -> DeLongTest:
    """Test the area of model `first` against that of model `second`."""
    if result.auc is None:
        return DeLongTest(reason=result.reason)
    difference = float(result.auc[first] - result.auc[second])
    if result.covariance is None:
        return DeLongTest(difference, reason=result.reason)
    contrast = np.zeros(len(result.auc))
    contrast[first] += 1
    contrast[second] -= 1
    variance = float(contrast @ result.covariance @ contrast)
    # Models that rank alike leave a rounding error, of either sign, of no variance.
    if variance <= 1e-14 * float(np.trace(result.covariance)):
        return DeLongTest(difference, 0.0, reason="the difference does not vary")
    se = float(np.sqrt(variance))
    z = difference / se
    return DeLongTest(difference, se, z, float(2 * stats.norm.sf(abs(z))))


def _shares(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Each positive's share of negatives below it; each negative's of positives above.

    Ties count half.
    """
    n_pos, n_neg = positive.sum(), (~positive).sum()
    among_all = stats.rankdata(scores)
    among_positives = stats.rankdata(scores[positive])
    among_negatives = stats.rankdata(scores[~positive])
    return (
        (among_all[positive] - among_positives) / n_neg,
        1 - (among_all[~positive] - among_negatives) / n_pos,
    )
