"""The parts of an evaluation on discrimination: AUC, operating points, data size."""

from collections.abc import Mapping
from typing import Any

from mlcore.evaluation.discrimination import curves, sentences
from mlcore.evaluation.discrimination.data_size import data_size
from mlcore.evaluation.discrimination.measure import (
    classifier_compare,
    classifier_metrics,
    development_cutoffs,
    for_findings,
    measure,
)
from mlcore.evaluation.discrimination.scoring import (
    label_distribution,
    score,
    score_external,
)
from mlcore.evaluation.part import Evaluation, Part, Subject, Tables, View
from mlcore.reporting.figures import Drawing
from mlcore.reporting.page import Column

_HEADING = "Diagnosis"
_OPERATING = ("cutoff", "sensitivity", "specificity")
_BEST = ("best_cutoff", "best_sensitivity", "best_specificity")


def _discrimination(subject: Subject) -> Evaluation:
    table, runs, device = subject.table, subject.runs, subject.device
    redraws, seed = subject.settings["redraws"], subject.settings["seed"]
    dev = score(table, runs, "dev", device=device)
    cutoffs = development_cutoffs(dev)
    splits = [(dev, cutoffs), (score(table, runs, "test", device=device), cutoffs)]
    matching = None
    if subject.external is not None:
        other, matching = score_external(subject.external, runs, device=device)
        chosen = for_findings(cutoffs, dev.findings, other.findings)
        splits.append((other, chosen))
    measured = [measure(*split, redraws=redraws, seed=seed) for split in splits]
    tables = {
        "classifier_metrics": [r for m in measured for r in classifier_metrics(m)],
        "classifier_compare": [
            row for m in measured[1:] for row in classifier_compare(m, seed=seed)
        ],
        "label_distribution": [
            row for cases, _ in splits for row in label_distribution(cases)
        ],
    }
    if matching is not None:
        tables["matching"] = matching.rows()
    test = measured[1]
    return Evaluation(
        tables,
        {"roc": curves.roc(test), "precision_recall": curves.precision_recall(test)},
    )


def _draw_discrimination(
    tables: Tables, exhibits: Mapping[str, Any]
) -> list[Drawing | None]:
    from mlcore.evaluation.discrimination import figures

    return [
        figures.auc_forest(tables.get("classifier_metrics", ())),
        figures.roc_curves(exhibits.get("roc", ())),
        figures.precision_recall_curves(exhibits.get("precision_recall", ())),
        figures.label_distribution(tables.get("label_distribution", ())),
    ]


def _data_size(subject: Subject) -> Evaluation:
    rows = data_size(
        subject.table,
        subject.runs,
        redraws=subject.settings["redraws"],
        seed=subject.settings["seed"],
        device=subject.device,
        warn=subject.warn,
    )
    return Evaluation({"data_size": rows} if rows else {})


def _draw_data_size(tables: Tables, _: Mapping[str, Any]) -> list[Drawing | None]:
    from mlcore.evaluation.discrimination import figures

    return [figures.data_size(tables.get("data_size", ()))]


DISCRIMINATION = Part(
    name="discrimination",
    asks="AUC and operating points of the diagnoses, variants compared",
    measure=_discrimination,
    headings={
        _HEADING: (
            *("auc", "roc", "precision_recall"),
            *("classifier_metrics", "classifier_compare"),
        ),
        "Data": ("label_distribution", "matching"),
    },
    views=(
        View(
            "classifier_metrics",
            "Discrimination on clean images, with 95 % intervals.",
            {"split": "test"},
            hidden=(*_OPERATING, *_BEST),
        ),
        View(
            "classifier_metrics",
            "Operating points at the cutoff chosen on the development split.",
            {"split": "test"},
            hidden=("auc", "ap", "undefined_redraws", *_BEST),
        ),
        View(
            "classifier_metrics",
            "Operating points at the best cutoff of the split itself: too good by what "
            "was gained in choosing it.",
            {"split": "test"},
            hidden=("auc", "ap", "undefined_redraws", *_OPERATING),
        ),
        View("classifier_compare", "Differences between variants, A minus B."),
        View("label_distribution", "Labels per data set, split and finding."),
        View("matching", "Findings of both data sets, matched by name."),
    ),
    columns=(
        Column("ap", "average precision"),
        Column("p_delong", "p, DeLong"),
        Column("p_swap_paper", "p, swaps (paper)"),
        Column("p_swap_rank", "p, swaps of ranks"),
        Column("significant_001", "P < 0.001"),
    ),
    methods={
        "classifier_metrics": (
            "Discrimination",
            "AUC and average precision come from clean images through the branch std, "
            "on the cases whose label is known. The cutoff minimises "
            "(1 - sensitivity)^2 + (1 - specificity)^2, ties going to the higher "
            "sensitivity, on the development split, and again on the split itself "
            "(best). Intervals (95 %) are percentiles of {redraws} bootstrap redraws "
            "of the cases, by patient where patients repeat; findings and variants see "
            "the same redraws. Redraws without a positive or a negative case are "
            "dropped and counted.",
        ),
        "classifier_compare": (
            "Comparison of variants",
            "Differences are A minus B on the same redraws. p_delong is DeLong's test. "
            "p_swap_paper is the paper's permutation test: predictions swapped at "
            "random 1000 times, the share of differences above the observed one. "
            "p_swap_rank swaps ranks within each model, two-sided, as (b + 1)/(N + 1) "
            "of 10,000 swaps. The threshold is the paper's, P < 0.001, without "
            "adjustment for the number of comparisons.",
        ),
    },
    draw=_draw_discrimination,
    answer=sentences.answer,
    limits=sentences.limits,
    summary=sentences.summary,
)

DATA_SIZE = Part(
    name="data_size",
    asks="AUC of runs on a part of the training images",
    measure=_data_size,
    headings={_HEADING: ("data_size",)},
    views=(View("data_size", "AUC of networks trained on a part of the images."),),
    methods={
        "data_size": (
            "Data size",
            "Networks trained on a random part of the training images, tested on the "
            "same test split; mean and standard deviation over the bootstrap redraws.",
        ),
    },
    draw=_draw_data_size,
)
