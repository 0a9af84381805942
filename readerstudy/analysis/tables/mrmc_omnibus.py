"""Omnibus F test of all variants at once, readers and images random (see `mrmc`)."""

from dataclasses import asdict, dataclass
from fractions import Fraction

import numpy as np
from scipy import stats

from mlcore.reporting.page import Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.cell_moments import (
    TOO_FEW_CELLS,
    cell_moments,
    spread,
)
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.tables.mrmc import (
    INFINITE_DF,
    SPEAKS_FOR,
    Layout,
    hillis_df,
    is_marked,
    readers_too_few,
)
from readerstudy.analysis.units import triples


@dataclass(frozen=True)
class Omnibus:
    """F test of all variants at once, readers and images random."""

    F: float | None = None
    df1: int | None = None
    df2: float | None = None
    p: float | None = None
    approximate: bool = False
    reason: str | None = None


def omnibus(values: Floats) -> Omnibus:
    """Of (readers, images, variants): over cells that are complete, from orthogonal
    contrasts of the variants. Complete, it is that of the three-way layout."""
    number = values.shape[2]
    full = np.where(triples(values)[:, :, np.newaxis], values, np.nan)
    # Helmert's, in whole numbers: the first j variants less j times the next.
    contrasts = [
        cell_moments(full[:, :, :j].sum(axis=2) - j * full[:, :, j])
        for j in range(1, number)
    ]
    tables = [table for table in contrasts if table is not None]
    if not tables:
        return Omnibus(reason="no image was rated under all variants")
    first = tables[0]
    reason = readers_too_few(Layout(first.n_readers, first.n_cases))
    weights = [Fraction(1, j * (j + 1) * (number - 1)) for j in range(1, number)]
    variance = spread(tables, weights) if reason is None else None
    if variance is None:
        return Omnibus(reason=reason or TOO_FEW_CELLS)
    error = variance.of_readers + variance.of_cases
    if error == 0:
        return Omnibus(reason="the differences do not vary")
    square = sum(w * t.mean**2 for w, t in zip(weights, tables, strict=True))
    df2 = hillis_df(variance, first.n_readers, number - 1)
    f, finite = float(square / error), bool(np.isfinite(df2))
    p = stats.f.sf(f, number - 1, df2) if finite else _limit(f, number - 1)
    return Omnibus(
        F=f,
        df1=number - 1,
        df2=df2 if finite else None,
        p=float(p),
        approximate=is_marked(variance),
        reason=None if finite else INFINITE_DF,
    )


def _limit(f: float, df: int) -> float:
    return float(stats.chi2.sf(f * df, df))


def mrmc_omnibus(ratings: Ratings) -> list[Row]:
    """Every data set and ALL: all variants at once, readers and images random.

    `n_images`, `n_readers` and `n_ratings` are those of the cells that one reader
    rated under all variants, which are all that this test can use.
    """
    rows = []
    for dataset in (*ratings.datasets, ALL):
        values, _ = ratings.part(ALL, dataset)
        cells = triples(values)
        n_images = int(cells.any(axis=0).sum())
        test = asdict(omnibus(values))
        reason = test.pop("reason")
        rows.append(
            {
                "dataset": dataset,
                "speaks_for": SPEAKS_FOR["RRRC"],
                "n_images": n_images,
                "n_readers": int(cells.any(axis=1).sum()),
                "n_ratings": int(cells.sum()) * len(ratings.variants),
                "images_left_out": cells.shape[1] - n_images,
                **test,
                **verdict(test["p"], reason),
            }
        )
    return rows


MRMC_OMNIBUS = Table(
    "mrmc_omnibus",
    lambda context: mrmc_omnibus(context.tested),
    Heading.DIFFERENCES,
    views=(
        View(
            "All variants at once, with readers and images random.",
            (
                *("dataset", "n_images", "n_readers", "n_ratings"),
                Column("images_left_out", "images left out"),
                *(Column("F", digits=2), "df1", "df2", "p_value"),
            ),
            value="p",
        ),
    ),
    value="p",
)
