"""Case bundle of trained networks: their maps of the cases drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from mlcore.bundle.drawing import NO_PATHOLOGY, Draw, findings_of
from mlcore.bundle.normalising import normalise, to_int8
from mlcore.bundle.writing import Case, CaseImage, Contents, Truth
from mlcore.datasets.table import Box, ImageTable, MaskSet
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
        arms={
            run.variant: {
                "run": run.config.name,
                "branch": run.objective.robust_branch,
                "checkpoint_sha256": run.checkpoint_sha256,
                "method": run.method.name,
                "signed": run.method.signed,
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
    boxes, masks = table.boxes(), table.masks()
    for number, row in enumerate(drawn):
        image = display(row)
        yield Case(
            case_id=table.image_ids[row],
            findings=findings_of(table, row),
            image=image,
            truth=truth_of(table, row, boxes, masks, image),
            overlays={name: maps[number] for name, maps in overlays.items()},
            training=number >= len(draw.indices),
        )


def truth_of(
    table: ImageTable,
    row: int,
    boxes: Mapping[str, Sequence[Box]],
    masks: MaskSet | None,
    image: CaseImage,
) -> dict[str, Truth]:
    """What the table knows of each pathology on an image, its places included.

    Args:
        boxes, masks: the table's, opened once for all rows.
        image: as it is shown, in whose pixels boxes are told.
    """
    image_id, (height, width) = table.image_ids[row], image.pixels.shape
    return {
        finding: Truth(
            label=int(label),
            boxes=[
                (box.x * width, box.y * height, box.w * width, box.h * height)
                for box in boxes.get(image_id, ())
                if box.finding == finding
            ],
            mask=_mask(masks, image_id, finding),
        )
        for finding, label in zip(table.classes, table.labels[row], strict=True)
        if finding.lower() not in NO_PATHOLOGY and not np.isnan(label)
    }


def _mask(masks: MaskSet | None, image_id: str, name: str) -> NDArray[np.uint8] | None:
    mask = None if masks is None else masks.get(image_id, name)
    return None if mask is None else mask.astype(np.uint8)
