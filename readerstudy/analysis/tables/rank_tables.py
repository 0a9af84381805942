"""The tables `friedman` and `wilcoxon`: one omnibus row per unit and three of pairs."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import combinations
from typing import Any

from readerstudy.analysis.statistics.rank_intervals import effect_intervals
from readerstudy.analysis.statistics.rank_tests import (
    Wilcoxon,
    friedman,
    holm,
    wilcoxon,
)
from readerstudy.analysis.statistics.resampling import Bootstrap, Interval
from readerstudy.analysis.units import Unit

Row = dict[str, Any]

SPEAKS_FOR = {
    "reader": "this reader; images in general",
    "pooled": "these readers; images in general",
    "blocks": "nobody: ratings of one image are taken for independent",
}


def rank_tables(
    units: Iterable[Unit],
    variants: tuple[str, ...],
    *,
    alpha: float,
    bootstrap: Bootstrap,
) -> tuple[list[Row], list[Row]]:
    """`friedman` and `wilcoxon`. Pairs are A minus B in the order of `variants`."""
    tests = [_tests(unit, variants, alpha, bootstrap) for unit in units]
    return [omnibus for omnibus, _ in tests], [row for _, rows in tests for row in rows]


def _tests(
    unit: Unit, variants: tuple[str, ...], alpha: float, bootstrap: Bootstrap
) -> tuple[Row, list[Row]]:
    places = list(combinations(range(len(variants)), 2))
    interval, rbc_intervals = effect_intervals(
        unit.blocks, places, unit.images, bootstrap
    )
    test = friedman(unit.blocks)
    omnibus = _row(
        unit,
        asdict(test) | _bounds("W", test.W, interval),
        p=test.p_chi2,
        tested=test.n > 0,
    )
    ranks = test.mean_rank or [None] * len(variants)
    omnibus["mean_rank"] = dict(zip(variants, ranks, strict=True))
    gate = test.p_chi2 is not None and test.p_chi2 < alpha
    pairs = [
        wilcoxon(unit.blocks[:, a] - unit.blocks[:, b], unit.divisor) for a, b in places
    ]
    # The pairs share their images, so p is there for all of them or for none.
    p_values = [pair.p for pair in pairs if pair.p is not None]
    p_holm = holm(p_values) if p_values else [None] * len(pairs)
    return omnibus, [
        _row(
            unit,
            {"pair": f"{variants[a]}-{variants[b]}"}
            | asdict(pair)
            | {"p_holm": adjusted}
            | _shares(pair)
            | _bounds("rbc", pair.rbc, rbc_interval),
            p=pair.p,
            tested=gate,
        )
        for (a, b), pair, adjusted, rbc_interval in zip(
            places, pairs, p_holm, rbc_intervals, strict=True
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
    known = estimate is not None
    return {
        f"{name}_lo": interval.low if known else None,
        f"{name}_hi": interval.high if known else None,
        "undefined_redraws": interval.undefined if known else None,
    }


def _row(unit: Unit, columns: Row, *, p: float | None, tested: bool) -> Row:
    """`columns` between what names the unit and what the procedure makes of p.

    `significant_...` compare p alone, strictly. `tested` says whether the procedure
    came to this test at all: a pair is found different where both hold.
    """
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
        "significant_001": p is not None and p < 0.001,
        "significant_05": p is not None and p < 0.05,
        "tested": tested,
        "reason": reason,
    }
