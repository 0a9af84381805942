"""Friedman's test and Wilcoxon's signed-rank test: the tables `friedman` and
`wilcoxon`, an omnibus row per unit and one of each pair."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.statistics.effect_bounds import (
    corrected_w,
    mean_interval,
    shift_interval,
    w_interval,
)
from readerstudy.analysis.statistics.multiplicity import holm, shaffer
from readerstudy.analysis.statistics.rank_intervals import rank_biserial_interval
from readerstudy.analysis.statistics.rank_tests import (
    WILCOXON_EXACT,
    Friedman,
    Wilcoxon,
    friedman,
    wilcoxon,
)
from readerstudy.analysis.statistics.resampling import Interval
from readerstudy.analysis.table import Heading, Row, Table, View, verdict
from readerstudy.analysis.units import Pair, Unit, units

SPEAKS_FOR = {
    "reader": "this reader; images in general",
    "pooled": "these readers; images in general",
    "blocks": "nobody: ratings of one image are taken for independent",
}


# Beyond Monte Carlo there is no error to give, which no reason explains.
_MAY_BE_NONE = {"p_exact_se"}


def rank_tables(context: Context) -> tuple[list[Row], list[Row]]:
    """`friedman` and `wilcoxon`. Pairs are A minus B in the order of the variants."""
    options = context.options
    tests = [
        _tests(unit, context)
        for unit in units(
            context.tested, blocks=options.blocks, pooling=options.pooling
        )
    ]
    return [omnibus for omnibus, _ in tests], [row for _, rows in tests for row in rows]


def _tests(unit: Unit, context: Context) -> tuple[Row, list[Row]]:
    variants, pairs = context.ratings.variants, context.ratings.pairs
    alpha, seed = context.options.alpha, context.options.seed
    overall = friedman(unit.blocks, alpha, seed)
    omnibus = _row(
        unit,
        asdict(overall) | _concordance(overall, len(variants)) | _counts(unit),
        p=overall.p_chi2,
        tested=overall.p_chi2 is not None,
    )
    ranks = overall.mean_rank or [None] * len(variants)
    omnibus["mean_rank"] = dict(zip(variants, ranks, strict=True))
    # Of two variants there is one pair, and nothing goes before its test.
    gate = len(pairs) == 1 or (overall.p_chi2 is not None and overall.p_chi2 < alpha)
    of_pairs = [unit.pair(a, b) for _, a, b in pairs]
    tests = [wilcoxon(pair.differences, pair.divisor) for pair in of_pairs]
    adjusted = _adjusted(tests, len(variants))
    return omnibus, [
        _row(
            unit,
            {"pair": name}
            | asdict(test)
            | {key: values[place] for key, values in adjusted.items()}
            | _shares(test)
            | _effects(pair, test, context)
            | _counts(pair),
            p=test.p,
            tested=gate and test.p is not None,
        )
        for place, ((name, _, _), pair, test) in enumerate(
            zip(pairs, of_pairs, tests, strict=True)
        )
    ]


def _adjusted(
    tests: Sequence[Wilcoxon], variants: int
) -> dict[str, list[float | None]]:
    """P of the pairs adjusted for each other, None where there is none to adjust.

    `p_holm` is of the asymptotic P. `p_shaffer` is for use behind Friedman's test.
    """
    exact = [test.p_exact for test in tests]
    return {
        "p_holm": _of_those_there(holm, [test.p for test in tests]),
        "p_holm_exact": _of_those_there(holm, exact),
        # A pair without P is none that is known not to differ.
        "p_shaffer": [
            None if p is None else adjusted
            for p, adjusted in zip(
                exact,
                shaffer([1.0 if p is None else p for p in exact], variants),
                strict=True,
            )
        ],
    }


def _of_those_there(
    adjust: Callable[[Sequence[float]], list[float]],
    p_values: Sequence[float | None],
) -> list[float | None]:
    adjusted = iter(adjust([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _concordance(overall: Friedman, variants: int) -> Row:
    """Kendall's W less its bias, and its interval, from which nothing is redrawn."""
    corrected, interval = None, None
    if overall.W is not None and overall.chi2 is not None and overall.n > 1:
        corrected = corrected_w(overall.W, overall.n)
        interval = w_interval(overall.chi2, overall.n, variants)
    low, high = interval or (None, None)
    return {
        "W_corrected": corrected,
        "W_lo": low,
        "W_hi": high,
        "undefined_redraws": None if overall.W is None else 0,
    }


