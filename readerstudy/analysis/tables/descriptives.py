"""Means, spreads and distributions of the ratings. Every rating counts here, also one
whose neighbours are missing; only the tests want complete sets."""

from collections import Counter

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.table import Heading, Row, Table, View


def table1_means(ratings: Ratings) -> list[Row]:
    """The paper's Table 1: per reader (and ALL) and data set (and ALL).

    `mean`, `sd` (n - 1, over ratings), `n`, `n_missing` and `text` ("m.mm ± s.ss") are
    objects by variant. Rows of ALL readers also have `sd_image_means`, the spread of
    the images' means over the readers who rated them. What cannot be computed is None,
    and `reason` says why.
    """
    rows = []
    for reader, dataset, values, assigned in ratings.parts():
        expected = int(assigned.sum())
        cells = {
            variant: _cell(values[:, :, i], expected, pooled=reader == ALL)
            for i, variant in enumerate(ratings.variants)
        }
        reasons = [
            f"{variant}: {reason}"
            for variant, cell in cells.items()
            if (reason := _too_few(cell))
        ]
        row: Row = {"reader": reader, "dataset": dataset}
        for name in next(iter(cells.values())):
            row[name] = {variant: cell[name] for variant, cell in cells.items()}
        rows.append(row | {"reason": "; ".join(reasons) or None})
    return rows


def score_distribution(ratings: Ratings) -> list[Row]:
    """How often each score was given: per reader, data set, variant and score.

    `percent` is of the ratings there are; they sum to 100, or are None with a
    `reason` where there are none.
    """
    rows = []
    for reader, dataset, values, _ in ratings.parts():
        for i, variant in enumerate(ratings.variants):
            rated = _rated(values[:, :, i])
            for score in ratings.question.scores:
                count = int(np.count_nonzero(rated == score))
                rows.append(
                    {
                        "reader": reader,
                        "dataset": dataset,
                        "variant": variant,
                        "score": score,
                        "count": count,
                        "percent": 100 * count / rated.size if rated.size else None,
                        "reason": None if rated.size else "no rating",
                    }
                )
    return rows


def cannot_judge(ratings: Ratings) -> list[Row]:
    """How often readers said that a map cannot be judged: per reader (and ALL), data
    set (and ALL) and variant.

    `n` counts the maps given to rate, `n_cannot_judge` those answers among them, and
    `by_reason` the answers by the reason that the table gives. None where it has no
    column for them.
    """
    reasons = sorted({row.cannot_judge for row in ratings.refusals or ()})
    rows = []
    for reader, dataset, _, assigned in ratings.parts():
        for variant in ratings.variants:
            row: Row = {
                "reader": reader,
                "dataset": dataset,
                "variant": variant,
                "n": int(assigned.sum()),
            }
            rows.append(row | _refused(ratings, row, reasons))
    return rows


def _refused(ratings: Ratings, names: Row, reasons: list[str]) -> Row:
    if ratings.refusals is None:
        return {
            "n_cannot_judge": None,
            "percent": None,
            "by_reason": {},
            "reason": "the table has no column cannot_judge",
        }
    given = Counter(
        row.cannot_judge
        for row in ratings.refusals
        if names["reader"] in (row.reader, ALL)
        and names["dataset"] in (row.dataset, ALL)
        and names["variant"] == row.variant
    )
    return {
        "n_cannot_judge": given.total(),
        "percent": 100 * given.total() / names["n"],
        "by_reason": {reason: given[reason] for reason in reasons},
        "reason": None,
    }


def _cell(values: Floats, expected: int, *, pooled: bool) -> Row:
    """What Table 1 says of one variant; `values` is (readers, images)."""
    rated = _rated(values)
    mean, sd = _mean(rated), _sd(rated)
    cell = {
        "mean": mean,
        "sd": sd,
        "n": rated.size,
        "n_missing": expected - rated.size,
        "text": _text(mean, sd),
    }
    if pooled:
        cell["sd_image_means"] = _sd(_image_means(values))
    return cell


def _too_few(cell: Row) -> str | None:
    if cell["n"] < 2:
        return "only one rating" if cell["n"] else "no rating"
    return "only one image" if cell.get("sd_image_means", 0) is None else None


def _rated(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _image_means(values: Floats) -> Floats:
    """Mean over the readers who rated it, for each image (axis 1) that anyone rated."""
    counts = np.count_nonzero(~np.isnan(values), axis=0)
    sums: Floats = np.nansum(values, axis=0)
    means: Floats = sums[counts > 0] / counts[counts > 0]
    return means


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _sd(values: Floats) -> float | None:
    return float(values.std(ddof=1)) if values.size > 1 else None


def _text(mean: float | None, sd: float | None) -> str | None:
    if mean is None:
        return None
    return f"{mean:.2f}" if sd is None else f"{mean:.2f} ± {sd:.2f}"


TABLE1_MEANS = Table(
    "table1_means", lambda context: table1_means(context.ratings), Heading.RATINGS
)
SCORE_DISTRIBUTION = Table(
    "score_distribution",
    lambda context: score_distribution(context.ratings),
    Heading.RATINGS,
)
CANNOT_JUDGE = Table(
    "cannot_judge",
    lambda context: cannot_judge(context.ratings),
    Heading.ASIDES,
    views=(
        View(
            "Maps that readers said cannot be judged.",
            (
                *("dataset", "variant", "n"),
                Column("n_cannot_judge", "cannot be judged"),
                Column("percent", unit="%"),
                Column("by_reason", "{}"),
            ),
            keep=lambda row: row["reader"] == ALL,
        ),
    ),
    value="n_cannot_judge",
)
