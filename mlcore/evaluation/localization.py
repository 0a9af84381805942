"""Do the maps point to the finding? Saliency against masks and boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mlcore.datasets.table import Box, ImageTable
from mlcore.engine.batchnorm import Branch
from mlcore.engine.runs import LoadedRun
from mlcore.engine.saliency import loss_gradients
from mlcore.evaluation.resampling import bootstrap_mean_interval

# The map that readers see explains the whole diagnosis; the other, one finding of it.
MAPS = ("all findings", "own finding")


@dataclass(frozen=True)
class Targets:
    """The images on which one finding's place is known.

    Attributes:
        finding: its name.
        rows: (n,) rows of the image table.
        masks: bool (n, S, S), true inside.
    """

    finding: str
    rows: NDArray[np.int64]
    masks: NDArray[np.bool_]


def energy_inside(
    gradients: NDArray[np.float32], masks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of each map's absolute gradient that falls into the mask.

    The energy-based pointing game of Wang et al. (Score-CAM, 2020), on |gradient|. A
    map without structure scores the mask's share of the image's area.

    Args:
        gradients: (n, H, W), signed.
        masks: (n, H, W).

    Returns:
        (n,) in [0, 1]; NaN where a map is zero everywhere and so points nowhere.
    """
    energy = np.abs(gradients.astype(np.float64))
    total = energy.sum(axis=(1, 2))
    inside = (energy * masks).sum(axis=(1, 2))
    share = np.full(len(energy), np.nan)
    np.divide(inside, total, out=share, where=total > 0)
    return share


def targets(table: ImageTable, split: str = "test") -> Iterator[Targets]:
    """Every finding of the table with a mask or box on an image that has the finding.

    A mask goes before a box; several boxes of a finding are joined.
    """
    masks, boxes = table.masks(), table.boxes()
    for column, finding in enumerate(table.classes):
        rows, found = [], []
        for row in table.split_indices(split):
            if table.labels[row, column] != 1:
                continue
            image_id = table.image_ids[row]
            mask = masks.get(image_id, finding) if masks else None
            if mask is None:
                own = [box for box in boxes.get(image_id, ()) if box.finding == finding]
                mask = box_mask(own, table.image_size) if own else None
            if mask is not None and mask.any():
                rows.append(row)
                found.append(mask)
        if rows:
            yield Targets(finding, np.array(rows, dtype=np.int64), np.stack(found))


def box_mask(boxes: Sequence[Box], size: int) -> NDArray[np.bool_]:
    """The pixels, bool (`size`, `size`), whose centre lies in one of the boxes."""
    centre = (np.arange(size) + 0.5) / size
    mask = np.zeros((size, size), dtype=bool)
    for box in boxes:
        across = (centre >= box.x) & (centre < box.x + box.w)
        down = (centre >= box.y) & (centre < box.y + box.h)
        mask |= np.outer(down, across)
    return mask


def localization(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    redraws: int,
    seed: int,
    device: torch.device,
) -> list[dict[str, object]]:
    """Energy inside the finding, per finding, map, variant and branch.

    Returns:
        Rows with n, area_share (what a map without structure scores), energy_inside
        with its case-bootstrap interval lo, hi (95 %), ratio (energy_inside over
        area_share), and undefined: maps that are zero everywhere, left out.
    """
    rows: list[dict[str, object]] = []
    for target in targets(table):
        for kind in MAPS:
            labels = _labels(table, target, kind)
            for run in runs:
                for branch in branches(run):
                    gradients = loss_gradients(
                        run.network,
                        table.images[target.rows],
                        labels,
                        branch=branch,
                        device=device,
                    )
                    name = {
                        "finding": target.finding,
                        "map": kind,
                        "variant": run.run.variant,
                        "branch": branch,
                    }
                    energy = energy_inside(gradients, target.masks)
                    # One seed: rows of as many defined maps see the same redraws.
                    rng = np.random.default_rng(seed)
                    rows.append(name | _summary(energy, target.masks, redraws, rng))
    return rows


def branches(run: LoadedRun) -> tuple[Branch, ...]:
    """The batch norm branches that a run's network can be asked through."""
    return ("std", "adv") if run.objective.dual else ("std",)


def _labels(table: ImageTable, target: Targets, kind: str) -> NDArray[np.float32]:
    labels = table.labels[target.rows].copy()
    if kind == "own finding":
        others = np.array(table.classes) != target.finding
        labels[:, others] = np.nan
    return labels


def _summary(
    energy: NDArray[np.float64],
    masks: NDArray[np.bool_],
    redraws: int,
    rng: np.random.Generator,
) -> dict[str, object]:
    known = np.isfinite(energy)
    area = float(masks[known].mean()) if known.any() else None
    row: dict[str, object] = {
        "n": int(known.sum()),
        "undefined": int((~known).sum()),
        "area_share": area,
        "energy_inside": None,
        "lo": None,
        "hi": None,
        "ratio": None,
    }
    if area:
        mean = float(energy[known].mean())
        low, high = bootstrap_mean_interval(
            energy[known, None], redraws=redraws, rng=rng
        )
        row |= {
            "energy_inside": mean,
            "lo": float(low[0]),
            "hi": float(high[0]),
            "ratio": mean / area,
        }
    return row