def _effects(pair: Pair, test: Wilcoxon, context: Context) -> Row:
    """Intervals of the mean difference, of the shift and of the correlation."""
    d, divisor = pair.differences, pair.divisor
    low, high = mean_interval(d, divisor) or (None, None)
    shift = None
    if 0 < test.n <= WILCOXON_EXACT:
        shift = shift_interval(d, divisor)
    redrawn = rank_biserial_interval(d, pair.images, context.bootstrap)
    return {
        "mean_lo": low,
        "mean_hi": high,
        "hl_lo": shift.low if shift else None,
        "hl_hi": shift.high if shift else None,
        "hl_lo_open": shift.low_open if shift else None,
        "hl_hi_open": shift.high_open if shift else None,
        **_bounds("rbc", test.rbc, redrawn),
    }


def _counts(tested: Unit | Pair) -> Row:
    return {
        "n_images": tested.n_images,
        "n_readers": tested.n_readers,
        "n_ratings": tested.n_ratings,
        "images_left_out": tested.images_left_out,
        "dropped": tested.dropped,
    }


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
    none = {name for name, value in columns.items() if value is None} - _MAY_BE_NONE
    if reason is None and none:
        reason = "an interval needs two images"
        if none <= {"hl_lo", "hl_hi"}:
            reason = "with so few images no shift can be rejected"
    return {
        "level": unit.level,
        "reader": unit.reader,
        "dataset": unit.dataset,
        "pooling": unit.pooling,
        "primary": unit.primary,
        "independent": unit.independent,
        "speaks_for": SPEAKS_FOR[unit.level],
        **columns,
        **verdict(p, reason, tested),
    }


def _of_a_reader(row: Row) -> bool:
    return bool(row["level"] == "reader" and row["dataset"] != ALL)


def _other_pooling(row: Row, pooling: str) -> bool:
    """Whether a data set was pooled so beside the tests that were named beforehand."""
    beside = row["dataset"] != ALL and not row["primary"]
    return bool(beside and row["pooling"] == pooling)


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
    "is the image: {pooled}. P is also given exact, conditional on the ranks; of four "
    "variants and more it comes from Monte Carlo where images are many, with its "
    "error beside it. Kendall's W has its interval from the noncentral chi-squared "
    "distribution.",
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
            "The pairs pooled over whichever readers rated the maps of an image, "
            "so that an image with a missing rating counts too.",
            _PAIR_TESTS,
            keep=lambda row: _other_pooling(row, "available"),
            heading=Heading.SENSITIVITY,
        ),
        View(
            "The pairs over images that every reader rated throughout; all others are "
            "left out.",
            _PAIR_TESTS,
            keep=lambda row: _other_pooling(row, "complete"),
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
    methods="{rule} The unit is the image, ratings pooled over the readers; such P "
    "values hold the readers fixed. Beside them are given P exact given the ranks, P "
    "with zero differences ranked (Pratt), P adjusted for the number of pairs (Holm, "
    "of the asymptotic P and of the exact one, and Shaffer, of the exact one and for "
    "use behind the test of all variants), the mean difference, the Hodges-Lehmann "
    "shift with the interval of shifts that the exact test accepts, and the "
    "matched-pairs rank-biserial correlation. The same tests were made for each "
    "reader.",
    value="n",
)
