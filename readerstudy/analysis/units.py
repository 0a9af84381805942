"""Units of analysis: which images, with which values, each test is made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats, Integers

MISSING = ("triples", "complete")
POOLINGS = ("available", "complete")
# From so many variants on, few readers rated all of an image where ratings are missing.
OWN_CELLS = 4


@dataclass(frozen=True, eq=False)
class Pair:
    """The differences that a pair of variants is tested by, A minus B.

    differences: (n,) whole numbers where ratings are, `divisor` times the points.
    images: (n,) which image each is of, from 0.
    """

    differences: Floats
    images: Integers
    divisor: int
    n_readers: int
    n_ratings: int
    dropped: int
    images_left_out: int

    @property
    def n_images(self) -> int:
        return len(np.unique(self.images))


@dataclass(frozen=True, eq=False)
class Unit:
    """The blocks of one test: one row per image, one column per variant.

    level: "reader", "pooled" or "blocks". pooling: None or one of POOLINGS.
    blocks: (blocks, variants) without NaN, `divisor` times the rating points. A block
      is an image; at the level "blocks" it is what one reader made of one image.
    images: (blocks,) which image each block is of, from 0.
    dropped: blocks of the unit left out because ratings are missing.
    n_readers, n_ratings, images_left_out: what the blocks rest on, and what not.
    primary: is this one of the tests that were named before there were ratings?
    own_cells: (readers, images, variants) where each pair is tested on the readers who
      rated both of its variants, else None.
    """

    level: str
    reader: str
    dataset: str
    pooling: str | None
    divisor: int
    dropped: int
    blocks: Floats
    images: Integers
    n_readers: int
    n_ratings: int
    images_left_out: int
    primary: bool
    own_cells: Floats | None = None

    @property
    def independent(self) -> bool:
        """Whether no two blocks are of the same image."""
        return self.level != "blocks"

    @property
    def n_images(self) -> int:
        return len(np.unique(self.images))

    def pair(self, a: int, b: int) -> Pair:
        """Of the variants in these columns."""
        if self.own_cells is not None:
            pooled = _means(self.own_cells[:, :, [a, b]])
            return Pair(
                pooled.blocks[:, 0] - pooled.blocks[:, 1],
                np.arange(len(pooled.blocks)),
                pooled.divisor,
                pooled.n_readers,
                pooled.n_ratings,
                pooled.dropped,
                pooled.dropped,
            )
        return Pair(
            self.blocks[:, a] - self.blocks[:, b],
            self.images,
            self.divisor,
            self.n_readers,
            2 * self.n_ratings // self.blocks.shape[1],
            self.dropped,
            self.images_left_out,
        )


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


def units(
    ratings: Ratings, *, blocks: bool = False, pooling: str = POOLINGS[0]
) -> Iterator[Unit]:
    """Every reader in every data set and in ALL, then the readers pooled likewise.

    An image with one of its ratings missing is left out for that reader. `blocks`
    adds reader x image blocks, which are not independent of each other. `pooling` is
    the one of POOLINGS that is primary.
    """
    for reader, dataset, values, assigned in ratings.parts():
        if reader != ALL:
            yield _crossed("reader", reader, dataset, values, assigned)
    for dataset in (*ratings.datasets, ALL):
        values, _ = ratings.part(ALL, dataset)
        for name, pooled in (
            ("complete", _complete(values)),
            ("available", _means(values)),
        ):
            yield _pooled(name, dataset, pooled, values, primary=name == pooling)
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
    due = assigned.any(axis=0)
    return Unit(
        level,
        reader,
        dataset,
        None,
        divisor=1,
        dropped=int(assigned.sum() - kept.sum()),
        blocks=values[kept],
        images=np.unique(np.nonzero(kept)[1], return_inverse=True)[1],
        n_readers=int(kept.any(axis=1).sum()),
        n_ratings=int(kept.sum()) * values.shape[2],
        images_left_out=int((due & ~kept.any(axis=0)).sum()),
        primary=False,
    )


@dataclass(frozen=True, eq=False)
class _Pooled:
    """Blocks of images, pooled over readers: see `Unit`."""

    blocks: Floats
    divisor: int
    n_readers: int
    n_ratings: int
    dropped: int


def _complete(values: Floats) -> _Pooled:
    """Images with every rating of every reader, as sums over the readers.

    Sums are integers, so that equal ones are equal.
    """
    rated, kept = complete_images(values)
    readers = len(rated) if kept.any() else 0
    return _Pooled(
        rated.sum(axis=0), max(len(rated), 1), readers, rated.size, int((~kept).sum())
    )


def _means(values: Floats) -> _Pooled:
    """Images that any reader rated under every variant, as means over those readers.

    Of `values` (readers, images, variants). Means are brought to the least common
    multiple of their denominators, so that they are integers, and equal ones are equal.
    """
    complete = triples(values)
    counts = complete.sum(axis=0)
    kept = counts > 0
    sums = np.where(complete[:, :, np.newaxis], values, 0).sum(axis=0)[kept]
    divisor = int(np.lcm.reduce(counts[kept])) if kept.any() else 1
    return _Pooled(
        sums * (divisor // counts[kept])[:, np.newaxis],
        divisor,
        int(complete.any(axis=1).sum()),
        int(counts.sum()) * values.shape[2],
        int((~kept).sum()),
    )


def _pooled(
    pooling: str, dataset: str, pooled: _Pooled, values: Floats, *, primary: bool
) -> Unit:
    own = pooling == "available" and values.shape[2] >= OWN_CELLS
    return Unit(
        "pooled",
        ALL,
        dataset,
        pooling,
        divisor=pooled.divisor,
        dropped=pooled.dropped,
        blocks=pooled.blocks,
        images=np.arange(len(pooled.blocks)),
        n_readers=pooled.n_readers,
        n_ratings=pooled.n_ratings,
        images_left_out=pooled.dropped,
        primary=primary and dataset != ALL,
        own_cells=values if own else None,
    )
