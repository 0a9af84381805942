"""Answers with several parts, by finding and option: shares of yes, means, and the rank
tests of each part. Friedman's test of a reader's yes and no is Cochran's Q, and exact
Wilcoxon's test of a pair McNemar's exact test."""

from collections.abc import Iterator

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.answers.answers import Part
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.statistics.rank_tests import Friedman, friedman, wilcoxon
from readerstudy.analysis.table import Heading, Row, Table, View
from readerstudy.analysis.tables.rank_tables import rank_tables
from readerstudy.analysis.units import Unit, under_policy, units

SPREAD = "a standard deviation needs two answers"


def shares(context: Context) -> list[Row]:
    """How often the answer was yes: by part, reader (and ALL), data set (and ALL) and
    variant. Of points, how often they hit."""
    return [
        names | _counts(values) | _share(values)
        for names, values in _cells(_of_points_or_parts(context))
    ]


def _share(values: Floats) -> Row:
    given = values[~np.isnan(values)]
    n_yes = int(np.count_nonzero(given > 0))
    return {
        "n_yes": n_yes,
        "share": n_yes / given.size if given.size else None,
        "reason": None if given.size else "no answer",
    }


def means_by_part(context: Context) -> list[Row]:
    """Mean and standard deviation (n - 1) of the answers, as `shares`."""
    return [
        names | _counts(values) | _mean(values)
        for names, values in _cells(_parts(context))
    ]


def _mean(values: Floats) -> Row:
    given = values[~np.isnan(values)]
    return {
        "mean": float(given.mean()) if given.size else None,
        "sd": float(given.std(ddof=1)) if given.size > 1 else None,
        "reason": None if given.size > 1 else SPREAD if given.size else "no answer",
    }


def _cells(parts: list[Part]) -> Iterator[tuple[Row, Floats]]:
    """What names it, and its answers (readers, images), for each cell of a table."""
    for part in parts:
        for reader, dataset, values, _ in part.ratings.parts():
            for place, variant in enumerate(part.ratings.variants):
                names = {"reader": reader, "dataset": dataset, "variant": variant}
                yield _names(part) | names, values[:, :, place]


def _names(part: Part) -> Row:
    return {"finding": part.finding, "option": part.option}


def _counts(values: Floats) -> Row:
    answered = ~np.isnan(values)
    return {
        "n_images": int(answered.any(axis=0).sum()),
        "n_readers": int(answered.any(axis=1).sum()),
        "n_ratings": int(answered.sum()),
    }


def _parts(context: Context) -> list[Part]:
    parts = context.answers.parts if context.answers else ()
    return list(parts) or [Part("", "", context.ratings)]


def _of_points_or_parts(context: Context) -> list[Part]:
    """Points are yes or no once it is known where they should be."""
    is_points = context.question.kind == "points"
    return [Part("", "", context.ratings)] if is_points else _parts(context)


def rank_tests(context: Context) -> tuple[list[Row], list[Row]]:
    """`friedman_by_part` and `wilcoxon_by_part`: today's rows, of each part."""
    overall: list[Row] = []
    pairs: list[Row] = []
    for part in _parts(context):
        tests = rank_tables(Context(part.ratings, context.options))
        overall += [_names(part) | row for row in tests[0]]
        pairs += [_names(part) | row for row in tests[1]]
    return overall, pairs


def omnibus(context: Context) -> list[Row]:
    """The test of each part that speaks for the question: Friedman's by image, readers
    pooled as the primary tests are, per data set.

    `p` is that of the test: Friedman's, and of two variants the exact one of
    Wilcoxon's test of their pair. `p_holm` is adjusted for the question's parts
    (findings or options), within the data set. What no rank test is for has a `reason`
    instead.
    """
    # Options are tested one by one, though they add up to nothing.
    has_options = bool(context.question.options)
    why = None if has_options else context.why_no_ratings
    rows = [
        _names(part) | {"dataset": unit.dataset} | _pooled_test(unit, why)
        for part in _of_points_or_parts(context)
        for unit in units(
            under_policy(part.ratings, context.options.missing),
            pooling=context.options.pooling,
        )
        if unit.primary
    ]
    for dataset in context.ratings.datasets:
        of_dataset = [row for row in rows if row["dataset"] == dataset]
        tested = [row for row in of_dataset if row["p"] is not None]
        adjusted = holm([row["p"] for row in tested])
        for row, p in zip(tested, adjusted, strict=True):
            row["p_holm"] = p
    return rows


