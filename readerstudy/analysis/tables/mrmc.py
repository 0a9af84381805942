"""Multi-reader multi-case analysis of the differences between two variants.

The differences of a complete table, readers x cases, are taken apart as a two-way
layout without replication. With readers and cases both random, the degrees of freedom
are those of S. L. Hillis, Statistics in Medicine 26 (2007) 596-619.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from mlcore.reporting.page import MINUS, Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.units import complete_images

# What each inference takes as drawn at random, and so whom it speaks for.
SPEAKS_FOR = {
    "RRRC": "readers and images in general",
    "FRRC": "these readers; images in general",
    "RRFC": "readers in general; these images",
}


@dataclass(frozen=True)
class Layout:
    """Mean squares of a table of differences; None where readers or cases are too few.

    var_reader, var_case, var_reader_case: the components behind them, unbiased, so that
    they can be negative. var_unbiased: of the mean difference, readers and cases random
    (the U-statistic that iMRMC computes).
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
    """Student's t of a mean difference. None is explained in `reason`."""

    se: float | None = None
    df: float | None = None
    t: float | None = None
    p: float | None = None
    ci_lo: float | None = None
    ci_hi: float | None = None
    reason: str | None = None


def mrmc(ratings: Ratings) -> list[Row]:
    """Every data set and ALL, every pair, under each inference of SPEAKS_FOR.

    Only images that every reader of the data set rated under all variants are used;
    `dropped` counts the others. A - B is in rating points.
    """
    rows = []
    for dataset in (*ratings.datasets, ALL):
        rated, kept = complete_images(ratings.part(ALL, dataset)[0])
        for pair, a, b in ratings.pairs:
            parts = layout(rated[:, :, a] - rated[:, :, b])
            names = {"dataset": dataset, "pair": pair}
            for inference, result in inferences(parts):
                rows.append(
                    names
                    | {"inference": inference, "speaks_for": SPEAKS_FOR[inference]}
                    | _columns(parts, result, int((~kept).sum()))
                )
    return rows


def _columns(parts: Layout, result: Inference, dropped: int) -> Row:
    test = asdict(result)
    reason = test.pop("reason")
    columns = asdict(parts) | {"dropped": dropped} | test
    if reason is None and None in columns.values():
        reason = _too_few(parts)
    return columns | verdict(result.p, reason)


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
    """The name of each inference and what it says."""
    readers, cases = parts.n_readers, parts.n_cases
    yield "RRRC", _readers_and_cases(parts)
    yield "FRRC", _inference(parts, parts.ms_case, cases - 1)
    yield "RRFC", _inference(parts, parts.ms_reader, readers - 1)


def _readers_and_cases(parts: Layout) -> Inference:
    if parts.ms_reader is None or parts.ms_case is None or parts.ms_reader_case is None:
        return Inference(reason=_too_few(parts))
    beyond = max(parts.ms_case - parts.ms_reader_case, 0)
    mean_square = parts.ms_reader + beyond
    if parts.ms_reader == 0:
        # Readers who agree on the mean leave the t distribution its limit.
        return _inference(parts, mean_square, float("inf"))
    df = mean_square**2 / (parts.ms_reader**2 / (parts.n_readers - 1))
    return _inference(parts, mean_square, df)


def _inference(parts: Layout, mean_square: float | None, df: float) -> Inference:
    if mean_square is None or parts.mean_diff is None:
        return Inference(reason=_too_few(parts))
    if mean_square == 0:
        # A difference of zero throughout is evidence of nothing; any other has no error
        # to be measured by.
        p = 1.0 if parts.mean_diff == 0 else None
        return Inference(se=0.0, p=p, reason="the differences do not vary")
    se = (mean_square / (parts.n_readers * parts.n_cases)) ** 0.5
    t = parts.mean_diff / se
    half = float(stats.t.ppf(0.975, df)) * se
    return Inference(
        se=se,
        df=df if np.isfinite(df) else None,
        t=t,
        p=2 * float(stats.t.sf(abs(t), df)),
        ci_lo=parts.mean_diff - half,
        ci_hi=parts.mean_diff + half,
        reason=None if np.isfinite(df) else "readers do not vary: df is infinite",
    )


def _too_few(parts: Layout) -> str:
    if parts.n_readers * parts.n_cases == 0:
        return "no image is complete"
    few = [("reader", parts.n_readers), ("complete image", parts.n_cases)]
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
    "of the images that all readers rated; degrees of freedom are those of Hillis "
    "(2007), intervals of 95 % from Student's t.",
    value="p",
)
