"""Every figure of an evaluation, from its tables and a few pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlcore.evaluation.discrimination.figures import (
    OutcomeCurve,
    auc_forest,
    data_size,
    label_distribution,
    precision_recall_curves,
    roc_curves,
)
from mlcore.evaluation.localization.figures import (
    SaliencyExample,
    localization_forest,
    randomization_curves,
    saliency_rows,
)
from mlcore.evaluation.network.figures import cka_heat_maps, loss_surfaces
from mlcore.evaluation.plotting import Row
from mlcore.evaluation.robustness.figures import (
    AttackExample,
    attack_examples,
    robustness_curves,
)
from mlcore.reporting.figures import Drawing


@dataclass(frozen=True)
class Exhibits:
    """What figures need beyond the tables; each may be left out."""

    roc: Sequence[OutcomeCurve] = ()
    precision_recall: Sequence[OutcomeCurve] = ()
    saliency: Sequence[SaliencyExample] = ()
    attack: Sequence[AttackExample] = ()


def draw(
    tables: Mapping[str, Sequence[Row]], exhibits: Exhibits | None = None
) -> list[Drawing]:
    """Every figure that the tables and exhibits give; none for what is missing."""
    shown = exhibits or Exhibits()
    localization = tables.get("localization", ())
    cka = tables.get("cka", ())
    drawings = [
        saliency_rows(shown.saliency),
        localization_forest(localization, "all findings"),
        localization_forest(localization, "own finding"),
        randomization_curves(tables.get("randomization", ())),
        auc_forest(tables.get("classifier_metrics", ())),
        roc_curves(shown.roc),
        precision_recall_curves(shown.precision_recall),
        data_size(tables.get("data_size", ())),
        label_distribution(tables.get("label_distribution", ())),
        attack_examples(shown.attack),
        robustness_curves(tables.get("robustness", ())),
        loss_surfaces(tables.get("landscape", ())),
        cka_heat_maps(cka, "biased"),
        cka_heat_maps(cka, "unbiased"),
    ]
    return [drawing for drawing in drawings if drawing is not None]
