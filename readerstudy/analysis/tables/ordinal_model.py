"""Cumulative logit model of the ratings, as a check on the rank tests: it takes the
levels as levels and lets the ratings of one image depend on each other."""

import numpy as np
from scipy import stats

from mlcore.reporting.page import Column
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans, Floats
from readerstudy.analysis.statistics.ordinal_gee import Fit, fit
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.tables.periods import NO_LEVELS, NO_POSITIONS, is_first
from readerstudy.analysis.units import triples

NO_ERROR = "every image says the same: these odds have no standard error"
ESTIMATOR = "ordinal GEE, logit, working independence, clusters: images"


def ordinal_model(ratings: Ratings) -> list[Row]:
    """Odds ratios of a higher rating under A than under B, per data set, ALL and pair.

    `ratings` is "all" (complete triples) or "first": of each case only what its reader
    saw first of it, which no earlier map of the case can have coloured.
    """
    rows = []
    kept = triples(ratings.values)[:, :, np.newaxis]
    for dataset in (*ratings.datasets, ALL):
        inside = ratings.in_dataset(dataset)[:, np.newaxis]
        rows += _contrasts(ratings, dataset, "all", kept & inside)
        rows += _contrasts(ratings, dataset, "first", is_first(ratings) & inside)
    return rows


def _contrasts(ratings: Ratings, dataset: str, which: str, kept: Booleans) -> list[Row]:
    if which == "first" and np.isnan(ratings.positions).all():
        result = Fit(0, 0, reason=NO_POSITIONS)
    elif ratings.question.kind == "slider":
        result = Fit(0, 0, reason=NO_LEVELS)
    else:
        result = fit(ratings.values, ratings.dataset_of_image, kept)
    # Log odds of each variant against the first.
    others = len(ratings.variants) - 1
    against = np.vstack([np.zeros((1, others)), np.eye(others)])
    return [
        {
            "dataset": dataset,
            "pair": pair,
            "ratings": which,
            "estimator": ESTIMATOR,
            "speaks_for": "these readers; images in general",
            "n": result.n,
            "n_images": result.n_images,
            **_odds(result, against[a] - against[b]),
        }
        for pair, a, b in ratings.pairs
    ]


def _odds(result: Fit, contrast: Floats) -> Row:
    test = result.wald(contrast[np.newaxis])
    if result.beta is None or result.covariance is None or test is None:
        names = ("log_odds", "se", "OR", "OR_lo", "OR_hi", "z", "p")
        return dict.fromkeys(names) | verdict(None, result.reason or NO_ERROR)
    log_odds = float(contrast @ result.beta)
    se = float(contrast @ result.covariance @ contrast) ** 0.5
    half = float(stats.norm.ppf(0.975)) * se
    p = 2 * float(stats.norm.sf(abs(log_odds / se)))
    return {
        "log_odds": log_odds,
        "se": se,
        "OR": float(np.exp(log_odds)),
        "OR_lo": float(np.exp(log_odds - half)),
        "OR_hi": float(np.exp(log_odds + half)),
        "z": log_odds / se,
        "p": p,
    } | verdict(p, None)


_COLUMNS = (
    *("dataset", "pair", "n", "n_images"),
    Column("OR", "odds ratio", digits=2),
    "p_value",
)
ORDINAL_MODEL = Table(
    "ordinal_model",
    lambda context: ordinal_model(context.tested),
    Heading.SENSITIVITY,
    views=(
        View(
            "Odds of a higher rating of A against B, by a cumulative-logit model.",
            _COLUMNS,
            keep=lambda row: row["ratings"] == "all",
        ),
        View(
            "The same of the first map that a reader saw of each image.",
            _COLUMNS,
            keep=lambda row: row["ratings"] == "first",
        ),
    ),
    title="Sensitivity analysis",
    methods="A cumulative-logit model of the ratings with a term per reader, fitted by "
    "generalised estimating equations (independence) with standard errors that allow "
    "for ratings of one image being alike, gives odds ratios.",
    value="OR",
)
