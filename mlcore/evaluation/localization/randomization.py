"""Cascading parameter randomisation: do maps depend on what a network has learnt?

After Adebayo et al. (Sanity Checks for Saliency
Maps, 2018). A map that stays as it was shows the image or the architecture, not the
network's knowledge.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mlcore.datasets.table import ImageTable
from mlcore.engine.config import EngineError
from mlcore.engine.model.networks import build_network
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.resampling import number_patients
from mlcore.evaluation.localization.redraw_means import (
    count_known,
    interval_limits,
    redraw_means,
)
from mlcore.evaluation.part import Row

Maps = NDArray[np.float32]

SIMILARITIES = ("spearman_absolute", "pearson_signed")
# Of Pearson's correlation, for maps that are each other's multiple up to rounding.
_SAME = 1 - 1e-6


def randomization(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    images: int,
    redraws: int,
    seed: int,
) -> list[Row]:
    """How alike the readers' maps stay while the network's layers are randomised.

    At each stage one more part of a copy, from the last to the first, gets the values
    of a fresh network: weights, and for batch norm also the running statistics, for
    trained ones would silence or flood a random layer. All variants meet the same
    random weights. The runs' own networks stay as they are.

    Args:
        images: how many of the test split are drawn, if it has as many.
        seed: of the drawn images, the random weights and the redraws.

    Returns:
        Rows by variant, branch, stage (0: nothing is random), layers (the part that
        became random in this stage) and measure: Spearman's rank correlation of
        |map|, or Pearson's of the signed map, each over an image's pixels.
        value is the mean over n images, lo and hi its 95 % limits, from a bootstrap of
        the cases, by patient, that knows nothing of the chance in the random weights.
        unchanged counts maps that are the trained network's but for a positive factor;
        undefined those that are zero everywhere or constant, before or after.
        Unrelated weights bring Pearson's to 0, not Spearman's: the lattice of strides
        and the border alone gave 0.26 to 0.29 (ResNet-10, 64 pixels, real images).

    Raises:
        EngineError: the table has no test image.
    """
    rng = np.random.default_rng(seed)
    rows = _drawn_rows(table, images, rng)
    weights_seed = int(rng.integers(2**63))
    patients = number_patients([table.patient_ids[row] for row in rows], len(rows))
    pixels, labels = table.images[rows], table.labels[rows]
    rows_by_run: list[Row] = []
    for run in runs:
        for branch in run.branches:
            trained = None
            for stage, (layers, less) in enumerate(cascade(run, weights_seed)):
                maps = less.maps(pixels, labels, branch=branch)
                trained = maps if trained is None else trained
                name: Row = {
                    "variant": run.variant,
                    "branch": branch,
                    "stage": stage,
                    "layers": layers,
                }
                alike = similarities(trained, maps)
                rows_by_run += [
                    name | row for row in _summary(alike, patients, redraws, seed)
                ]
    return rows_by_run


def cascade(run: LoadedRun, seed: int) -> Iterator[tuple[str, LoadedRun]]:
    """A copy of the run whose network loses one more part at each step, the last first.

    Yields:
        The name of the part that became random ("none" at first) and the copy, its
        network one and the same object, on the device of the run's.
    """
    network = deepcopy(run.network)
    copy = dataclasses.replace(run, network=network)
    fresh = build_network(
        run.config.train.network,
        len(run.classes),
        dual=run.objective.dual,
        seed=seed,
    )
    yield "none", copy
    for name in reversed(list(network.parts)):
        pairs = zip(network.parts[name], fresh.parts[name], strict=True)
        for module, source in pairs:
            module.load_state_dict(source.state_dict())
        yield name, copy


def similarities(before: Maps, after: Maps) -> Floats:
    """Each map's likeness to itself before, (n, 2) in the order of `SIMILARITIES`.

    Args:
        before, after: (n, H, W), signed.

    Returns:
        In [-1, 1]. NaN where a map is zero everywhere or constant, for then it has no
        correlation; but a map that stayed exactly the same has 1, unless it is zero.
    """
    likeness = np.empty((len(before), len(SIMILARITIES)))
    for pair, one, other in zip(likeness, before, after, strict=True):
        if np.array_equal(one, other) and one.any():
            pair[:] = 1.0
            continue
        pair[0] = _correlation(*(rankdata(np.abs(each)) for each in (one, other)))
        pair[1] = _correlation(one.ravel(), other.ravel())
    return likeness


def _correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's; NaN where one of the two is constant or not finite."""
    units = []
    for each in (one, other):
        values = each.astype(np.float64)
        if np.ptp(values) == 0 or not np.isfinite(values).all():
            return np.nan
        centred = values - values.mean()
        units.append(centred / np.linalg.norm(centred))
    return float(np.clip(units[0] @ units[1], -1, 1))


def _drawn_rows(
    table: ImageTable, images: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    rows = table.split_indices("test")
    if not len(rows):
        raise EngineError(f"{table.name} has no image in the test split to evaluate.")
    return np.sort(rng.choice(rows, min(images, len(rows)), replace=False))


def _summary(
    alike: Floats, patients: NDArray[np.intp], redraws: int, seed: int
) -> list[Row]:
    draws = redraw_means(alike, patients, redraws=redraws, seed=seed)
    unchanged = int((alike[:, 1] >= _SAME).sum())
    rows: list[Row] = []
    for column, measure in enumerate(SIMILARITIES):
        values = alike[:, column]
        counts = count_known(values, patients)
        lo, hi = interval_limits(draws[:, column], counts["patients"])
        row: Row = {
            "measure": measure,
            **counts,
            "unchanged": unchanged,
            "value": float(np.nanmean(values)) if counts["n"] else None,
            "lo": lo,
            "hi": hi,
        }
        if not counts["n"]:
            row["reason"] = "no map has a correlation"
        elif counts["patients"] == 1:
            row["reason"] = "one patient has no interval"
        rows.append(row)
    return rows
