"""Period effects, whether it mattered when a map was shown: the tables
`period_effects` and `period_tests`."""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from mlcore.reporting.page import Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats
from readerstudy.analysis.statistics.ordinal_gee import Fit, fit
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.units import triples

# More than any position, so that sessions come one after the other.
_SESSION = 10**7

NO_POSITIONS = "the table has no positions"
NO_LEVELS = "a slider has too many levels for an ordinal model"
NO_SESSIONS = "the table has no sessions"


def period_effects(ratings: Ratings) -> list[Row]:
    """Mean rating by variant and period, per data set and ALL.

    `by` says what a period is: a "third" of what each reader saw in the data set, in
    that reader's order; a "session"; or "first", which keeps of each case only what its
    reader saw first of it. Every rating counts, but for repeats.
    """
    rows: list[Row] = []
    for dataset in (*ratings.datasets, ALL):
        inside = ratings.in_dataset(dataset)[:, np.newaxis]
        for by, periods, reason in periods_of(ratings, dataset):
            names = {"dataset": dataset, "by": by}
            if reason:
                rows.append(names | {"period": None} | _means(ratings, None, reason))
            for period in np.unique(periods[~np.isnan(periods)]):
                kept = periods == period
                rows.append(
                    names | {"period": int(period)} | _means(ratings, kept, None)
                )
        ordered = not np.isnan(ratings.positions).all()
        first = is_first(ratings) & inside if ordered else None
        rows.append(
            {"dataset": dataset, "by": "first", "period": None}
            | _means(ratings, first, None if ordered else NO_POSITIONS)
        )
    return rows


def period_tests(ratings: Ratings) -> list[Row]:
    """Did ratings drift, and did the variants drift apart? Per data set and ALL.

    Wald tests in the cumulative logit model of `ordinal_gee`, on complete triples: of
    the periods ("period"), and of their interaction with the variants ("variant x
    period"). `by` as in `period_effects`.
    """
    rows = []
    for dataset in (*ratings.datasets, ALL):
        for by, periods, reason in periods_of(ratings, dataset):
            for effect in ("period", "variant x period"):
                names = {"dataset": dataset, "by": by, "effect": effect}
                if reason:
                    rows.append(names | _test(Fit(0, 0, reason=reason), 0))
                else:
                    rows.append(names | _drift(ratings, periods, effect))
    return rows


def _drift(ratings: Ratings, periods: Floats, effect: str) -> Row:
    kept = triples(ratings.values)[:, :, np.newaxis] & ~np.isnan(periods)
    later = np.unique(periods[kept & ~np.isnan(ratings.values)])[1:]
    if not later.size:
        return _test(Fit(0, 0, reason="there is only one period"), 0)
    terms = [periods == period for period in later]
    asked = len(terms)
    if effect == "variant x period":
        variants = np.arange(len(ratings.variants))
        crossed = [term & (variants == code) for term in terms for code in variants[1:]]
        terms, asked = terms + crossed, len(crossed)
    if ratings.question.kind == "slider":
        return _test(Fit(0, 0, reason=NO_LEVELS), 0)
    model = fit(ratings.values, ratings.dataset_of_image, kept, terms)
    return _test(model, asked)


def _test(result: Fit, asked: int) -> Row:
    """The test that the last `asked` coefficients are zero."""
    test = None
    if result.beta is not None:
        test = result.wald(np.eye(result.beta.size)[-asked:])
    chi2, df, p = test or (None, None, None)
    reason = result.reason
    if test is None and reason is None:
        reason = "the images are too few for so many periods"
    return {
        "n": result.n,
        "n_images": result.n_images,
        "chi2": chi2,
        "df": df,
        "p": p,
        **verdict(p, reason),
    }


def periods_of(
    ratings: Ratings, dataset: str
) -> Iterator[tuple[str, Floats, str | None]]:
    """By "third" and by "session": what it is by, the period of each cell (readers,
    images, variants) from 1, NaN for none, and why no cell is in any."""
    inside = ratings.in_dataset(dataset)[:, np.newaxis]
    thirds = _thirds(np.where(inside, order(ratings), np.nan))
    yield "third", thirds, NO_POSITIONS if np.isnan(thirds).all() else None
    sessions = np.where(inside, ratings.sessions, np.nan)
    yield "session", sessions, NO_SESSIONS if np.isnan(sessions).all() else None


def order(ratings: Ratings) -> Floats:
    """(readers, images, variants): grows with the place in the reader's list."""
    return np.nan_to_num(ratings.sessions) * _SESSION + ratings.positions


def is_first(ratings: Ratings) -> Booleans:
    """(readers, images, variants): did the reader see this map of the case first?

    Of cases whose positions are not all known or not all different, no map is.
    """
    when = order(ratings)
    earliest: Booleans = when == when.min(axis=2, keepdims=True)
    earliest &= earliest.sum(axis=2, keepdims=True) == 1
    return earliest


def _thirds(when: Floats) -> Floats:
    """1, 2 or 3 by each reader's own order; what shares a position shares a third."""
    flat = when.reshape(len(when), -1)
    ranks = stats.rankdata(flat, axis=1, nan_policy="omit")
    places = np.count_nonzero(~np.isnan(flat), axis=1)[:, np.newaxis]
    thirds: Floats = np.ceil(3 * ranks / np.maximum(places, 1)).reshape(when.shape)
    return thirds


def _means(ratings: Ratings, kept: Booleans | None, reason: str | None) -> Row:
    counts: dict[str, int | None] = {}
    means: dict[str, float | None] = {}
    for i, variant in enumerate(ratings.variants):
        counts[variant] = means[variant] = None
        if kept is not None:
            values = ratings.values[:, :, i][kept[:, :, i]]
            values = values[~np.isnan(values)]
            counts[variant] = values.size
            means[variant] = float(values.mean()) if values.size else None
            if not values.size:
                reason = reason or f"{variant}: no rating"
    return {"n": counts, "mean": means, "reason": reason}


PERIOD_EFFECTS = Table(
    "period_effects",
    lambda context: period_effects(context.ratings),
    Heading.SENSITIVITY,
    views=(
        View(
            "Mean rating by when a map was shown.",
            ("dataset", "by", "period", Column("n", "n {}"), "mean"),
        ),
    ),
    title="Order",
    methods="Ratings were compared between early and late presentations, and the "
    "variants by the first presentation of each image alone.",
    value="period",
)
PERIOD_TESTS = Table(
    "period_tests",
    lambda context: period_tests(context.tested),
    Heading.SENSITIVITY,
    views=(
        View(
            "Whether ratings, or the differences between variants, drifted.",
            ("dataset", "by", "effect", "n", "chi2", "df", "p_value"),
        ),
    ),
    value="p",
)
