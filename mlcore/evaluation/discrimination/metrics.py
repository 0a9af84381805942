"""ROC and precision-recall curves, AUC, average precision and operating points.

Everywhere in this package a case counts as called positive when its score is at least
the cutoff, and a case whose label is not known (NaN) is left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlcore.engine.model.predict import auc
from mlcore.evaluation.arrays import Flags, Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """Every operating point of one finding's scores; ROC and precision-recall in one.

    One point per distinct score, none dropped, after a first one at +inf, where nothing
    is called positive; from the highest cutoff to the lowest, where everything is.

    Attributes:
        cutoffs: (k,) descending.
        true_positives, false_positives: (k,) cases of score >= cutoff, ascending.
    """

    cutoffs: Floats
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def n_pos(self) -> int:
        return int(self.true_positives[-1])

    @property
    def n_neg(self) -> int:
        return int(self.false_positives[-1])

    @property
    def sensitivity(self) -> Floats:
        """(k,), also known as recall and true positive rate."""
        return self.true_positives / self.n_pos

    @property
    def specificity(self) -> Floats:
        """(k,), one minus the false positive rate."""
        return (self.n_neg - self.false_positives) / self.n_neg

    @property
    def precision(self) -> Floats:
        """(k,); 1 by convention at +inf, where no case is called positive."""
        called = self.true_positives + self.false_positives
        called[0] = 1
        precision = self.true_positives / called
        precision[0] = 1.0
        return precision

    @property
    def average_precision(self) -> float:
        """Sum over the points of precision times gain in recall, not interpolated."""
        gains = np.diff(self.true_positives)
        return float(np.sum(gains * self.precision[1:]) / self.n_pos)


@dataclass(frozen=True)
class OperatingPoint:
    """Sensitivity and specificity where score >= `cutoff` is called positive.

    None where there is no positive (sensitivity) or no negative (specificity).
    """

    cutoff: float
    sensitivity: float | None
    specificity: float | None


@dataclass(frozen=True)
class Discrimination:
    """What the scores of one finding are worth; None is explained in `reason`.

    Attributes:
        n, n_pos: cases of known label, and the positive ones among them.
        auc: area under the ROC curve, ties counted half, in [0, 1].
        ap: average precision, in (0, 1]; worthless scores have about n_pos / n.
        best: the operating point closest to a sensitivity and specificity of 1.
        reason: why there is no number.
    """

    n: int
    n_pos: int
    auc: float | None = None
    ap: float | None = None
    best: OperatingPoint | None = None
    reason: str | None = None


def known_cases(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Flags]:
    """The scores of the cases whose label is known, and which of them are positive.

    Args:
        scores: (n,) finite; higher means more likely. Any increasing function of the
            probability will do, logits for one.
        labels: (n,) 1, 0, or NaN (not known).

    Returns:
        Scores as float64 and positives as bool, both (known cases,).

    Raises:
        ValueError: shapes differ, a score is not finite, a label is not 1, 0 or NaN.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(
            "Scores and labels must be two rows of the same length, "
            f"not {scores.shape} and {labels.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(scores)} scores are infinite or NaN, the first at "
            f"position {bad[0]}: leave these cases out, or find out why the network "
            "gives no number for them."
        )
    known = ~np.isnan(labels)
    positive = labels[known] == 1
    if not np.all(positive | (labels[known] == 0)):
        odd = labels[known][~positive & (labels[known] != 0)][0]
        raise ValueError(f"A label must be 1, 0 or NaN (not known), not {odd:g}.")
    return scores[known], positive


def reason_undefined(positive: Flags) -> str | None:
    """Why these cases have no ROC curve; None if they have one."""
    if not len(positive):
        return "no case of known label"
    if not positive.any():
        return "no positive case"
    if positive.all():
        return "no negative case"
    return None


def curve(scores: ArrayLike, labels: ArrayLike) -> Curve | None:
    """Every operating point of the scores (see `known_cases`).

    Returns:
        None where there is no positive or no negative case.
    """
    known, positive = known_cases(scores, labels)
    if reason_undefined(positive):
        return None
    order = np.argsort(-known, kind="stable")
    known, positive = known[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(known)), len(known) - 1)  # of equal scores
    true_positives = np.cumsum(positive)[last]
    return Curve(
        cutoffs=np.append(np.inf, known[last]),
        true_positives=np.append(0, true_positives),
        false_positives=np.append(0, last + 1 - true_positives),
    )


def closest_to_corner(points: Curve) -> OperatingPoint:
    """The point of least (1 - sensitivity)^2 + (1 - specificity)^2.

    All points compete; of equally close ones that of higher sensitivity wins. The
    distances are compared as whole numbers, exact while n_pos * n_neg < 6e7.
    """
    missed = (points.n_pos - points.true_positives) * float(points.n_neg)
    alarms = points.false_positives * float(points.n_pos)
    distance = missed**2 + alarms**2
    best = len(distance) - 1 - int(np.argmin(distance[::-1]))
    return OperatingPoint(
        cutoff=float(points.cutoffs[best]),
        sensitivity=float(points.sensitivity[best]),
        specificity=float(points.specificity[best]),
    )


def at_cutoff(
    scores: ArrayLike, labels: ArrayLike, cutoff: float | None
) -> OperatingPoint | None:
    """Sensitivity and specificity at a cutoff that was chosen elsewhere.

    Args:
        scores, labels: see `known_cases`.
        cutoff: score from which on a case is called positive; None gives None.
    """
    known, positive = known_cases(scores, labels)
    if cutoff is None:
        return None
    called = known >= cutoff
    return OperatingPoint(
        cutoff=float(cutoff),
        sensitivity=float(called[positive].mean()) if positive.any() else None,
        specificity=None if positive.all() else float((~called[~positive]).mean()),
    )


def discriminate(scores: ArrayLike, labels: ArrayLike) -> Discrimination:
    """Area, average precision and best operating point of one finding's scores.

    Args:
        scores, labels: see `known_cases`.
    """
    known, positive = known_cases(scores, labels)
    n, n_pos = len(positive), int(positive.sum())
    points = curve(known, positive)
    if points is None:
        return Discrimination(n, n_pos, reason=reason_undefined(positive))
    return Discrimination(
        n,
        n_pos,
        auc=auc(known, positive.astype(np.float64)),
        ap=points.average_precision,
        best=closest_to_corner(points),
    )
