"""The units of analysis: which images, with which values, each test is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from readerstudy.analysis.ratings import ALL, Ratings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Unit:
    """The blocks of one test: one row per image, one column per variant.

    level: "reader" or "pooled". pooling: None, "complete" or "available".
    blocks: (images, variants) without NaN, `divisor` times the rating points.
    dropped: images of the unit left out because ratings are missing.
    """

    level: str
    reader: str
    dataset: str
    pooling: str | None
    blocks: Array
    divisor: int
    dropped: int


def units(ratings: Ratings) -> Iterator[Unit]:
    """Every reader in every data set and in ALL, then the readers pooled likewise.

    Missing ratings follow the policy "triples": an image with one of its three ratings
    missing is left out for that reader, so Friedman's test and all pairs see the same
    images. Nothing is imputed.
    """
    for reader in ratings.readers:
        for dataset in (*ratings.datasets, ALL):
            values, assigned = ratings.part(reader, dataset)
            if assigned.any():
                blocks = values[0][_triples(values)[0]]
                dropped = int(assigned.sum()) - len(blocks)
                yield Unit("reader", reader, dataset, None, blocks, 1, dropped)
    for dataset in (*ratings.datasets, ALL):
        values, _ = ratings.part(ALL, dataset)
        yield _complete(values, dataset)
        yield _available(values, dataset)


def _triples(values: Array) -> NDArray[np.bool_]:
    """(readers, images): has the reader rated the image under every variant?"""
    complete: NDArray[np.bool_] = np.all(~np.isnan(values), axis=2)
    return complete


def _complete(values: Array, dataset: str) -> Unit:
    """Images with every rating of every reader, as sums over the readers.

    Sums are integers, so that equal ones are equal. A reader who has not rated anything
    here is none of the readers that an image waits for; one who has rated a part is.
    """
    active = values[~np.isnan(values).all(axis=(1, 2))]
    # Of no readers, all() would be true.
    kept = _triples(active).sum(axis=0) == max(len(active), 1)
    blocks = active[:, kept].sum(axis=0)
    divisor = max(len(active), 1)
    return Unit("pooled", ALL, dataset, "complete", blocks, divisor, int((~kept).sum()))


def _available(values: Array, dataset: str) -> Unit:
    """Images with a complete triple of any reader, as means over those readers.

    The three means of an image divide integer sums by one number: equal ones are equal.
    """
    triples = _triples(values)
    counts = triples.sum(axis=0)
    sums = np.where(triples[:, :, np.newaxis], values, 0).sum(axis=0)
    kept = counts > 0
    blocks = sums[kept] / counts[kept, np.newaxis]
    return Unit("pooled", ALL, dataset, "available", blocks, 1, int((~kept).sum()))
