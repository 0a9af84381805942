"""ROC and precision-recall curves of every finding and variant, thinned for figures."""

from dataclasses import dataclass

import numpy as np

from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.measure import Measured
from mlcore.evaluation.discrimination.metrics import at_cutoff, curve

# A curve through 22,433 cases has as many points; no screen shows more than these.
_POINTS = 500


@dataclass(frozen=True, eq=False)
class OutcomeCurve:
    """A ROC or precision-recall curve of one finding and variant.

    Attributes:
        label: written beside the variant, such as "AUC 0.81".
        x, y: (k,) false positive rate and sensitivity, or recall and precision, in the
            order of falling cutoffs.
        n, n_pos: known cases, and the positive ones among them.
        point: where the cutoff chosen on `dev` lies, or None.
    """

    finding: str
    variant: str
    label: str
    x: Floats
    y: Floats
    n: int
    n_pos: int
    point: tuple[float, float] | None = None


def roc(measured: Measured) -> list[OutcomeCurve]:
    """Sensitivity against false positive rate, where a finding has both classes."""
    return _curves(measured, precision_recall=False)


def precision_recall(measured: Measured) -> list[OutcomeCurve]:
    """Precision against recall, where a finding has both classes."""
    return _curves(measured, precision_recall=True)


def _curves(measured: Measured, *, precision_recall: bool) -> list[OutcomeCurve]:
    cases, curves = measured.cases, []
    for column, finding in enumerate(cases.findings):
        labels = cases.labels[:, column]
        for variant, name in enumerate(cases.variants):
            scores = cases.scores[:, variant, column]
            points = curve(scores, labels)
            discrimination = measured.discriminations[variant][column]
            if points is None:
                continue
            kept = np.unique(np.linspace(0, len(points.cutoffs) - 1, _POINTS).round())
            kept = kept.astype(np.intp)
            if precision_recall:
                x, y = points.sensitivity, points.precision
                label, point = f"AP {discrimination.ap:.2f}", None
            else:
                x, y = 1 - points.specificity, points.sensitivity
                label = f"AUC {discrimination.auc:.2f}"
                point = _chosen(measured, variant, column)
            curves.append(
                OutcomeCurve(
                    finding=finding,
                    variant=name,
                    label=label,
                    x=x[kept],
                    y=y[kept],
                    n=discrimination.n,
                    n_pos=discrimination.n_pos,
                    point=point,
                )
            )
    return curves


def _chosen(
    measured: Measured, variant: int, column: int
) -> tuple[float, float] | None:
    """Where the cutoff chosen on `dev` lies on the ROC curve."""
    cutoff = measured.cutoffs[variant, column]
    if np.isnan(cutoff):
        return None
    cases = measured.cases
    at = at_cutoff(cases.scores[:, variant, column], cases.labels[:, column], cutoff)
    if at is None or at.sensitivity is None or at.specificity is None:
        return None
    return 1 - at.specificity, at.sensitivity
