"""The parts of an evaluation on saliency maps: localization and randomisation."""

from collections.abc import Mapping
from typing import Any

from mlcore.evaluation.localization import sentences
from mlcore.evaluation.localization.examples import saliency_examples
from mlcore.evaluation.localization.measure import localization
from mlcore.evaluation.localization.randomization import randomization
from mlcore.evaluation.localization.targets import MAPS
from mlcore.evaluation.part import Evaluation, Option, Part, Subject, Tables, View
from mlcore.reporting.figures import Drawing

_HEADING = "Where the maps point"


def _localization(subject: Subject) -> Evaluation:
    tables = localization(
        subject.table,
        subject.runs,
        redraws=subject.settings["redraws"],
        seed=subject.settings["seed"],
    )
    return Evaluation(
        tables, {"saliency": saliency_examples(subject.table, subject.runs)}
    )


def _draw_localization(
    tables: Tables, exhibits: Mapping[str, Any]
) -> list[Drawing | None]:
    from mlcore.evaluation.localization.figures import (
        localization_forest,
        saliency_rows,
    )

    rows = tables.get("localization", ())
    return [
        saliency_rows(exhibits.get("saliency", ())),
        *(localization_forest(rows, kind) for kind in MAPS),
    ]


def _randomization(subject: Subject) -> Evaluation:
    rows = randomization(
        subject.table,
        subject.runs,
        images=subject.settings["map_images"],
        redraws=subject.settings["redraws"],
        seed=subject.settings["seed"],
    )
    return Evaluation({"randomization": rows})


def _draw_randomization(tables: Tables, _: Mapping[str, Any]) -> list[Drawing | None]:
    from mlcore.evaluation.localization.figures import randomization_curves

    return [randomization_curves(tables.get("randomization", ()))]


LOCALIZATION = Part(
    name="localization",
    asks="whether maps point to masks and boxes",
    measure=_localization,
    leads=True,
    headings={
        _HEADING: (
            *("saliency", "localization_all", "localization_own"),
            *("localization", "localization_compare", "localization_scores"),
        )
    },
    views=(
        View(
            "localization",
            "Share of the map inside the finding, beside chance: the map readers see.",
            {"map": MAPS[0], "measure": "energy_inside"},
            hidden=("patients", "area_share"),
        ),
        View(
            "localization",
            "Every measure, for both kinds of map.",
            hidden=("patients",),
        ),
        View(
            "localization_compare",
            "Differences between maps, A minus B, image by image.",
        ),
    ),
    methods={
        "localization": (
            "Saliency against masks and boxes",
            "Saliency is {maps}, in eval mode and float32, judged by its absolute "
            "value before any clipping, on the test images that have the finding and a "
            "mask or box of it. Energy inside is the share of |map| within the mask; "
            "the pointing game asks whether its largest value lies in the mask, "
            "exactly or within 15 pixels of 256; top-K overlap is the share of the K "
            "strongest pixels within a mask of K pixels. Each is set beside what a "
            "uniform map, a map that only prefers the centre (a Gaussian, its SD a "
            "quarter of the side) and the maps of three untrained networks score: an "
            "untrained network's map follows the edges of an image, and so lies inside "
            "findings more than a uniform map. Where a marker on the image, such as a "
            "letter, goes with a finding, the finding's own map is judged against the "
            "marker's mask too, on the test images that carry it: a map that lies "
            "there follows a shortcut. Intervals (95 %) are percentiles of {redraws} "
            "bootstrap redraws of the cases, by patient.",
        ),
    },
    draw=_draw_localization,
    answer=sentences.answer,
    limits=sentences.limits,
    summary=sentences.summary,
)

RANDOMIZATION = Part(
    name="randomization",
    asks="whether maps depend on what the network has learnt",
    measure=_randomization,
    options=(Option("map_images", 100, "test images of the parameter randomisation"),),
    leads=True,
    headings={_HEADING: ("randomization",)},
    views=(
        View(
            "randomization",
            "Likeness to the trained network's maps as parts become random.",
        ),
    ),
    methods={
        "randomization": (
            "Parameter randomisation",
            "The network's parts are given fresh random weights one after another, "
            "from the output to the input, and the map after each step is compared "
            "with the trained network's: rank correlation of |map| and correlation of "
            "the signed map (Adebayo et al. 2018).",
        ),
    },
    draw=_draw_randomization,
)
