"""Cumulative logit model by generalised estimating equations (GEE).

Fitted by generalised estimating equations with working independence, so that standard
errors are robust, images being the clusters. The readers are fixed: it speaks for them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from readerstudy.analysis.statistics.arrays import Booleans, Floats, Integers

# Log odds beyond this come from a fit that is on its way to infinity: what is seen once
# in a million ratings has -14.
LARGEST = 15
# A variance below this share of the largest is what rounding leaves of zero, and may be
# negative: where all images say the same, robust errors vanish.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Fit:
    """Log odds ratios of a higher rating, in the order of the columns asked for.

    beta: (terms,), covariance: (terms, terms), robust. None is explained in `reason`.
    """

    n: int
    n_images: int
    beta: Floats | None = None
    covariance: Floats | None = None
    reason: str | None = None

    def wald(self, contrasts: Floats) -> tuple[float, int, float] | None:
        """chi2, df and P of all `contrasts` (contrasts, terms) being zero; None where
        they do not vary, or not independently of each other."""
        if self.beta is None or self.covariance is None:
            return None
        effects = contrasts @ self.beta
        spread = contrasts @ self.covariance @ contrasts.T
        tolerance = ROUNDING * np.abs(self.covariance).max()
        if np.linalg.matrix_rank(spread, tolerance) < len(contrasts):
            return None
        chi2 = float(effects @ np.linalg.solve(spread, effects))
        df = len(contrasts)
        return chi2, df, float(stats.chi2.sf(chi2, df))


def fit(
    values: Floats,
    datasets: Sequence[str],
    kept: Booleans,
    terms: Sequence[Booleans] = (),
) -> Fit:
    """Fit the variants, then `terms`, to the ratings where `kept`.

    `values` is (readers, images, variants) with NaN for a missing rating; `datasets`
    names the data set of each image. `kept` and each of `terms` broadcast to the shape
    of `values`. Beta begins with the variants but the first. Readers and data sets are
    adjusted for.
    """
    places = np.nonzero(np.broadcast_to(kept, values.shape) & ~np.isnan(values))
    readers, images, variants = places
    levels = values[places]
    _, dataset_of = np.unique(datasets, return_inverse=True)
    asked = [
        *(variants == code for code in range(1, values.shape[2])),
        *(np.broadcast_to(term, values.shape)[places] for term in terms),
    ]
    design = np.column_stack(
        [*asked, *_dummies(readers), *_dummies(dataset_of[images])]
    ).astype(np.float64)
    counts = (levels.size, np.unique(images).size)
    if reason := _why_not(levels, design, counts[1]):
        return Fit(*counts, reason=reason)
    return _fitted(levels, design, images, len(asked), counts)


def _why_not(levels: Floats, design: Floats, n_images: int) -> str | None:
    n_levels = np.unique(levels).size
    if n_levels < 2:
        return "all ratings are the same" if n_levels else "no rating"
    distinct = np.unique(design, axis=0)
    with_constant = np.column_stack([np.ones(len(distinct)), distinct])
    if np.linalg.matrix_rank(with_constant) < with_constant.shape[1]:
        return "the ratings do not tell its terms apart"
    coefficients = n_levels - 1 + design.shape[1]
    # Robust covariance is a sum over images: of fewer than coefficients it is singular.
    if n_images <= coefficients:
        return f"{n_images} images are too few for {coefficients} coefficients"
    return None


def _fitted(
    levels: Floats,
    design: Floats,
    images: Integers,
    asked: int,
    counts: tuple[int, int],
) -> Fit:
    """With working independence, the estimate is that of a logistic regression of
    "above the level" on each level but the highest; only its errors know of images.

    What shares its row of the design is counted together, so that a fit takes
    milliseconds where one rating at a time takes seconds on a busy machine.
    """
    cuts = np.unique(levels)[:-1]
    above = (levels[:, np.newaxis] > cuts).astype(np.float64)
    rows, row_of = np.unique(design, axis=0, return_inverse=True)
    successes = _sums(above, row_of)
    failures = _sums(1 - above, row_of)
    terms = np.hstack(
        [np.tile(np.eye(len(cuts)), (len(rows), 1)), np.repeat(rows, len(cuts), axis=0)]
    )
    model = GLM(
        np.column_stack([successes.ravel(), failures.ravel()]), terms, Binomial()
    )
    separated = Fit(*counts, reason="some odds are infinite: a term separates levels")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = model.fit(tol=1e-12, maxiter=100)
        except (Warning, np.linalg.LinAlgError):
            return separated
    if not result.converged or np.abs(result.params).max() > LARGEST:
        return separated
    residuals = above - result.fittedvalues.reshape(successes.shape)[row_of]
    scores = np.hstack([residuals, residuals.sum(axis=1, keepdims=True) * design])
    by_image = _sums(scores, np.unique(images, return_inverse=True)[1])
    bread = result.normalized_cov_params
    covariance = bread @ (by_image.T @ by_image) @ bread
    place = slice(len(cuts), len(cuts) + asked)
    return Fit(*counts, beta=result.params[place], covariance=covariance[place, place])


def _sums(values: Floats, groups: Integers) -> Floats:
    """(groups, columns): the rows of `values` that are of each group, added."""
    sums = np.zeros((int(groups.max()) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def _dummies(codes: Integers) -> list[Booleans]:
    """One column for each code that occurs but the first."""
    return [codes == code for code in np.unique(codes)[1:]]
