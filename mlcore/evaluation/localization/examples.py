"""Example images and their saliency maps, as readers see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcore.bundle.drawing import findings_of
from mlcore.bundle.normalising import normalise
from mlcore.datasets.table import ImageTable, Mask
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.localization.targets import targets
from mlcore.reporting.words import told_once

EXAMPLES = 6


@dataclass(frozen=True, eq=False)
class SaliencyExample:
    """One image and the maps of the variants, as a reader would see them.

    Attributes:
        findings: of the image, in words.
        image: (S, S).
        maps: by variant or "variant [branch]", (S, S) in [-1, 1].
        quantity, meaning: what their values are and say; see `saliency.Legend`.
        mask: bool (S, S), where the finding is, or None.
    """

    image_id: str
    findings: str
    image: NDArray[np.uint8]
    maps: Mapping[str, NDArray[np.float32]]
    quantity: str
    meaning: str
    mask: Mask | None = None


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
            maps={name: of_run[number] for name, of_run in maps.items()},
            quantity=quantity,
            meaning=meaning,
            mask=mask,
        )
        for number, (row, mask) in enumerate(chosen)
    ]


def _with_places(table: ImageTable) -> list[tuple[int, Mask | None]]:
    """Test images with a finding of known place, findings by turns, no image twice."""
    by_finding = list(targets(table))
    longest = max((len(target.rows) for target in by_finding), default=0)
    places: dict[int, Mask | None] = {}
    for number in range(longest):
        for target in by_finding:
            if number < len(target.rows):
                places.setdefault(int(target.rows[number]), target.masks[number])
    return list(places.items())
