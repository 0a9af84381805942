"""What figures show beyond the tables: curves, and single images with their maps."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import load_images
from mlcore.engine.bundle import findings_of
from mlcore.engine.config import AttackConfig
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.predict import Attacker
from mlcore.engine.model.saliency import normalise
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.discrimination.figures import OutcomeCurve
from mlcore.evaluation.discrimination.metrics import at_cutoff, curve
from mlcore.evaluation.discrimination.part import Measured
from mlcore.evaluation.localization.figures import SaliencyExample
from mlcore.evaluation.localization.part import targets
from mlcore.evaluation.methods import told_once
from mlcore.evaluation.robustness.figures import AttackExample

# Of the paper's Figure 1.
EXAMPLE_EPS = 0.002
EXAMPLES = 6
# A curve through 22,433 cases has as many points; no screen shows more than these.
_POINTS = 500


def roc_curves(measured: Measured) -> list[OutcomeCurve]:
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
            points, found = curve(scores, labels), measured.found[variant][column]
            if points is None:
                continue
            kept = np.unique(np.linspace(0, len(points.cutoffs) - 1, _POINTS).round())
            kept = kept.astype(np.intp)
            if precision_recall:
                x, y = points.sensitivity, points.precision
                label, point = f"AP {found.ap:.2f}", None
            else:
                x, y = 1 - points.specificity, points.sensitivity
                label = f"AUC {found.auc:.2f}"
                point = _chosen(measured, variant, column)
            curves.append(
                OutcomeCurve(
                    finding=finding,
                    variant=name,
                    label=label,
                    x=x[kept],
                    y=y[kept],
                    n=found.n,
                    n_pos=found.n_pos,
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


def saliency_examples(
    table: ImageTable, runs: Sequence[LoadedRun]
) -> list[SaliencyExample]:
    """The first test images with a known place, all findings in turn, and their maps.

    Maps are those that readers see: of all findings, through the branch that is
    adversarial where there is one, clipped at 3 SD. Where no place is known, the first
    images with a finding are shown without one.
    """
    chosen = _with_places(table) or [
        (int(row), None)
        for row in table.split_indices("test")
        if findings_of(table, int(row))
    ]
    chosen = chosen[:EXAMPLES]
    if not chosen:
        return []
    rows = np.array([row for row, _ in chosen])
    maps = {
        run.variant: normalise(run.maps(table.images[rows], table.labels[rows]))
        for run in runs
    }
    quantity = told_once({run.variant: run.legend.quantity for run in runs})
    meaning = told_once({run.variant: run.legend.meaning for run in runs})
    return [
        SaliencyExample(
            image_id=table.image_ids[row],
            findings=", ".join(findings_of(table, row)),
            image=np.asarray(table.images[row]),
            maps={name: each[number] for name, each in maps.items()},
            quantity=quantity,
            meaning=meaning,
            mask=mask,
        )
        for number, (row, mask) in enumerate(chosen)
    ]


def _with_places(table: ImageTable) -> list[tuple[int, NDArray[np.bool_] | None]]:
    """Test images with a finding of known place, findings by turns, no image twice."""
    found = list(targets(table))
    longest = max((len(each.rows) for each in found), default=0)
    places: dict[int, NDArray[np.bool_] | None] = {}
    for number in range(longest):
        for each in found:
            if number < len(each.rows):
                places.setdefault(int(each.rows[number]), each.masks[number])
    return list(places.items())


def attack_examples(
    table: ImageTable, runs: Sequence[LoadedRun], *, device: torch.device
) -> list[AttackExample]:
    """The first test image with a finding, attacked as each run is (Figure 1a to c)."""
    rows = [r for r in table.split_indices("test") if findings_of(table, int(r))][:1]
    if not rows:
        return []
    (row,) = rows
    pixels, labels = load_images(table, np.array(rows), device).batch(torch.tensor([0]))
    config = AttackConfig(eps=EXAMPLE_EPS, alpha=EXAMPLE_EPS / 2, steps=10)
    examples = []
    for run in runs:
        branch = run.objective.robust_branch
        with full_precision(run.network), through(run.network, branch):
            attacked = Attacker(run.network, config, branch)(pixels, labels)
            with torch.no_grad():
                before, after = torch.sigmoid(
                    run.network(torch.cat([pixels, attacked]))
                ).tolist()
        # The finding that is there and suffers most.
        present = [i for i, label in enumerate(labels[0].tolist()) if label == 1]
        worst = max(present, key=lambda i: before[i] - after[i])
        fall = f"{before[worst]:.2f} to {after[worst]:.2f}"
        examples.append(
            AttackExample(
                image_id=table.image_ids[row],
                variant=run.variant,
                branch=branch,
                image=pixels[0, 0].double().cpu().numpy(),
                attacked=attacked[0, 0].double().cpu().numpy(),
                eps=EXAMPLE_EPS,
                outcome=f"{run.classes[worst]} {fall}",
            )
        )
    return examples
