"""What became of the ratings that were due: the tables `flow` and `missing`."""

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats
from readerstudy.analysis.statistics.rank_tests import Friedman, friedman
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.units import Unit, units

# At which missing ratings are said to depend on the variant, whatever the study's level
# is: one error too many is only a warning too many.
LEVEL = 0.05


def flow(context: Context) -> list[Row]:
    """From images drawn to ratings analysed: per data set (and ALL) and variant.

    `n_due` counts maps given to rate, `n_shown` those that were shown, `n_rated` and
    `n_cannot_judge` the answers, `n_unanswered` the rest of those due; `n_ratings` and
    `n_images` are what the primary test rests on, `images_left_out` what it does not.
    None where the table does not tell, see `reason`.
    """
    ratings = context.ratings
    pooled = {
        unit.dataset: unit
        for unit in units(context.tested)
        if unit.pooling == context.options.pooling
    }
    return [
        _stages(ratings, pooled[dataset], place)
        for dataset in (*ratings.datasets, ALL)
        for place in range(len(ratings.variants))
    ]


def _stages(ratings: Ratings, unit: Unit, place: int) -> Row:
    dataset, variant = unit.dataset, ratings.variants[place]
    inside = ratings.in_dataset(dataset)
    due = int(ratings.assigned[:, inside].sum())
    rated = int((~np.isnan(ratings.values[:, inside, place])).sum())
    refused = None
    if ratings.refusals is not None:
        refused = sum(
            row.variant == variant and dataset in (row.dataset, ALL)
            for row in ratings.refusals
        )
    shown = None
    if not np.isnan(ratings.positions).all():
        shown = int((~np.isnan(ratings.positions[:, inside, place])).sum())
    untold = [
        name
        for name, value in (("position", shown), ("cannot_judge", refused))
        if value is None
    ]
    return {
        "dataset": dataset,
        "variant": variant,
        "n_drawn": int(inside.sum()),
        "n_due": due,
        "n_shown": shown,
        "n_rated": rated,
        "n_cannot_judge": refused,
        "n_unanswered": due - rated - (refused or 0),
        "n_images": unit.n_images,
        "n_readers": unit.n_readers,
        "n_ratings": unit.n_ratings // len(ratings.variants),
        "images_left_out": unit.images_left_out,
        "reason": f"the table does not tell: {', '.join(untold)}" if untold else None,
    }


def missing(context: Context) -> list[Row]:
    """How much is missing, and whether it depends on the variant: per reader (and ALL)
    and data set (and ALL).

    Friedman's test of how many ratings an image lacks under each variant; of one reader
    that is Cochran's Q. What cannot be judged is missing too. A test of ratings can be
    distorted where these P are small, and nothing repairs that.
    """
    ratings, seed = context.ratings, context.options.seed
    rows = []
    for reader, dataset, values, assigned in ratings.parts():
        lacking = np.isnan(values) & assigned[:, :, np.newaxis]
        blocks = lacking.sum(axis=0)[assigned.any(axis=0)].astype(np.float64)
        test = friedman(blocks, LEVEL, seed)
        by_variant = lacking.sum(axis=(0, 1))
        due = int(assigned.sum()) * len(ratings.variants)
        p = test.p_chi2 if test.p_exact is None else test.p_exact
        rows.append(
            {
                "reader": reader,
                "dataset": dataset,
                **_rated(values, assigned),
                "n_due": due,
                "n_missing": {
                    name: int(number)
                    for name, number in zip(ratings.variants, by_variant, strict=True)
                },
                "share_missing": float(by_variant.sum() / due),
                "chi2": test.chi2,
                "df": test.df,
                "p_chi2": test.p_chi2,
                "p_exact": test.p_exact,
                "p_exact_se": test.p_exact_se,
                **verdict(p, _why(test, n_missing=int(by_variant.sum()))),
            }
        )
    return rows


def _rated(values: Floats, assigned: Booleans) -> Row:
    there = ~np.isnan(values)
    rated = there.any(axis=(0, 2))
    return {
        "n_images": int(rated.sum()),
        "n_readers": int(there.any(axis=(1, 2)).sum()),
        "n_ratings": int(there.sum()),
        "images_left_out": int((assigned.any(axis=0) & ~rated).sum()),
    }


def _why(test: Friedman, *, n_missing: int) -> str | None:
    if n_missing == 0:
        return "nothing is missing"
    if test.chi2 is None and test.p_chi2 is not None:
        return "as much is missing under each variant, image by image"
    return test.reason


FLOW = Table(
    "flow",
    flow,
    Heading.RATINGS,
    views=(
        View(
            "From the images drawn to the ratings that the primary test rests on.",
            (
                *("dataset", "variant"),
                Column("n_drawn", "images drawn"),
                Column("n_due", "maps due"),
                Column("n_shown", "shown"),
                Column("n_rated", "rated"),
                Column("n_cannot_judge", "cannot be judged"),
                Column("n_unanswered", "not answered"),
                Column("n_ratings", "ratings analysed"),
                Column("n_images", "images analysed"),
                Column("images_left_out", "images left out"),
            ),
        ),
    ),
    value="n_due",
)
MISSING = Table(
    "missing",
    missing,
    Heading.SENSITIVITY,
    views=(
        View(
            "Ratings that are missing, and whether that depends on the variant. Where "
            "it does, nothing repairs the tests of what is left.",
            (
                *("reader", "dataset", "n_images", "n_ratings"),
                Column("n_missing", "missing {}"),
                Column("share_missing", "share", digits=3),
                *("chi2", Column("p_chi2", "P"), "p_exact"),
            ),
        ),
    ),
    value="share_missing",
)
