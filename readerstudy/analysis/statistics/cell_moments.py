"""Moments of readers x images where cells are missing: how differences between arms
vary over readers, over images and over both, from the cells that exist.

Products of two cells are averaged over all that share both, the reader, the image or
neither (B. D. Gallas's U-statistics). Of a complete table the components are those of
the two-way layout. Sums are whole numbers and their quotients fractions, so that what
does not vary has no variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from readerstudy.analysis.statistics.arrays import Booleans, Floats, Integers

# With so many readers their variance is too uncertain to be taken as it is.
THREE_READERS = 3
TOO_FEW_CELLS = "too few cells share a reader or an image"


@dataclass(frozen=True)
class Moments:
    """Components of variance of the cells' values, and the weights of their mean.

    var_reader, var_case, var_both are unbiased, so that they can be negative; None
    where too few cells share what they need. share_...: what each contributes to the
    variance of the mean. between_readers: sum of (n_r / n)**2 (mean_r - mean)**2 times
    R / (R - 1), never negative; None of one reader.
    """

    n_cells: int
    n_readers: int
    n_cases: int
    mean: Fraction
    share_reader: Fraction
    share_case: Fraction
    share_both: Fraction
    between_readers: Fraction | None
    var_reader: Fraction | None = None
    var_case: Fraction | None = None
    var_both: Fraction | None = None

    @property
    def var_unbiased(self) -> Fraction | None:
        """Of the mean, readers and images random. It may be negative: no test uses
        it."""
        if self.var_reader is None or self.var_case is None or self.var_both is None:
            return None
        return (
            self.share_reader * self.var_reader
            + self.share_case * self.var_case
            + self.share_both * self.var_both
        )


@dataclass(frozen=True)
class Spread:
    """What of the variance of a mean comes from readers, and from images.

    replaced: the first was not above zero, and is taken from the readers' means.
    raised: of three readers, to at least what is not of readers or images alone.
    """

    of_readers: Fraction
    of_cases: Fraction
    replaced: bool = False
    raised: bool = False


def cell_moments(values: Floats) -> Moments | None:
    """Of (readers, images) whole numbers, NaN where there is no cell; None of none."""
    there = ~np.isnan(values)
    there, values = _active(there, values)
    if not values.size:
        return None
    d = np.where(there, np.rint(np.where(there, values, 0)), 0).astype(np.int64)
    by_reader, by_case = there.sum(axis=1), there.sum(axis=0)
    sums_reader, sums_case = d.sum(axis=1), d.sum(axis=0)
    n, total, squares = int(there.sum()), int(d.sum()), int((d**2).sum())
    mean = Fraction(total, n)
    moments = Moments(
        n_cells=n,
        n_readers=len(by_reader),
        n_cases=len(by_case),
        mean=mean,
        share_reader=Fraction(_squares(by_reader), n**2),
        share_case=Fraction(_squares(by_case), n**2),
        share_both=Fraction(1, n),
        between_readers=_between(sums_reader, by_reader, mean),
    )
    # Sums of products of two cells, and how many these are.
    one_reader = _squares(sums_reader) - squares, _squares(by_reader) - n
    one_case = _squares(sums_case) - squares, _squares(by_case) - n
    apart = (
        total**2 - squares - one_reader[0] - one_case[0],
        n**2 - n - one_reader[1] - one_case[1],
    )
    if not (one_reader[1] and one_case[1] and apart[1]):
        return moments
    both, reader, case, neither = (
        Fraction(above, below)
        for above, below in ((squares, n), one_reader, one_case, apart)
    )
    return Moments(
        **{
            **vars(moments),
            "var_reader": reader - neither,
            "var_case": case - neither,
            "var_both": both - reader - case + neither,
        }
    )


def _active(there: Booleans, values: Floats) -> tuple[Booleans, Floats]:
    """Readers and images that have a cell."""
    rows, columns = there.any(axis=1), there.any(axis=0)
    return there[rows][:, columns], values[rows][:, columns]


def _squares(numbers: Integers) -> int:
    return int((numbers.astype(np.int64) ** 2).sum())


def _between(sums: Integers, counts: Integers, mean: Fraction) -> Fraction | None:
    readers, n = len(sums), int(counts.sum())
    if readers < 2:
        return None
    spread = sum(
        (Fraction(int(s)) - int(count) * mean) ** 2 / n**2
        for s, count in zip(sums, counts, strict=True)
    )
    return Fraction(readers, readers - 1) * spread


def spread(tables: Sequence[Moments], weights: Sequence[Fraction]) -> Spread | None:
    """Of the mean of a pair, or the weighted average of several contrasts' that rest on
    the same cells; None where the components are not defined.

    With a variance of readers that is not above zero, as gaps may bring about, degrees
    of freedom would be without bound: it then comes from the readers' means.
    """
    first = tables[0]
    if first.var_reader is None:
        return None

    def average(values: Sequence[Fraction | None]) -> Fraction:
        return sum(
            (w * (v or 0) for w, v in zip(weights, values, strict=True)), Fraction(0)
        )

    both = first.share_both * average([t.var_both for t in tables])
    readers = first.share_reader * average([t.var_reader for t in tables]) + both
    cases = first.share_case * average([t.var_case for t in tables])
    complete = first.n_cells == first.n_readers * first.n_cases
    replaced = readers <= 0 and not complete
    if replaced:
        readers = average([t.between_readers for t in tables])
    raised = first.n_readers == THREE_READERS and both > readers
    if raised:
        readers = both
    return Spread(readers, max(cases, Fraction(0)), replaced, raised)
