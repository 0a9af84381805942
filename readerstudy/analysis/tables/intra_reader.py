"""Intra-reader agreement: maps that readers were shown once more."""

import numpy as np

from mlcore.reporting.page import MINUS, Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.coefficients import quadratic_kappas_of
from readerstudy.analysis.table import Heading, Row, Table, View


def intra_reader(ratings: Ratings) -> list[Row]:
    """Each repeat against the first rating: per reader and ALL, data set and ALL.

    `n` counts pairs of ratings, `n_missing` repeats that lack one of the two. `exact`
    and `within_1` are percentages of n; `mean_change` is later minus first, in rating
    points. `qkappa` is Cohen's with quadratic weights; for ALL readers, of their pairs
    taken together. None is explained in `reason`.
    """
    pairs = _pairs(ratings)
    rows = []
    for reader, dataset, _, _ in ratings.parts():
        inside = [
            (first, later)
            for r, d, first, later in pairs
            if reader in (r, ALL) and dataset in (d, ALL)
        ]
        names = {"reader": reader, "dataset": dataset}
        rows.append(names | _row(np.array(inside).reshape(-1, 2)))
    return rows


def _pairs(ratings: Ratings) -> list[tuple[str, str, float, float]]:
    """Reader, data set, first and later rating of each repeat; NaN where missing."""
    image_at = {image: i for i, image in enumerate(ratings.images)}
    return [
        (
            row.reader,
            row.dataset,
            ratings.values[
                ratings.readers.index(row.reader),
                image_at[row.dataset, row.image],
                ratings.variants.index(row.variant),
            ],
            np.nan if row.rating is None else row.rating,
        )
        for row in ratings.repeats
    ]


def _row(pairs: Floats) -> Row:
    """The columns for `pairs` (repeats, 2) of ratings."""
    rated = pairs[~np.isnan(pairs).any(axis=1)]
    counts = {"n": len(rated), "n_missing": len(pairs) - len(rated)}
    if not len(rated):
        names = ("exact", "within_1", "mean_change", "qkappa")
        reason = "no repeat was rated" if len(pairs) else "no repeats"
        return counts | dict.fromkeys(names) | {"reason": reason}
    change = rated[:, 1] - rated[:, 0]
    kappas = quadratic_kappas_of(rated, np.array([[0, 1]]))(np.ones((1, len(rated))))
    kappa = float(kappas[0, 0])
    return counts | {
        "exact": 100 * float(np.mean(change == 0)),
        "within_1": 100 * float(np.mean(np.abs(change) <= 1)),
        "mean_change": float(change.mean()),
        "qkappa": None if np.isnan(kappa) else kappa,
        "reason": "both ratings are one and the same value"
        if np.isnan(kappa)
        else None,
    }


INTRA_READER = Table(
    "intra_reader",
    lambda context: intra_reader(context.ratings),
    Heading.AGREEMENT,
    views=(
        View(
            "Readers against themselves, on maps that they were shown once more.",
            (
                *("reader", "dataset", "n"),
                Column("exact", "the same", "%"),
                Column("within_1", "within 1", "%"),
                Column("mean_change", f"later {MINUS} first"),
                "qkappa",
            ),
            value="qkappa",
        ),
    ),
    title="Agreement of readers with themselves",
    methods="Presentations shown again give the agreement of a reader with himself or "
    "herself: exact, within one point, and as quadratic-weighted kappa. They are in no "
    "other analysis.",
    value="exact",
)
