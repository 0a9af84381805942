"""Permutation test of two models: their predictions are swapped, case by case.

If the models are equally good, it makes no difference which of them gave which of a
case's two scores, and the observed difference is one of many that swaps give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mlcore.evaluation.arrays import Flags, Floats
from mlcore.evaluation.discrimination.metrics import known_cases, reason_undefined
from mlcore.evaluation.discrimination.ranking import Ranking, Tally, count_type, rank
from mlcore.evaluation.discrimination.resampling import number_patients

# Swaps drawn from one seed and evaluated at a time: part of what a seed means.
_BLOCK = 64


@dataclass(frozen=True)
class SwapP:
    """One measure, first model minus second, and how swaps compare with it.

    Attributes:
        difference: observed.
        p_share: share of the swaps whose difference lies above the observed one (or
            below, if that is negative), equal ones not counted; the paper's form.
        p: two-sided, (b + 1) / (swaps + 1), where b swaps give a difference at least
            as large in size (Phipson and Smyth 2010); never 0.
    """

    difference: float
    p_share: float
    p: float


@dataclass(frozen=True)
class SwapTest:
    """A permutation test of two models on one finding; None is explained in `reason`.

    Sensitivity and specificity are those at the cutoff closest to the corner, chosen
    anew for each model in each swap.
    """

    auc: SwapP | None = None
    sensitivity: SwapP | None = None
    specificity: SwapP | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models' scores of the cases of known label, sorted together.

    Attributes:
        ranking: of 2n scores, the first model's n and then the second's.
        whole: what one model's scores and the other's add up to, whoever gave them.
        n: cases.
    """

    ranking: Ranking
    whole: Tally
    n: int


def swap_test(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    *,
    swaps: int,
    ranked: bool,
    rng: np.random.Generator,
    patients: Sequence[object] | None = None,
) -> SwapTest:
    """Swap the scores of each case with probability 1/2 and compare the models again.

    The paper's test is `swaps=1000, ranked=False` and `p_share`. Raw scores have next
    to no power between models of different calibration, since swaps then mix two
    scales; with `ranked`, each model's scores are first replaced by their ranks among
    its own (after E. S. Venkatraman, C. B. Begg, Biometrika 83 (1996) 835-848).

    Args:
        first, second: (n,) scores of the two models; higher means more likely.
        labels: (n,) 1, 0 or NaN (left out).
        swaps: how many random swaps.
        ranked: compare ranks within each model rather than raw scores.
        rng: freshly seeded; the same seed swaps the same cases whatever the finding.
        patients: (n,) who each case is of; all cases of a patient are swapped
            together. None: each case is a patient of its own.

    Raises:
        ValueError: shapes do not fit, or see `metrics.known_cases`.
    """
    unit_of_case = number_patients(patients, len(np.asarray(labels)))
    if reason := reason_undefined(known_cases(first, labels)[1]):
        return SwapTest(reason=reason)
    pair = pair_models(first, second, labels, ranked=ranked)
    known = ~np.isnan(np.asarray(labels, np.float64))
    observed = differences(pair, np.zeros((pair.n, 1), bool))[:, 0]
    beyond, as_large = np.zeros(3, np.int64), np.zeros(3, np.int64)
    side = np.where(observed < 0, -1, 1)[:, None]
    starts = range(0, swaps, _BLOCK)
    for start, source in zip(starts, rng.spawn(len(starts)), strict=True):
        swapped = toss(unit_of_case, source)[known, : swaps - start]
        differing = differences(pair, swapped)
        beyond += (side * differing > side * observed[:, None]).sum(axis=1)
        as_large += (np.abs(differing) >= np.abs(observed[:, None])).sum(axis=1)
    n_pos, n_neg = pair.whole.positives[0] / 2, pair.whole.negatives[0] / 2
    auc, sensitivity, specificity = (
        SwapP(
            difference=float(observed[row] / unit),
            p_share=float(beyond[row] / swaps),
            p=float((as_large[row] + 1) / (swaps + 1)),
        )
        for row, unit in enumerate((2 * n_pos * n_neg, n_pos, n_neg))
    )
    return SwapTest(auc, sensitivity, specificity)


def pair_models(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, ranked: bool
) -> Pair:
    """Sort the scores of two models together, or their ranks within each model."""
    (one, positive), (other, _) = (
        known_cases(scores, labels) for scores in (first, second)
    )
    if ranked:
        one, other = stats.rankdata(one), stats.rankdata(other)
    ranking = rank(np.append(one, other), np.append(positive, positive))
    n = len(positive)
    everyone = np.ones((2 * n, 1), count_type(2 * n))
    return Pair(ranking, ranking.tally(everyone), n)


def differences(pair: Pair, swapped: Flags) -> Floats:
    """How the models differ under each swap, in whole numbers, so that ties are exact.

    Args:
        swapped: (n, B) the cases whose scores change hands.

    Returns:
        (3, B), first model minus second: `Tally.wins`, true positives and true
        negatives, the latter two at each one's best cutoff.
    """
    weights = np.empty((2 * pair.n, swapped.shape[1]), count_type(2 * pair.n))
    np.logical_not(swapped, out=weights[: pair.n])
    weights[pair.n :] = swapped
    one = pair.ranking.tally(weights)
    other = one.rest_of(pair.whole)
    missed, alarms = one.closest_to_corner() - other.closest_to_corner()
    return np.stack([one.wins() - other.wins(), -missed, -alarms])


def toss(unit_of_case: NDArray[np.intp], rng: np.random.Generator) -> Flags:
    """A fair coin for each patient in each swap of one block, (n, 64) by case."""
    units = int(unit_of_case.max(initial=-1)) + 1
    coins = np.frombuffer(rng.bytes(units * _BLOCK // 8), np.uint8)
    return np.unpackbits(coins).reshape(units, _BLOCK).view(bool)[unit_of_case]
