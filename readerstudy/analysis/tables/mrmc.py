"""Multi-reader multi-case analysis of the differences between two variants.

The differences of a complete table, readers x cases, are taken apart as a two-way
layout without replication. With readers and cases both random, the degrees of freedom
are those of S. L. Hillis, Statistics in Medicine 26 (2007) 596-619. Where cells are
missing the components come from moments over those that exist, and no image is dropped
for a gap.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from scipy import stats

from mlcore.reporting.page import MINUS, Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.cell_moments import (
    THREE_READERS,
    TOO_FEW_CELLS,
    Moments,
    Spread,
    cell_moments,
    spread,
)
from readerstudy.analysis.table import Heading, Row, Table, View, verdict

# What each inference takes as drawn at random, and so whom it speaks for.
SPEAKS_FOR = {
    "RRRC": "readers and images in general",
    "FRRC": "these readers; images in general",
    "RRFC": "readers in general; these images",
}
LEVEL = 0.05
TWO_READERS = "two readers are too few to speak for readers in general"
INFINITE_DF = "readers do not vary: df is infinite"


@dataclass(frozen=True)
class Layout:
    """Mean squares of a table of differences; None where readers or cases are too few,
    and where cells are missing.

    var_reader, var_case, var_reader_case: the components behind them, unbiased, so that
    they can be negative. var_unbiased: of the mean difference, readers and cases random
    (the U-statistic that iMRMC computes), which can be negative too.
    """

    n_readers: int
    n_cases: int
    mean_diff: float | None = None
    ms_reader: float | None = None
    ms_case: float | None = None
    ms_reader_case: float | None = None
    var_reader: float | None = None
    var_case: float | None = None
    var_reader_case: float | None = None
    var_unbiased: float | None = None


@dataclass(frozen=True)
class Inference:
    """Student's t of a mean difference. None is explained in `reason`.

    mean_diff: over the cells, or where cells are missing and readers or images are
    fixed, over the means of images or of readers. approximate: the variance of readers
    was replaced or raised, see `Spread`, and the level is no more than nearly held.
    """

    mean_diff: float | None = None
    se: float | None = None
    df: float | None = None
    t: float | None = None
    p: float | None = None
    ci_lo: float | None = None
    ci_hi: float | None = None
    approximate: bool = False
    reason: str | None = None

    def interval(self, level: float) -> tuple[float | None, float | None]:
        """The ends at another level than .05; None where there are none."""
        if self.mean_diff is None or self.se is None or self.ci_lo is None:
            return None, None
        df = float("inf") if self.df is None else self.df
        half = float(stats.t.ppf(1 - level / 2, df)) * self.se
        return self.mean_diff - half, self.mean_diff + half


def mrmc(ratings: Ratings) -> list[Row]:
    """Every data set and ALL, every pair, under each inference of SPEAKS_FOR.

    All cells count in which a reader rated an image under both variants (`n_cells`);
    `dropped` counts images without any. A - B is in rating points.
    `..._simultaneous` are ends of intervals that hold for all pairs at once
    (Bonferroni).
    """
    return [
        {"dataset": dataset, "pair": pair} | row
        for dataset in (*ratings.datasets, ALL)
        for pair, a, b in ratings.pairs
        for row in _rows(ratings, ratings.part(ALL, dataset)[0], a, b)
    ]


def _rows(ratings: Ratings, values: Floats, a: int, b: int) -> Iterator[Row]:
    differences = values[:, :, a] - values[:, :, b]
    parts, results = of_cells(differences)
    n_cells = int(np.count_nonzero(~np.isnan(differences)))
    dropped = differences.shape[1] - parts.n_cases
    for inference, result in results:
        at_once = result.interval(LEVEL / len(ratings.pairs))
        test = asdict(result)
        reason = test.pop("reason")
        columns = asdict(parts) | {"dropped": dropped} | test
        columns |= {
            "ci_lo_simultaneous": at_once[0],
            "ci_hi_simultaneous": at_once[1],
            "n_cells": n_cells,
            "n_images": parts.n_cases,
            "n_ratings": 2 * n_cells,
            "images_left_out": dropped,
        }
        if reason is None and None in columns.values():
            reason = _why_not_all(parts, n_cells)
        yield (
            {"inference": inference, "speaks_for": SPEAKS_FOR[inference]}
            | columns
            | verdict(result.p, reason)
        )


def _why_not_all(parts: Layout, n_cells: int) -> str:
    if n_cells < parts.n_readers * parts.n_cases:
        return "mean squares need every cell"
    return _too_few(parts)


def of_cells(differences: Floats) -> tuple[Layout, list[tuple[str, Inference]]]:
    """What (readers, images) differences are made of, NaN where there is no cell, and
    what each inference says of their mean."""
    moments = cell_moments(differences)
    if moments is None:
        empty = Layout(0, 0)
        return empty, list(inferences(empty))
    there = ~np.isnan(differences)
    active = differences[there.any(axis=1)][:, there.any(axis=0)]
    if moments.n_cells == active.size:
        parts = layout(active)
        return parts, list(inferences(parts))
    parts = _layout_of(moments)
    return parts, [
        ("RRRC", _from_moments(moments)),
        ("FRRC", _from_means(parts, np.nanmean(active, axis=0))),
        ("RRFC", _from_means(parts, np.nanmean(active, axis=1))),
    ]


def _layout_of(moments: Moments) -> Layout:
    components = (
        moments.var_reader,
        moments.var_case,
        moments.var_both,
        moments.var_unbiased,
    )
    return Layout(
        moments.n_readers,
        moments.n_cases,
        float(moments.mean),
        None,
        None,
        None,
        *(None if part is None else float(part) for part in components),
    )


def _from_moments(moments: Moments) -> Inference:
    parts = _layout_of(moments)
    reason = readers_too_few(parts)
    variance = spread([moments], [Fraction(1)]) if reason is None else None
    if variance is None:
        return Inference(parts.mean_diff, reason=reason or TOO_FEW_CELLS)
    error = variance.of_readers + variance.of_cases
    df = hillis_df(variance, moments.n_readers, 1)
    return _student(
        float(moments.mean), float(error) ** 0.5, df, approximate=is_marked(variance)
    )


def is_marked(variance: Spread) -> bool:
    """Whether a component was replaced or raised, and P is approximate."""
    return variance.replaced or variance.raised


def hillis_df(variance: Spread, readers: int, contrasts: int) -> float:
    """Of Hillis (2007) for so many contrasts; infinite where readers do not vary."""
    if variance.of_readers == 0:
        return float("inf")
    inflation = (variance.of_readers + variance.of_cases) / variance.of_readers
    return float(inflation**2) * contrasts * (readers - 1)


def _from_means(parts: Layout, means: Floats) -> Inference:
    """Student's t of the means of images, or of readers."""
    mean = float(means.mean())
    if means.size < 2:
        return Inference(mean, reason=_too_few(parts))
    # Means that differ in their last bit only do not vary.
    error = float(np.round(means, 12).std(ddof=1)) / means.size**0.5
    return _student(mean, error, means.size - 1)


