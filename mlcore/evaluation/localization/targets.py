"""Targets of localization: the masks and boxes of findings in a split, by finding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import MARKER, Box, ImageTable, Mask
from mlcore.evaluation.localization.pointing import MARKER_OF

# The map that readers see explains the whole diagnosis; the other, one finding of it.
MAPS = ("all findings", "own finding")


@dataclass(frozen=True, eq=False)
class Targets:
    """The images on which the place of a finding, or of its marker, is known.

    Attributes:
        finding: its name, after `MARKER_OF` if these are the places of its marker.
        rows: (n,) rows of the image table.
        masks: bool (n, S, S), true inside.
        maps: those that are judged, of `MAPS`.
    """

    finding: str
    rows: NDArray[np.int64]
    masks: Mask
    maps: tuple[str, ...] = MAPS


def targets(table: ImageTable, split: str = "test") -> Iterator[Targets]:
    """Every finding of the table with a mask or box on an image that has the finding.

    A mask goes before a box; several boxes of a finding are joined.
    """
    masks, boxes = table.masks(), table.boxes()
    for column, finding in enumerate(table.classes):
        rows, places = [], []
        for row in table.split_indices(split):
            if table.labels[row, column] != 1:
                continue
            image_id = table.image_ids[row]
            mask = masks.get(image_id, finding) if masks else None
            if mask is None:
                of_finding = [
                    box for box in boxes.get(image_id, ()) if box.finding == finding
                ]
                mask = box_mask(of_finding, table.image_size) if of_finding else None
            if mask is not None and mask.any():
                rows.append(row)
                places.append(mask)
        if rows:
            yield Targets(finding, np.array(rows, dtype=np.int64), np.stack(places))


def marker_targets(table: ImageTable, split: str = "test") -> Iterator[Targets]:
    """The images that carry a marker, whether or not they have what it goes with."""
    masks, finding = table.masks(), table.options.get("marker")
    if masks is None or finding not in table.classes:
        return
    by_row = {
        row: mask
        for row in table.split_indices(split)
        if (mask := masks.get(table.image_ids[row], MARKER)) is not None and mask.any()
    }
    if by_row:
        rows, places = (
            np.array(list(by_row), dtype=np.int64),
            np.stack([*by_row.values()]),
        )
        yield Targets(f"{MARKER_OF}{finding}", rows, places, maps=("own finding",))


def box_mask(boxes: Sequence[Box], size: int) -> Mask:
    """The pixels, bool (`size`, `size`), whose centre lies in one of the boxes."""
    centre = (np.arange(size) + 0.5) / size
    mask = np.zeros((size, size), dtype=bool)
    for box in boxes:
        across = (centre >= box.x) & (centre < box.x + box.w)
        down = (centre >= box.y) & (centre < box.y + box.h)
        mask |= np.outer(down, across)
    return mask
