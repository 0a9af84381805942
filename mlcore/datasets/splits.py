"""Stratified splits: patients into train, dev and test, every finding spread evenly."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SHARES: Mapping[str, float] = {"train": 0.7, "dev": 0.1, "test": 0.2}


def assign_splits(
    patient_ids: Sequence[str],
    labels: NDArray[np.float32],
    *,
    rng: np.random.Generator,
    shares: Mapping[str, float] = SHARES,
    in_test: Collection[str] = (),
) -> tuple[str, ...]:
    """Give every image the split of its patient.

    Iterative stratification (Sechidis et al., ECML PKDD 2011) with patients in the
    place of samples: the finding with the fewest positives left goes first, and each
    patient who has it goes where it is wanted most. The result depends on the
    generator's state and on which images each patient has, not on their order.

    Args:
        patient_ids: of each image.
        labels: float32 (N, C): 1 counts as positive, 0 and NaN do not.
        shares: of the images, by split; they add up to 1.
        in_test: patients who belong to `test`, even beyond its share.

    Returns:
        One split per image. No patient is in two. No split is empty as long as there
        are enough patients who are free.
    """
    names, row_of = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    # One row a patient: positives of each finding, and in the last column the images.
    load = np.zeros((len(names), labels.shape[1] + 1))
    np.add.at(load, row_of, np.column_stack([labels == 1, np.ones(len(labels))]))
    wanted = np.outer(list(shares.values()), load.sum(axis=0))
    split = np.full(len(names), -1)
    order = list(shares)

    pinned = np.isin(names, list(in_test))
    if pinned.any():
        split[pinned] = order.index("test")
        wanted[order.index("test")] -= load[pinned].sum(axis=0)

    _stratify(load, wanted, split, rng)
    _fill_empty(load, split, movable=~pinned, count=len(shares))
    return tuple(order[number] for number in split[row_of])


def _stratify(
    load: NDArray[np.float64],
    wanted: NDArray[np.float64],
    split: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Fill in the -1 of `split` (P,), counting down `wanted` (splits, C + 1)."""
    images = load.shape[1] - 1
    order = rng.permutation(len(split))
    while (split < 0).any():
        left = load[split < 0].sum(axis=0)
        findings = [c for c in range(images) if left[c] > 0]
        # When no finding is left, the rest is divided by the number of images.
        column = min(findings, key=lambda c: left[c], default=images)
        holders = order[(split[order] < 0) & (load[order, column] > 0)]
        # Large patients first: the small ones then even out what they upset.
        for patient in holders[np.argsort(-load[holders, column], kind="stable")]:
            # A tie for the finding goes where images are wanted most.
            target = np.lexsort((wanted[:, images], wanted[:, column]))[-1]
            split[patient] = target
            wanted[target] -= load[patient]


def _fill_empty(
    load: NDArray[np.float64],
    split: NDArray[np.int64],
    *,
    movable: NDArray[np.bool_],
    count: int,
) -> None:
    """Give each empty split the smallest patient of the split with most patients."""
    for target in range(count):
        sizes = np.bincount(split, minlength=count)
        candidates = np.flatnonzero(movable & (sizes[split] > 1))
        if sizes[target] == 0 and len(candidates):
            by_need = np.lexsort((load[candidates, -1], -sizes[split[candidates]]))
            split[candidates[by_need[0]]] = target