def _pooled_test(unit: Unit, why: str | None) -> Row:
    """Without a test where there is a reason `why`."""
    n, n_variants = unit.blocks.shape
    test = friedman(unit.blocks) if why is None else Friedman(n, 0, reason=why)
    p = test.p_chi2
    if n_variants == 2 and why is None:
        # Of one pair there is no other test.
        first, second = unit.blocks.T
        p = wilcoxon(first - second, unit.divisor).p_exact
    return {
        "n_images": n,
        "n_readers": unit.n_readers,
        "n_ratings": unit.n_ratings,
        "chi2": test.chi2,
        "df": n_variants - 1,
        "p_chi2": test.p_chi2,
        "p": p,
        "p_holm": None,
        "reason": test.reason if test.chi2 is None else None,
    }


def _pooled(row: Row) -> bool:
    return bool(row["reader"] == ALL)


def _primary(row: Row) -> bool:
    return bool(row["primary"])


def _each(row: Row) -> bool:
    return bool(row["level"] == "reader" and row["dataset"] != ALL)


_PART = ("finding", "option")
_N = (Column("n_images", "images"), Column("n_readers", "readers"))
SHARES = Table(
    "shares",
    shares,
    Heading.SECONDARY,
    views=(
        View(
            "How often the answer was yes, or a point hit its finding.",
            (
                *(*_PART, "dataset", "variant", *_N),
                Column("n_ratings", "answers"),
                Column("n_yes", "yes"),
                Column("share", digits=3),
            ),
            keep=_pooled,
        ),
    ),
    value="share",
)
MEANS_BY_PART = Table(
    "means_by_part",
    means_by_part,
    Heading.SECONDARY,
    views=(
        View(
            "Answers, mean and SD over readers and images.",
            (
                *(*_PART, "dataset", "variant", *_N),
                Column("n_ratings", "answers"),
                Column("mean", "mean", digits=2),
                Column("sd", "SD", digits=2),
            ),
            keep=_pooled,
        ),
    ),
    value="mean",
)
OMNIBUS = Table(
    "omnibus",
    omnibus,
    Heading.SECONDARY,
    title="Further questions and their parts",
    methods="Answers to each question beside the primary one were compared by "
    "Friedman's test by image, pooled over the readers (two variants by the exact P of "
    "Wilcoxon's test), and options and findings each by themselves. P was adjusted by "
    "Holm's method for the parts of a question and for the number of secondary "
    "questions. For yes and no, Friedman's test of one reader is Cochran's Q, and the "
    "exact test of a pair McNemar's.",
    value="p",
)
FRIEDMAN_BY_PART = Table(
    "friedman_by_part",
    lambda context: context.once(rank_tests)[0],
    Heading.SECONDARY,
    views=(
        View(
            "Friedman's test of each reader, which of yes and no is Cochran's Q.",
            (
                *("reader", *_PART, "dataset", "n", "all_tied", "chi2"),
                *("df", Column("p_chi2", "P")),
            ),
            keep=_each,
        ),
    ),
    value="n",
)
WILCOXON_BY_PART = Table(
    "wilcoxon_by_part",
    lambda context: context.once(rank_tests)[1],
    Heading.SECONDARY,
    views=(
        View(
            "Wilcoxon's test of the pairs, answers pooled over the readers.",
            (
                *(*_PART, "dataset", "pair", "n", "n_zero", "mean_diff"),
                *("p_exact", "p_holm"),
            ),
            keep=_primary,
        ),
        View(
            "The pairs of each reader; of yes and no, the exact P is McNemar's.",
            ("reader", *_PART, "dataset", "pair", "n", "n_pos", "n_neg", "p_exact"),
            keep=_each,
        ),
    ),
    value="n",
)