def layout(differences: Floats) -> Layout:
    """Take apart (readers, cases) differences of ratings, whole numbers without NaN.

    Sums of squares are formed from integers, so that what does not vary has none.
    """
    d = np.rint(differences).astype(np.int64)
    readers, cases = d.shape
    if d.size == 0:
        return Layout(readers, cases)
    total = int(d.sum())
    corrected = total**2
    # Each of these is the sum of squares times readers x cases.
    of_readers = readers * int((d.sum(axis=1) ** 2).sum()) - corrected
    of_cases = cases * int((d.sum(axis=0) ** 2).sum()) - corrected
    of_all = d.size * int((d**2).sum()) - corrected
    ms_reader = _mean_square(of_readers, d.size, readers - 1)
    ms_case = _mean_square(of_cases, d.size, cases - 1)
    ms_both = _mean_square(
        of_all - of_readers - of_cases, d.size, (readers - 1) * (cases - 1)
    )
    mean = total / d.size
    if ms_reader is None or ms_case is None or ms_both is None:
        return Layout(readers, cases, mean, ms_reader, ms_case)
    return Layout(
        readers,
        cases,
        mean,
        ms_reader,
        ms_case,
        ms_both,
        var_reader=(ms_reader - ms_both) / cases,
        var_case=(ms_case - ms_both) / readers,
        var_reader_case=ms_both,
        var_unbiased=(ms_reader + ms_case - ms_both) / d.size,
    )


