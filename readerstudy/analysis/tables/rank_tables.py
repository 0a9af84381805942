"""Friedman's test and Wilcoxon's signed-rank test: the tables `friedman` and
`wilcoxon`, an omnibus row per unit and one of each pair."""

from dataclasses import asdict

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.statistics.rank_intervals import effect_intervals
from readerstudy.analysis.statistics.rank_tests import (
    Wilcoxon,
    friedman,
    holm,
    wilcoxon,
)
from readerstudy.analysis.statistics.resampling import Interval
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.units import Unit, units

SPEAKS_FOR = {
    "reader": "this reader; images in general",
    "pooled": "these readers; images in general",
    "blocks": "nobody: ratings of one image are taken for independent",
}


def rank_tables(context: Context) -> tuple[list[Row], list[Row]]:
    """`friedman` and `wilcoxon`. Pairs are A minus B in the order of the variants."""
    tests = [
        _tests(unit, context)
        for unit in units(context.tested, blocks=context.options.blocks)
    ]
    return [omnibus for omnibus, _ in tests], [row for _, rows in tests for row in rows]


def _tests(unit: Unit, context: Context) -> tuple[Row, list[Row]]:
    variants, pairs = context.ratings.variants, context.ratings.pairs
    interval, rbc_intervals = effect_intervals(
        unit.blocks, [(a, b) for _, a, b in pairs], unit.images, context.bootstrap
    )
    overall = friedman(unit.blocks)
    omnibus = _row(
        unit,
        asdict(overall) | _bounds("W", overall.W, interval),
        p=overall.p_chi2,
        tested=overall.p_chi2 is not None,
    )
    ranks = overall.mean_rank or [None] * len(variants)
    omnibus["mean_rank"] = dict(zip(variants, ranks, strict=True))
    # Of two variants there is one pair, and nothing goes before its test.
    gate = len(pairs) == 1 or (
        overall.p_chi2 is not None and overall.p_chi2 < context.options.alpha
    )
    tests = [
        wilcoxon(unit.blocks[:, a] - unit.blocks[:, b], unit.divisor)
        for _, a, b in pairs
    ]
    # The pairs share their images, so p is there for all of them or for none.
    p_values = [test.p for test in tests if test.p is not None]
    p_holm = holm(p_values) if p_values else [None] * len(pairs)
    return omnibus, [
        _row(
            unit,
            {"pair": pair}
            | asdict(test)
            | {"p_holm": adjusted}
            | _shares(test)
            | _bounds("rbc", test.rbc, rbc_interval),
            p=test.p,
            tested=gate and test.p is not None,
        )
        for (pair, _, _), test, adjusted, rbc_interval in zip(
            pairs, tests, p_holm, rbc_intervals, strict=True
        )
    ]


def _shares(pair: Wilcoxon) -> Row:
    """How often A was rated above B, the same and below, as shares of the images."""
    counts = {"better": pair.n_pos, "tie": pair.n_zero, "worse": pair.n_neg}
    return {
        f"prob_{name}": count / pair.n if pair.n else None
        for name, count in counts.items()
    }


def _bounds(name: str, estimate: float | None, interval: Interval) -> Row:
    """Without an estimate there is no interval, whatever redraws would give."""
    defined = estimate is not None
    return {
        f"{name}_lo": interval.low if defined else None,
        f"{name}_hi": interval.high if defined else None,
        "undefined_redraws": interval.undefined if defined else None,
    }


def _row(unit: Unit, columns: Row, *, p: float | None, tested: bool) -> Row:
    """`columns` between what names the unit and what the procedure makes of p."""
    reason = columns.pop("reason")
    if reason is None and None in columns.values():
        reason = "an interval needs two images"
    return {
        "level": unit.level,
        "reader": unit.reader,
        "dataset": unit.dataset,
        "pooling": unit.pooling,
        "primary": unit.primary,
        "independent": unit.independent,
        "speaks_for": SPEAKS_FOR[unit.level],
        **columns,
        "dropped": unit.dropped,
        **verdict(p, reason, tested),
    }


def _of_a_reader(row: Row) -> bool:
    return bool(row["level"] == "reader" and row["dataset"] != ALL)


FRIEDMAN = Table(
    "friedman",
    lambda context: context.once(rank_tables)[0],
    Heading.DIFFERENCES,
    views=(
        View(
            "Friedman's test of each reader; P speaks for that reader alone.",
            (
                *("reader", "dataset", "n", "all_tied"),
                Column("mean_rank", "mean rank {}", digits=2),
                *("chi2", Column("p_chi2", "P"), "p_exact", "W"),
            ),
            value="n",
            keep=_of_a_reader,
            heading=Heading.EACH_READER,
        ),
    ),
    title="Comparison of the variants",
    methods="Per data set, Friedman's test (chi-squared with {df} degrees of freedom, "
    "corrected for ties) compared the variants, with Kendall's W beside it. The unit "
    "is the image: ratings were summed over the readers, and images that lack a rating "
    "of any reader left out.",
    value="p_chi2",
)
_PAIR_TESTS = (
    *("dataset", "pair", "n", "n_zero", "mean_diff", "hl_shift", "rbc", "p_value"),
    *("p_exact", "p_holm"),
)
WILCOXON = Table(
    "wilcoxon",
    lambda context: context.once(rank_tables)[1],
    Heading.DIFFERENCES,
    views=(
        View(
            "Wilcoxon's test of each reader; P speaks for that reader alone.",
            ("reader", *_PAIR_TESTS, Column("tested", "gate open")),
            keep=_of_a_reader,
            heading=Heading.EACH_READER,
        ),
        View(
            "The pairs pooled over whichever readers rated all maps of an image, "
            "so that an image with a missing rating counts too.",
            _PAIR_TESTS,
            keep=lambda row: row["pooling"] == "available",
            heading=Heading.SENSITIVITY,
        ),
        View(
            "Every reader's rating of an image taken for an image of its own. Ratings "
            "of one image are alike, so these P are too small and speak for nobody.",
            _PAIR_TESTS,
            keep=lambda row: row["level"] == "blocks",
            heading=Heading.SENSITIVITY,
        ),
    ),
    title="Pairs of variants",
    methods="{rule} The unit is the image, ratings summed over the readers; such P "
    "values hold the readers fixed. Beside them are given P exact given the ranks, P "
    "with zero differences ranked (Pratt), P adjusted for the number of pairs (Holm), "
    "the Hodges-Lehmann shift and the matched-pairs rank-biserial correlation. The "
    "same tests were made for each reader.",
    value="n",
)
