"""Inter-reader agreement on the ratings and on the differences between variants: the
tables `agreement` and `agreement_pairs`."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.statistics.coefficients import (
    Icc,
    fleiss_kappa,
    icc,
    ordinal_alpha_of,
    quadratic_kappas_of,
)
from readerstudy.analysis.statistics.resampling import Bootstrap
from readerstudy.analysis.table import Heading, Row, Table, View


def agreement(ratings: Ratings, bootstrap: Bootstrap) -> tuple[list[Row], list[Row]]:
    """`agreement` and `agreement_pairs`.

    Per data set and ALL, for each variant ("rating") and each A - B ("difference", on
    which the conclusion rests): the former summarises, the latter has the quadratic
    kappa of each pair of readers. `n_images` are those that two readers rated,
    `n_complete` those that all did; ICC and Fleiss's kappa are of the latter. Intervals
    of alpha and of the mean kappa come from redrawn images, those of ICC from F. In
    ALL, images differ as data sets do as well, which tends to raise coefficients.
    """
    summaries, pairs = [], []
    for dataset in (*ratings.datasets, ALL):
        values, _ = ratings.part(ALL, dataset)
        for kind, name, table in _tables(values, ratings):
            active = np.asarray(~np.isnan(table).all(axis=0))
            readers = [
                r for r, rates in zip(ratings.readers, active, strict=True) if rates
            ]
            names = {"dataset": dataset, "variant": name, "kind": kind}
            summary, kappas = _agreement(table[:, active], bootstrap)
            summaries.append(names | summary)
            pairs += [
                names | _pair(table[:, active], readers, a, b, kappa)
                for (a, b), kappa in kappas.items()
            ]
    return summaries, pairs


def _tables(values: Floats, ratings: Ratings) -> Iterator[tuple[str, str, Floats]]:
    """(images, readers) tables, with what they are of."""
    for i, variant in enumerate(ratings.variants):
        yield "rating", variant, values[:, :, i].T
    for pair, a, b in ratings.pairs:
        yield "difference", pair, (values[:, :, a] - values[:, :, b]).T


def _agreement(
    table: Floats, bootstrap: Bootstrap
) -> tuple[Row, dict[tuple[int, int], float | None]]:
    """The summary of a table of active readers, and the kappa of each pair of them."""
    table = table[np.count_nonzero(~np.isnan(table), axis=1) > 1]
    places = list(combinations(range(table.shape[1]), 2))
    n_images = len(table)
    if not places or not n_images:
        reason = "no image has the ratings of two readers"
        return _summary(table, reason), dict.fromkeys(places)
    alpha_of = ordinal_alpha_of(table)
    kappas_of = quadratic_kappas_of(table, np.array(places))
    once = np.ones((1, n_images))
    kappas = kappas_of(once)[0]
    defined = ~np.isnan(kappas)

    def both(weights: Floats) -> Floats:
        means = (
            kappas_of(weights)[:, defined].mean(axis=1)
            if defined.any()
            else np.full(len(weights), np.nan)
        )
        return np.column_stack([alpha_of(weights), means])

    alpha, mean = (None if np.isnan(value) else float(value) for value in both(once)[0])
    alpha_interval, kappa_interval = bootstrap.intervals(both, n_images)
    summary = _summary(table, None)
    if alpha is not None:
        summary["alpha_ordinal"] = alpha
        summary["alpha_lo"] = alpha_interval.low
        summary["alpha_hi"] = alpha_interval.high
    if mean is not None:
        summary["qkappa_mean"] = mean
        summary["qkappa_lo"] = kappa_interval.low
        summary["qkappa_hi"] = kappa_interval.high
        summary["qkappa_min"] = float(kappas[defined].min())
        summary["qkappa_max"] = float(kappas[defined].max())
    summary["undefined_redraws"] = max(
        alpha_interval.undefined if alpha is not None else 0,
        kappa_interval.undefined if mean is not None else 0,
    )
    summary["reason"] = _reason(summary, n_images)
    return summary, {
        pair: None if np.isnan(kappa) else float(kappa)
        for pair, kappa in zip(places, kappas, strict=True)
    }


def _summary(table: Floats, reason: str | None) -> Row:
    """The columns of `agreement`, with what needs no redraw filled in."""
    complete = table[~np.isnan(table).any(axis=1)]
    result = icc(complete) if reason is None else Icc(reason=reason)
    return {
        "n_readers": table.shape[1],
        "n_images": len(table),
        "n_complete": len(complete),
        "alpha_ordinal": None,
        "alpha_lo": None,
        "alpha_hi": None,
        "ICC2_1": result.single,
        "ICC2_1_lo": result.single_lo,
        "ICC2_1_hi": result.single_hi,
        "ICC2_k": result.mean,
        "ICC2_k_lo": result.mean_lo,
        "ICC2_k_hi": result.mean_hi,
        "qkappa_mean": None,
        "qkappa_lo": None,
        "qkappa_hi": None,
        "qkappa_min": None,
        "qkappa_max": None,
        "fleiss": fleiss_kappa(complete),
        "undefined_redraws": None,
        "reason": result.reason,
    }


def _reason(summary: Row, n_images: int) -> str | None:
    """Why values are missing. `summary` has ICC's own reason so far."""
    reasons = [summary["reason"]] if summary["reason"] else []
    if summary["alpha_ordinal"] is None:
        reasons.append("alpha is not defined where all ratings are the same")
    elif n_images < 2:
        reasons.append("an interval needs two images")
    if summary["qkappa_mean"] is None:
        reasons.append("kappa is not defined where each pair gave one value only")
    if summary["fleiss"] is None:
        reasons.append("Fleiss's kappa needs complete images that are not all the same")
    return "; ".join(reasons) or None


