"""Units of analysis: which images, with which values, each test is made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats, Integers

MISSING = ("triples", "complete")


@dataclass(frozen=True, eq=False)
class Unit:
    """The blocks of one test: one row per image, one column per variant.

    level: "reader", "pooled" or "blocks". pooling: None, "complete" or "available".
    blocks: (blocks, variants) without NaN, `divisor` times the rating points. A block
      is an image; at the level "blocks" it is what one reader made of one image.
    images: (blocks,) which image each block is of, from 0.
    dropped: blocks of the unit left out because ratings are missing.
    primary: is this one of the tests that were named before there were ratings?
    """

    level: str
    reader: str
    dataset: str
    pooling: str | None
    divisor: int
    dropped: int
    blocks: Floats
    images: Integers

    @property
    def primary(self) -> bool:
        return self.pooling == "complete" and self.dataset != ALL

    @property
    def independent(self) -> bool:
        """Whether no two blocks are of the same image."""
        return self.level != "blocks"


def under_policy(ratings: Ratings, missing: str) -> Ratings:
    """The ratings that tests may use, where some are missing. Nothing is imputed.

    "triples": all of them; an image with one of its ratings missing is left out
    for that reader (see `units`), so Friedman's test and all pairs see the same images.
    "complete": an image that lacks any rating of any reader who rates in its data set
    is left out for all of them.
    """
    if missing == "triples":
        return ratings
    kept = np.zeros(ratings.assigned.shape, bool)
    for dataset in ratings.datasets:
        inside = np.flatnonzero(ratings.in_dataset(dataset))
        kept[:, inside[complete_images(ratings.values[:, inside])[1]]] = True
    values = np.where(kept[:, :, np.newaxis], ratings.values, np.nan)
    return replace(ratings, values=values)


def units(ratings: Ratings, *, blocks: bool = False) -> Iterator[Unit]:
    """Every reader in every data set and in ALL, then the readers pooled likewise.

    An image with one of its ratings missing is left out for that reader. `blocks`
    adds reader x image blocks, which are not independent of each other.
    """
    for reader, dataset, values, assigned in ratings.parts():
        if reader != ALL:
            yield _crossed("reader", reader, dataset, values, assigned)
    for dataset in (*ratings.datasets, ALL):
        values, _ = ratings.part(ALL, dataset)
        yield _complete(values, dataset)
        yield _available(values, dataset)
    if blocks:
        for dataset in (*ratings.datasets, ALL):
            yield _crossed("blocks", ALL, dataset, *ratings.part(ALL, dataset))


def triples(values: Floats) -> Booleans:
    """(readers, images): has the reader rated the image under every variant?"""
    complete: Booleans = np.all(~np.isnan(values), axis=2)
    return complete


def complete_images(values: Floats) -> tuple[Floats, Booleans]:
    """(active readers, complete images, variants), and which images are complete.

    A reader who has not rated anything here is none of the readers that an image waits
    for; one who has rated a part is.
    """
    active = values[~np.isnan(values).all(axis=(1, 2))]
    # Of no readers, all() would be true.
    kept = triples(active).sum(axis=0) == max(len(active), 1)
    return active[:, kept], kept


def _crossed(
    level: str, reader: str, dataset: str, values: Floats, assigned: Booleans
) -> Unit:
    """Each reader's triples of each image, as they are."""
    kept = triples(values)
    return Unit(
        level,
        reader,
        dataset,
        None,
        divisor=1,
        dropped=int(assigned.sum() - kept.sum()),
        blocks=values[kept],
        images=np.unique(np.nonzero(kept)[1], return_inverse=True)[1],
    )


def _complete(values: Floats, dataset: str) -> Unit:
    """Images with every rating of every reader, as sums over the readers.

    Sums are integers, so that equal ones are equal.
    """
    rated, kept = complete_images(values)
    return _pooled("complete", dataset, rated.sum(axis=0), kept, max(len(rated), 1))


def _available(values: Floats, dataset: str) -> Unit:
    """Images with a complete triple of any reader, as means over those readers.

    The means of an image divide integer sums by one number: equal ones are equal.
    """
    complete = triples(values)
    counts = complete.sum(axis=0)
    sums = np.where(complete[:, :, np.newaxis], values, 0).sum(axis=0)
    kept = counts > 0
    return _pooled("available", dataset, sums[kept] / counts[kept, None], kept, 1)


def _pooled(
    pooling: str, dataset: str, blocks: Floats, kept: Booleans, divisor: int
) -> Unit:
    return Unit(
        "pooled",
        ALL,
        dataset,
        pooling,
        divisor=divisor,
        dropped=int((~kept).sum()),
        blocks=blocks,
        images=np.arange(len(blocks)),
    )
