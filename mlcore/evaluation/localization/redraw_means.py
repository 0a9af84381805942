"""Bootstrap intervals of means over cases, where some cases have no value."""

import numpy as np
from numpy.typing import NDArray

from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.resampling import (
    percentile_interval,
    redraw_counts,
)


def redraw_means(
    values: Floats, unit_of_case: NDArray[np.intp], *, redraws: int, seed: int
) -> Floats:
    """The mean of each column of values in each redraw of the cases.

    Args:
        values: (n, ...), one row per case; a NaN is redrawn with the others and left
            out of its column. All columns see the same redraws, so that their
            differences and quotients are paired.
        unit_of_case: (n,) from `number_patients`; whole patients are redrawn.
        redraws: how many; the first ones do not depend on how many follow.
        seed: gives the redraws of `bootstrap` with a generator of that seed.

    Returns:
        (redraws, ...); NaN where a redraw left a column without any value.
    """
    cases, *shape = values.shape
    columns = values.reshape(cases, -1)
    known = np.isfinite(columns)
    filled = np.where(known, columns, 0.0)
    sums = np.empty((redraws, columns.shape[1]))
    drawn = np.empty_like(sums)
    rng = np.random.default_rng(seed)
    done = 0
    while done < redraws:
        counts = redraw_counts(unit_of_case, rng.spawn(1)[0]).T[: redraws - done]
        rows = slice(done, done + len(counts))
        weights = counts.astype(np.float64)
        sums[rows], drawn[rows] = weights @ filled, weights @ known
        done = rows.stop
    means = np.full_like(sums, np.nan)
    np.divide(sums, drawn, out=means, where=drawn > 0)
    return means.reshape(redraws, *shape)


def count_known(values: Floats, unit_of_case: NDArray[np.intp]) -> dict[str, int]:
    """Of one column (n,): cases and patients with a value, and cases without."""
    known = np.isfinite(values)
    return {
        "n": int(known.sum()),
        "patients": len(np.unique(unit_of_case[known])),
        "undefined": int((~known).sum()),
    }


def interval_limits(draws: Floats, patients: int) -> tuple[float | None, float | None]:
    """95 % percentile limits of the redraws (redraws,) of a measure.

    None where fewer than two patients have a value: redrawn, one patient is always the
    same, and the width of 0 would look like certainty.
    """
    if patients < 2:
        return None, None
    interval = percentile_interval(draws)
    return interval.low, interval.high
