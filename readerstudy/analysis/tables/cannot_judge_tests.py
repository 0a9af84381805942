"""What readers said cannot be judged, taken three ways: the table `cannot_judge_tests`.

As missing, which the primary tests do; as the worst rating; and as an outcome of its
own. All three are always there, so that none can be picked afterwards.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Booleans
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.statistics.rank_tests import friedman, wilcoxon
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.tables.mrmc import Inference, of_cells
from readerstudy.analysis.units import Unit, units

HANDLINGS = ("missing", "zero", "outcome")
NO_COLUMN = "the table has no column cannot_judge"
ALL_JUDGED = "every map could be judged"
NO_ZERO = "0 is no rating of this question"
_AT_ONCE = "all variants at once have no one difference"
_OF_A_PAIR = "a pair has no chi-squared of its own"


def cannot_judge_tests(context: Context) -> list[Row]:
    """Per data set (and ALL) and each of HANDLINGS: Friedman's test (`pair` is None),
    then each pair by Wilcoxon's and by MRMC, readers pooled as the primary tests are.

    "outcome" is 1 where a map cannot be judged, else 0: `mean_diff` is then of counts
    and `mrmc_diff` a difference of shares. It is also given for each reader, where
    Friedman's test is Cochran's Q and the exact P of a pair McNemar's; `n_pos` counts
    images that could not be judged under A alone, `n_neg` under B alone.
    """
    ratings = context.tested
    if not context.ratings.refusals:
        why = NO_COLUMN if context.ratings.refusals is None else ALL_JUDGED
        return [
            _names(ALL, dataset, handling) | _empty(why)
            for dataset in (*ratings.datasets, ALL)
            for handling in HANDLINGS
        ]
    refused = _refused(ratings)
    tables = {
        "missing": ratings.values,
        "zero": np.where(refused, 0.0, ratings.values),
        "outcome": np.where(refused, 1.0, 0.0 * ratings.values),
    }
    return [
        row
        for handling, values in tables.items()
        for row in _handled(context, handling, replace(ratings, values=values))
    ]


def _refused(ratings: Ratings) -> Booleans:
    """(readers, images, variants): was this said of the cell?"""
    image_at = {image: place for place, image in enumerate(ratings.images)}
    refused = np.zeros(ratings.values.shape, bool)
    for row in ratings.refusals or ():
        at = ratings.readers.index(row.reader), image_at[row.dataset, row.image]
        refused[(*at, ratings.variants.index(row.variant))] = True
    return refused


def _handled(context: Context, handling: str, ratings: Ratings) -> Iterator[Row]:
    if handling == "zero" and 0 not in ratings.question.scores:
        for dataset in (*ratings.datasets, ALL):
            yield _names(ALL, dataset, handling) | _empty(NO_ZERO)
        return
    for unit in units(ratings):
        pooled = unit.pooling == context.options.pooling
        if pooled or (unit.level == "reader" and handling == "outcome"):
            yield _names(unit.reader, unit.dataset, handling) | _at_once(unit, context)
            for pair in _pairs(unit, ratings):
                yield _names(unit.reader, unit.dataset, handling) | pair


def _names(reader: str, dataset: str, handling: str) -> Row:
    return {"reader": reader, "dataset": dataset, "handling": handling}


def _at_once(unit: Unit, context: Context) -> Row:
    test = friedman(unit.blocks, context.options.alpha, context.options.seed)
    p = test.p_chi2 if test.p_exact is None else test.p_exact
    columns: Row = {
        "n_images": unit.n_images,
        "n_readers": unit.n_readers,
        "n_ratings": unit.n_ratings,
        "images_left_out": unit.images_left_out,
        "chi2": test.chi2,
        "p_chi2": test.p_chi2,
        "p_exact": test.p_exact,
        "p_exact_se": test.p_exact_se,
    }
    return _empty(None) | columns | verdict(p, test.reason or _AT_ONCE)


def _pairs(unit: Unit, ratings: Ratings) -> Iterator[Row]:
    of_pairs = [unit.pair(a, b) for _, a, b in ratings.pairs]
    tests = [wilcoxon(pair.differences, pair.divisor) for pair in of_pairs]
    exact = [test.p_exact for test in tests if test.p_exact is not None]
    adjusted = iter(holm(exact))
    for (name, a, b), pair, test in zip(ratings.pairs, of_pairs, tests, strict=True):
        columns: Row = {
            "pair": name,
            "n_images": pair.n_images,
            "n_readers": pair.n_readers,
            "n_ratings": pair.n_ratings,
            "images_left_out": pair.images_left_out,
            "n_pos": test.n_pos,
            "n_neg": test.n_neg,
            "mean_diff": test.mean_diff,
            "p_exact": test.p_exact,
            "p_holm_exact": None if test.p_exact is None else next(adjusted),
        }
        if unit.level == "pooled":
            columns |= _in_general(ratings, unit.dataset, a, b)
        yield (
            _empty(None) | columns | verdict(test.p_exact, test.reason or _OF_A_PAIR)
        )


def _in_general(ratings: Ratings, dataset: str, a: int, b: int) -> Row:
    values, _ = ratings.part(ALL, dataset)
    results = dict(of_cells(values[:, :, a] - values[:, :, b])[1])
    result: Inference = results["RRRC"]
    return {
        "mrmc_diff": result.mean_diff,
        "mrmc_se": result.se,
        "mrmc_df": result.df,
        "mrmc_lo": result.ci_lo,
        "mrmc_hi": result.ci_hi,
        "mrmc_p": result.p,
        "approximate": result.approximate,
    }


def _empty(reason: str | None) -> Row:
    """The columns of a row, in their order, without values."""
    return {
        "pair": None,
        "n_images": 0,
        "n_readers": 0,
        "n_ratings": 0,
        "images_left_out": 0,
        "n_pos": None,
        "n_neg": None,
        "chi2": None,
        "p_chi2": None,
        "mean_diff": None,
        "p_exact": None,
        "p_exact_se": None,
        "p_holm_exact": None,
        "mrmc_diff": None,
        "mrmc_se": None,
        "mrmc_df": None,
        "mrmc_lo": None,
        "mrmc_hi": None,
        "mrmc_p": None,
        "approximate": False,
        **verdict(None, reason),
    }


CANNOT_JUDGE_TESTS = Table(
    "cannot_judge_tests",
    cannot_judge_tests,
    Heading.ASIDES,
    views=(
        View(
            "What cannot be judged, taken as missing, as a rating of 0, and as an "
            "outcome of its own.",
            (
                *("dataset", "handling", "pair", "n_images"),
                *("chi2", Column("p_chi2", "P"), "mean_diff", "p_exact"),
                Column("p_holm_exact", "P, Holm"),
                Column("mrmc_diff", "MRMC", "", 3, ("mrmc_lo", "mrmc_hi")),
                Column("mrmc_p", "MRMC P"),
            ),
            keep=lambda row: row["reader"] == ALL,
        ),
    ),
    value="p_exact",
)
