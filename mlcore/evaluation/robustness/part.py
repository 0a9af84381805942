"""The part of an evaluation on adversarial robustness."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlcore.evaluation.part import Evaluation, Option, Part, Row, Subject, Tables, View
from mlcore.evaluation.robustness.examples import attack_examples
from mlcore.evaluation.robustness.measure import ALL, robustness
from mlcore.evaluation.robustness.verdicts import verdicts
from mlcore.reporting.figures import Drawing
from mlcore.reporting.page import Column

# Of the strongest attack, for the attack on the margin.
_MARGIN_STRENGTHS = (0.25, 0.5, 1)
# Of the sweep, on the page.
_SHOWN_STRENGTHS = 5


def strengths(strongest: float) -> list[float]:
    """Those of the sweep, from 0; up to 0.01 that of the authors' code."""
    return [strongest * step / 20 for step in range(21)]


def _measure(subject: Subject) -> Evaluation:
    strongest = subject.settings["eps_max"]
    rows = robustness(
        subject.table,
        subject.runs,
        eps=strengths(strongest),
        margin_eps=[strongest * share for share in _MARGIN_STRENGTHS],
        steps=subject.settings["attack_steps"],
        images=subject.settings["attack_images"],
        device=subject.device,
    )
    return Evaluation(
        {
            "robustness_verdicts": [asdict(verdict) for verdict in verdicts(rows)],
            "robustness": rows,
        },
        {"attack": attack_examples(subject.table, subject.runs, device=subject.device)},
    )


def _draw(tables: Tables, exhibits: Mapping[str, Any]) -> list[Drawing | None]:
    from mlcore.evaluation.robustness.figures import attack_rows, robustness_curves

    return [
        attack_rows(exhibits.get("attack", ())),
        robustness_curves(tables.get("robustness", ())),
    ]


def _all_findings_at_few_strengths(rows: Sequence[Row]) -> list[Row]:
    tried = sorted({row["eps"] for row in rows})
    step = max(1, (len(tried) - 1) // (_SHOWN_STRENGTHS - 1))
    few = {*tried[::step], *tried[-1:]}
    return [row for row in rows if row["finding"] == ALL and row["eps"] in few]


def _summary(tables: Tables) -> list[str]:
    return [row["text"] for row in tables.get("robustness_verdicts", ())]


ROBUSTNESS = Part(
    name="robustness",
    asks="AUC and loss under attack, and whether gradients are masked",
    measure=_measure,
    options=(
        Option("eps_max", 0.01, "the strongest attack, of [0, 1]"),
        Option("attack_steps", 10, "of the attack"),
        Option("attack_images", None, "test images to attack"),
    ),
    headings={"Robustness": ("attack", "robustness_verdicts", "robustness")},
    views=(
        View("robustness_verdicts", "Up to which strength the variants hold."),
        View(
            "robustness",
            "AUC and loss of all findings together under attack.",
            pick=_all_findings_at_few_strengths,
            note="Single findings and all strengths are in robustness.csv.",
        ),
    ),
    columns=(Column("eps", unit="of [0, 1]"), Column("alpha", unit="of [0, 1]")),
    methods={
        "robustness": (
            "Robustness",
            "Projected gradient descent (L-infinity) on the loss with alpha = eps / 2 "
            "and pixels kept in [0, 1], in eval mode, starting at the image. A network "
            "with two branches is attacked through each and scored through each. "
            "Images whose gradient is zero are counted. A second attack, on the margin "
            "instead of the loss, checks that a vanishing gradient does not pass for "
            "robustness. A branch is said to hold where at least half of what its "
            "clean mean AUC has above 0.5 is left; masked, where it holds against the "
            "loss attack through itself while another attack of the same strength "
            "breaks it by 0.05 or more. Of a clean AUC below 0.6 no robustness is "
            "claimed.",
        ),
    },
    draw=_draw,
    summary=_summary,
)