def _pair(
    table: Floats, readers: list[str], a: int, b: int, kappa: float | None
) -> Row:
    n = int(np.count_nonzero(~np.isnan(table[:, a]) & ~np.isnan(table[:, b])))
    reason = None
    if kappa is None:
        reason = "both gave one and the same value" if n else "no image in common"
    return {
        "reader_a": readers[a],
        "reader_b": readers[b],
        "n": n,
        "qkappa": kappa,
        "reason": reason,
    }


def _both(context: Context) -> tuple[list[Row], list[Row]]:
    return agreement(context.tested, context.bootstrap)


_COEFFICIENTS = (
    *("dataset", "variant", "n_images"),
    Column("alpha_ordinal", "alpha", "", 2, ("alpha_lo", "alpha_hi")),
    Column("ICC2_1", "ICC(2,1)", digits=2),
    Column("ICC2_k", "ICC(2,k)", digits=2),
    Column("qkappa_mean", "mean kappa", "", 2, ("qkappa_lo", "qkappa_hi")),
    Column("qkappa_min", "lowest", digits=2),
    Column("qkappa_max", "highest", digits=2),
)
AGREEMENT = Table(
    "agreement",
    lambda context: context.once(_both)[0],
    Heading.AGREEMENT,
    views=(
        View(
            "Agreement between readers about the ratings.",
            (*_COEFFICIENTS, Column("fleiss", "Fleiss' kappa", digits=2)),
            keep=lambda row: row["kind"] == "rating",
            note="Kappa with quadratic weights is of pairs of readers "
            "(agreement_pairs.csv); Fleiss' kappa takes neighbouring scores for as "
            "different as 0 and 5.",
        ),
        View(
            "Agreement between readers about the differences between variants, on "
            "which the conclusion rests.",
            _COEFFICIENTS,
            keep=lambda row: row["kind"] != "rating",
        ),
    ),
    title="Agreement",
    methods="Agreement between readers is Krippendorff's alpha with the ordinal "
    "metric, the intraclass correlations ICC(2,1) and ICC(2,k) (two-way random, "
    "absolute agreement) and quadratic-weighted kappa per pair of readers; for "
    "ratings, and for the differences between variants, on which the conclusion "
    "rests.",
    value="alpha_ordinal",
)
AGREEMENT_PAIRS = Table(
    "agreement_pairs", lambda context: context.once(_both)[1], Heading.AGREEMENT
)
