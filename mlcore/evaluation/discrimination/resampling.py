"""Bootstrap by patient: redraws shared by all that is compared, and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.ranking import Counts, Tally, count_type, rank

# Redraws drawn from one seed and evaluated at a time: part of what a seed means. Of 16
# to 128 the fastest for 22,433 cases, whose counts then take 2.9 MB.
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Redraws:
    """What each redraw of the cases gave, NaN where it left a measure undefined.

    Redraw r is the same cases for every variant and finding, so that differences along
    the second axis are paired. Every attribute is float64 (redraws, variants,
    findings), in [0, 1].

    Attributes:
        auc, ap: area under the ROC curve; average precision.
        sensitivity, specificity: at the fixed cutoff.
        best_sensitivity, best_specificity: at the cutoff closest to the corner, chosen
            anew in each redraw; these vary far more, for the cutoff moves along.
    """

    auc: Floats
    ap: Floats
    sensitivity: Floats
    specificity: Floats
    best_sensitivity: Floats
    best_specificity: Floats


@dataclass(frozen=True)
class Interval:
    """Percentile interval and standard deviation over the defined redraws.

    low, high, sd are None where fewer than two redraws are defined. `undefined` counts
    redraws without a positive or without a negative case; they are left out.
    """

    low: float | None
    high: float | None
    sd: float | None
    undefined: int


def bootstrap(
    scores: ArrayLike,
    labels: ArrayLike,
    cutoffs: ArrayLike,
    *,
    redraws: int,
    rng: np.random.Generator,
    patients: Sequence[object] | None = None,
) -> Redraws:
    """Redraw the cases with replacement and measure every variant and finding anew.

    Args:
        scores: (n, variants, findings), finite; higher means more likely.
        labels: (n, findings) 1, 0 or NaN. A case whose label is not known is redrawn
            with the others and left out of that finding.
        cutoffs: (variants, findings) fixed cutoffs; NaN where there is none.
        redraws: how many; the first ones do not depend on how many follow.
        rng: freshly seeded; its children draw one block of 64 redraws each. The same
            seed gives the same redraws, whatever scores are measured on them.
        patients: (n,) who each case is of. Whole patients are redrawn, as many as
            there are, since cases of one patient are not independent. None: each case
            is a patient of its own.

    Raises:
        ValueError: shapes do not fit, there is no case, or see `metrics.known_cases`.
    """
    scores, labels, cutoffs = _checked(scores, labels, cutoffs)
    unit_of_case = number_patients(patients, len(labels))
    rankings = [
        [
            rank(
                scores[:, variant, finding],
                labels[:, finding],
                None if np.isnan(cutoff) else float(cutoff),
            )
            for finding, cutoff in enumerate(row)
        ]
        for variant, row in enumerate(cutoffs)
    ]
    values = np.full((len(fields(Redraws)), redraws, *cutoffs.shape), np.nan)
    starts = range(0, redraws, _BLOCK)
    # One after the other: with two threads 10,000 redraws took 8.8 s in place of 6.5.
    for start, source in zip(starts, rng.spawn(len(starts)), strict=True):
        block = values[:, start : start + _BLOCK]
        counts = redraw_counts(unit_of_case, source)[:, : block.shape[1]]
        for variant, row in enumerate(rankings):
            for finding, ranking in enumerate(row):
                block[:, :, variant, finding] = measures(ranking.tally(counts))
    return Redraws(*values)


def measures(tally: Tally) -> Floats:
    """(6, B): the attributes of `Redraws`, in their order, for each weighting."""
    fixed = tally.rates(tally.missed_at_cutoff, tally.negatives - tally.below_cutoff)
    best = tally.rates(*tally.closest_to_corner())
    return np.stack([tally.auc(), tally.average_precision(), *fixed, *best])


def percentile_interval(draws: Floats, level: float = 0.95) -> Interval:
    """The middle `level` of the redraws (redraws,), of a measure or of a difference.

    Args:
        draws: e.g. `redraws.auc[:, v, f]`, or `redraws.auc[:, a, f] - redraws.auc[:, b,
            f]` for the paired difference of two variants.
    """
    defined = draws[~np.isnan(draws)]
    undefined = len(draws) - len(defined)
    if len(defined) < 2:
        return Interval(None, None, None, undefined)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Interval(float(low), float(high), float(defined.std(ddof=1)), undefined)


def number_patients(patients: Sequence[object] | None, cases: int) -> NDArray[np.intp]:
    """(cases,) the patients' numbers from 0, in the order of their first case.

    Without patients, or with a patient for every case, these are the cases' own.

    Raises:
        ValueError: not as many patients as cases.
    """
    if patients is None:
        return np.arange(cases)
    if len(patients) != cases:
        raise ValueError(f"{len(patients)} patients are given for {cases} cases.")
    numbers: dict[object, int] = {}
    return np.array(
        [numbers.setdefault(one, len(numbers)) for one in patients], np.intp
    )


def redraw_counts(unit_of_case: NDArray[np.intp], rng: np.random.Generator) -> Counts:
    """How often each case comes up in each redraw of one block, (n, 64).

    Args:
        unit_of_case: (n,) from `number_patients`; all cases of a patient come together.
    """
    sizes = np.bincount(unit_of_case)
    units, cases = len(sizes), len(unit_of_case)
    draws = rng.integers(0, units, (_BLOCK, units))
    counts = np.empty((_BLOCK, units), np.uint32)
    for count, draw in zip(counts, draws, strict=True):
        count[:] = np.bincount(draw, minlength=units)
    largest = units if units == cases else int((counts @ sizes).max())
    by_unit = counts.T.astype(count_type(largest), order="C")
    return by_unit if units == cases else by_unit[unit_of_case]


def _checked(
    scores: ArrayLike, labels: ArrayLike, cutoffs: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    scores, labels, cutoffs = (
        np.asarray(given, np.float64) for given in (scores, labels, cutoffs)
    )
    if scores.ndim != 3 or labels.shape != (len(scores), scores.shape[2]):
        raise ValueError(
            "Scores must be (cases, variants, findings) and labels (cases, findings), "
            f"not {scores.shape} and {labels.shape}."
        )
    if cutoffs.shape != scores.shape[1:]:
        raise ValueError(
            f"Cutoffs must be (variants, findings), {scores.shape[1:]}, "
            f"not {cutoffs.shape}."
        )
    if not len(scores):
        raise ValueError("There is no case to redraw.")
    return scores, labels, cutoffs
