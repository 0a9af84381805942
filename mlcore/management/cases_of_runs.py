"""Case bundle of trained networks: their maps of the cases drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from mlcore.bundle.drawing import Draw, findings_of
from mlcore.bundle.normalising import normalise, to_int8
from mlcore.bundle.writing import Case, CaseImage, Contents
from mlcore.datasets.table import ImageTable
from mlcore.engine.runs import LoadedRun
from mlcore.errors import UsageError


def contents_of(table: ImageTable, draw: Draw, runs: Sequence[LoadedRun]) -> Contents:
    """What the bundle's manifest says of all cases.

    Args:
        runs: one per variant.

    Raises:
        UsageError: the runs' maps explain different things.
    """
    targets = {run.config.train.saliency.target for run in runs}
    if len(targets) != 1:
        raise UsageError(
            "The runs differ in saliency.target, so their maps mean different things."
        )
    (target,) = targets
    return Contents(
        dataset=table.name,
        modality=table.modality,
        classes=list(table.classes),
        sampling=draw.sampling,
        saliency={
            "method": runs[0].method.name,
            "target": target,
            "labels": "all" if target == "loss" else "positive",
            "clip": "mean +/- 3 SD of the image",
            "dtype": "int8",
            "scale": 127,
        },
        legend=asdict(runs[0].legend),
        variants={
            run.variant: {
                "run": run.config.name,
                "branch": run.objective.robust_branch,
                "checkpoint_sha256": run.checkpoint_sha256,
            }
            for run in runs
        },
    )


def cases_of(
    table: ImageTable,
    draw: Draw,
    runs: Sequence[LoadedRun],
    display: Callable[[int], CaseImage],
) -> Iterator[Case]:
    """The cases drawn with every run's maps, those to practise on last.

    Args:
        display: gives the image to show for a row of the table; called case by case.
    """
    drawn = (*draw.indices, *draw.training)
    images, labels = table.images[np.array(drawn)], table.labels[np.array(drawn)]
    overlays = {
        run.variant: to_int8(normalise(run.maps(images, labels))) for run in runs
    }
    for number, row in enumerate(drawn):
        yield Case(
            case_id=table.image_ids[row],
            findings=findings_of(table, row),
            image=display(row),
            overlays={name: maps[number] for name, maps in overlays.items()},
            training=number >= len(draw.indices),
        )