def inferences(parts: Layout) -> Iterator[tuple[str, Inference]]:
    """The name of each inference and what it says of a complete table."""
    readers, cases = parts.n_readers, parts.n_cases
    yield "RRRC", _readers_and_cases(parts)
    yield "FRRC", _inference(parts, parts.ms_case, cases - 1)
    yield "RRFC", _inference(parts, parts.ms_reader, readers - 1)


def _readers_and_cases(parts: Layout) -> Inference:
    if parts.ms_reader is None or parts.ms_case is None or parts.ms_reader_case is None:
        return Inference(parts.mean_diff, reason=_too_few(parts))
    if reason := readers_too_few(parts):
        return Inference(parts.mean_diff, reason=reason)
    ms_reader, few = parts.ms_reader, parts.n_readers == THREE_READERS
    if few:  # as `spread` has it
        ms_reader = max(ms_reader, parts.ms_reader_case)
    mean_square = ms_reader + max(parts.ms_case - parts.ms_reader_case, 0)
    if ms_reader == 0:
        # Readers who agree on the mean leave the t distribution its limit.
        return _inference(parts, mean_square, float("inf"), approximate=few)
    df = mean_square**2 / (ms_reader**2 / (parts.n_readers - 1))
    return _inference(parts, mean_square, df, approximate=few)


def readers_too_few(parts: Layout) -> str | None:
    """The level of the test with two readers is .08 to .12 instead of .05."""
    if parts.n_readers < 2 or parts.n_cases < 2:
        return _too_few(parts)
    return TWO_READERS if parts.n_readers < THREE_READERS else None


def _inference(
    parts: Layout, mean_square: float | None, df: float, *, approximate: bool = False
) -> Inference:
    if mean_square is None or parts.mean_diff is None:
        return Inference(parts.mean_diff, reason=_too_few(parts))
    se = (mean_square / (parts.n_readers * parts.n_cases)) ** 0.5
    return _student(parts.mean_diff, se, df, approximate=approximate)


def _student(
    mean: float, se: float, df: float, *, approximate: bool = False
) -> Inference:
    if se == 0:
        # A difference of zero throughout is evidence of nothing; any other has no error
        # to be measured by.
        p = 1.0 if mean == 0 else None
        reason = "the differences do not vary"
        return Inference(mean, se=0.0, p=p, approximate=approximate, reason=reason)
    t = mean / se
    half = float(stats.t.ppf(1 - LEVEL / 2, df)) * se
    return Inference(
        mean,
        se=se,
        df=df if np.isfinite(df) else None,
        t=t,
        p=2 * float(stats.t.sf(abs(t), df)),
        ci_lo=mean - half,
        ci_hi=mean + half,
        approximate=approximate,
        reason=None if np.isfinite(df) else INFINITE_DF,
    )


def _too_few(parts: Layout) -> str:
    if parts.n_readers * parts.n_cases == 0:
        return "no image was rated under both variants"
    few = [("reader", parts.n_readers), ("image", parts.n_cases)]
    return "only one " + " and one ".join(name for name, n in few if n == 1)


def _mean_square(scaled: int, size: int, df: int) -> float | None:
    return scaled / (size * df) if df else None


MRMC = Table(
    "mrmc",
    lambda context: mrmc(context.tested),
    Heading.DIFFERENCES,
    views=(
        View(
            "Mean differences with readers and images random (RRRC), with readers "
            "fixed (FRRC) and with images fixed (RRFC), and the components of their "
            "variance.",
            (
                *("dataset", "pair", "inference", "speaks_for"),
                Column("mean_diff", f"mean A {MINUS} B", "", 2, ("ci_lo", "ci_hi")),
                *("df", "p_value"),
                Column("var_reader", "of readers"),
                Column("var_case", "variance of images"),
                Column("var_reader_case", "of both"),
            ),
            value="mean_diff",
        ),
    ),
    title="Readers in general",
    methods="Mean differences between variants were tested with readers and images "
    "both random, with readers fixed, and with images fixed, from the two-way layout "
    "of readers and images; where ratings are missing, from moments over the cells "
    "that exist. Degrees of freedom are those of Hillis (2007), intervals of 95 % from "
    "Student's t. With three readers the test is approximate, and with two there is "
    "none of readers in general.",
    value="p",
)
