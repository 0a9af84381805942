"""Bootstrap percentile intervals: images are redrawn with replacement, readers are not.

A redraw is a count per image, how often it was drawn. Every statistic is a function of
weighted sums over images, so that thousands of redraws are one matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from readerstudy.analysis.statistics.arrays import Floats

# Takes counts (redraws, images), gives values (redraws, ...), NaN where undefined.
Statistic = Callable[[Floats], Floats]

# Redraws made from one seed: part of what a seed means. Whoever computes a chunk, in
# whichever order, gets the same. Large, because on a busy machine each product waits
# for the threads of the linear algebra: chunks of 1,000 took several times as long.
CHUNK = 5000


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of the defined redraws, and how many were not.

    low and high are None where no redraw is defined, or where there is one image.
    """

    low: float | None = None
    high: float | None = None
    undefined: int = 0


@dataclass(frozen=True)
class Bootstrap:
    """How often images are redrawn, and from which seed.

    The same number of images is redrawn the same way whatever is measured on them, so
    that results do not depend on what else is analysed.
    """

    redraws: int = 10_000
    seed: int = 0

    def intervals(self, statistic: Statistic, images: int) -> list[Interval]:
        """A percentile interval for each of the values that `statistic` gives.

        `statistic` gives (redraws, values). Of one image there is nothing to redraw.
        """
        chunks = [
            statistic(counts.astype(np.float64))
            for counts in _counts(images, self.redraws, self.seed)
        ]
        values = np.concatenate(chunks)
        if images < 2:
            return [Interval()] * values.shape[1]
        return [percentiles(column) for column in values.T]


def percentiles(values: Floats) -> Interval:
    """The interval of `values` (redraws,), NaN where a redraw is undefined."""
    defined = values[~np.isnan(values)]
    undefined = values.size - defined.size
    if not defined.size:
        return Interval(undefined=undefined)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(float(low), float(high), undefined)


# The units of an analysis have few different numbers of images, and drawing takes
# longer than most statistics. 10,000 redraws of 300 images are 6 MB.
@lru_cache(maxsize=8)
def _counts(images: int, redraws: int, seed: int) -> tuple[NDArray[np.uint16], ...]:
    """(redraws, images) how often each was drawn, in chunks."""
    starts = range(0, redraws, CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(len(starts))
    chunks = []
    for start, source in zip(starts, seeds, strict=True):
        drawn = np.random.default_rng(source).integers(images, size=(CHUNK, images))
        # Each redraw counts in a row of its own.
        cells = drawn + images * np.arange(CHUNK)[:, np.newaxis]
        counts = np.bincount(cells.ravel(), minlength=CHUNK * images)
        counts = counts.reshape(CHUNK, images)[: redraws - start]
        chunks.append(counts.astype(np.uint16))
    return tuple(chunks)
