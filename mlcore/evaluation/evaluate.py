"""Every part of an evaluation, in one order, with its settings: tables and exhibits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.config import EngineError
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation import exhibits as shown
from mlcore.evaluation.discrimination.data_size import data_size
from mlcore.evaluation.discrimination.part import (
    Measured,
    classifier_compare,
    classifier_metrics,
    development_cutoffs,
    for_findings,
    measure,
)
from mlcore.evaluation.discrimination.scoring import (
    Matching,
    Row,
    label_distribution,
    score,
    score_external,
)
from mlcore.evaluation.figures import Exhibits
from mlcore.evaluation.localization.part import localization
from mlcore.evaluation.localization.randomization import randomization
from mlcore.evaluation.network.cka import cka
from mlcore.evaluation.network.landscape import landscape, lipschitz
from mlcore.evaluation.robustness.part import robustness, verdicts

Rows = list[Row]


@dataclass(frozen=True)
class EvaluationSettings:
    """How an evaluation is made; the defaults are the paper's where it has any.

    Attributes:
        redraws: of the bootstrap.
        seed: of everything random.
        eps_max: the strongest attack, in pixel units of [0, 1]; 20 equal steps lead
            to it, and the margin attack has a quarter, half and all of it.
        attack_steps: of PGD, each of eps / 2.
        attack_images, map_images, surface_images, slope_images, cka_images: the first
            so many of the test split; None for all.
        surface_points: of a loss surface, a side.
    """

    redraws: int = 10_000
    seed: int = 1
    eps_max: float = 0.01
    attack_steps: int = 10
    attack_images: int | None = None
    map_images: int = 100
    surface_images: int = 3
    surface_points: int = 50
    slope_images: int = 100
    cka_images: int = 202

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name == "seed" else 1
            if value is None or (name == "eps_max" and 0 < value <= 1):
                continue
            if name == "eps_max" or value < least:
                wanted = (
                    "above 0, at most 1" if name == "eps_max" else f"{least} or more"
                )
                raise EngineError(f"{name.replace('_', '-')} must be {wanted}.")


@dataclass
class Evaluation:
    """What has been measured so far.

    Attributes:
        tables: rows by the name of the table, in the order of the report.
        exhibits: what figures need beyond the tables.
    """

    tables: dict[str, Rows] = field(default_factory=dict)
    exhibits: Exhibits = field(default_factory=Exhibits)


@dataclass(frozen=True)
class Subject:
    """What is evaluated, on what, and how."""

    table: ImageTable
    external: ImageTable | None
    runs: Sequence[LoadedRun]
    device: torch.device
    settings: EvaluationSettings


def _discrimination(subject: Subject) -> Evaluation:
    table, runs, device = subject.table, subject.runs, subject.device
    redraws, seed = subject.settings.redraws, subject.settings.seed
    dev = score(table, runs, "dev", device=device)
    cutoffs = development_cutoffs(dev)
    splits = [(dev, cutoffs), (score(table, runs, "test", device=device), cutoffs)]
    matching: Matching | None = None
    if subject.external is not None:
        other, matching = score_external(subject.external, runs, device=device)
        chosen = for_findings(cutoffs, dev.findings, other.findings)
        splits.append((other, chosen))
    measured = [measure(*each, redraws=redraws, seed=seed) for each in splits]
    told: dict[str, Rows] = {
        "classifier_metrics": [r for m in measured for r in classifier_metrics(m)],
        "classifier_compare": [
            row for each in measured[1:] for row in classifier_compare(each, seed=seed)
        ],
        "label_distribution": [
            row for cases, _ in splits for row in label_distribution(cases)
        ],
    }
    if matching is not None:
        told["matching"] = matching.rows()
    test: Measured = measured[1]
    return Evaluation(
        told,
        Exhibits(
            roc=shown.roc_curves(test), precision_recall=shown.precision_recall(test)
        ),
    )


def _data_size(subject: Subject) -> Evaluation:
    settings = subject.settings
    rows = data_size(
        subject.table,
        subject.runs,
        redraws=settings.redraws,
        seed=settings.seed,
        device=subject.device,
    )
    return Evaluation({"data_size": rows} if rows else {})


def _localization(subject: Subject) -> Evaluation:
    table, runs, settings = subject.table, subject.runs, subject.settings
    tables = localization(table, runs, redraws=settings.redraws, seed=settings.seed)
    examples = shown.saliency_examples(table, runs)
    return Evaluation(tables, Exhibits(saliency=examples))


def _randomization(subject: Subject) -> Evaluation:
    settings = subject.settings
    rows = randomization(
        subject.table,
        subject.runs,
        images=settings.map_images,
        redraws=settings.redraws,
        seed=settings.seed,
    )
    return Evaluation({"randomization": rows})


def _robustness(subject: Subject) -> Evaluation:
    settings = subject.settings
    rows = robustness(
        subject.table,
        subject.runs,
        eps=[settings.eps_max * step / 20 for step in range(21)],
        margin_eps=[settings.eps_max * share for share in (0.25, 0.5, 1)],
        steps=settings.attack_steps,
        images=settings.attack_images,
        device=subject.device,
    )
    examples = shown.attack_examples(subject.table, subject.runs, device=subject.device)
    said: Rows = [asdict(verdict) for verdict in verdicts(rows)]
    return Evaluation(
        {"robustness_verdicts": said, "robustness": rows}, Exhibits(attack=examples)
    )


def _landscape(subject: Subject) -> Evaluation:
    settings = subject.settings
    surfaces = landscape(
        subject.table,
        subject.runs,
        images=settings.surface_images,
        points=settings.surface_points,
        seed=settings.seed,
        device=subject.device,
    )
    slopes = lipschitz(
        subject.table,
        subject.runs,
        images=settings.slope_images,
        seed=settings.seed,
        device=subject.device,
    )
    rows = [row for surface in surfaces for row in surface.rows()]
    return Evaluation({"lipschitz": slopes, "landscape": rows})


def _cka(subject: Subject) -> Evaluation:
    found = cka(
        subject.table,
        subject.runs,
        images=subject.settings.cka_images,
        seed=subject.settings.seed,
        device=subject.device,
    )
    return Evaluation({"cka": [row for each in found for row in each.rows()]})


# In the order in which they are made, the quick ones first.
PARTS: Mapping[str, Callable[[Subject], Evaluation]] = {
    "discrimination": _discrimination,
    "localization": _localization,
    "data_size": _data_size,
    "randomization": _randomization,
    "robustness": _robustness,
    "landscape": _landscape,
    "cka": _cka,
}


def evaluate(
    subject: Subject,
    parts: Sequence[str],
    *,
    on_part: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Make the parts named, in the order of `PARTS`.

    Args:
        on_part: called with the name of each part before it begins.

    Raises:
        EngineError: an unknown part, or one that cannot be made of this data set.
    """
    for name in parts:
        if name not in PARTS:
            raise EngineError(f'Unknown part "{name}"; known: {", ".join(PARTS)}.')
    whole = Evaluation()
    collected: dict[str, object] = {}
    for name, make in PARTS.items():
        if name in parts:
            on_part(name)
            made = make(subject)
            whole.tables |= made.tables
            collected |= {k: v for k, v in vars(made.exhibits).items() if v}
    whole.exhibits = Exhibits(**collected)  # type: ignore[arg-type]
    return whole
