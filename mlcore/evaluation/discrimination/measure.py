"""Discrimination of variants: AUC and operating points with bootstrap intervals, tests.

One bootstrap of the cases serves all findings and variants, so that the variants'
differences are paired; whole patients are redrawn.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.delong import delong, delong_test
from mlcore.evaluation.discrimination.metrics import (
    Discrimination,
    at_cutoff,
    discriminate,
)
from mlcore.evaluation.discrimination.resampling import (
    Redraws,
    bootstrap,
    percentile_interval,
)
from mlcore.evaluation.discrimination.scoring import ScoredCases
from mlcore.evaluation.discrimination.swaps import SwapP, SwapTest, swap_test
from mlcore.evaluation.part import Row

# The paper's test swaps 1,000 times; its threshold, P < 0.001, needs more in the form
# whose p is never 0.
PAPER_SWAPS = 1_000
RANK_SWAPS = 10_000
SIGNIFICANCE = 0.001


@dataclass(frozen=True, eq=False)
class Measured:
    """The cases, what the scores are worth, and the same in each redraw.

    Attributes:
        cutoffs: (V, F) chosen on the development images; NaN where there is none.
        discriminations: by variant and finding, in their order.
        redraws: of the same cases for all of them.
    """

    cases: ScoredCases
    cutoffs: Floats
    discriminations: tuple[tuple[Discrimination, ...], ...]
    redraws: Redraws


def development_cutoffs(cases: ScoredCases) -> Floats:
    """(V, F): each variant's and finding's cutoff closest to the corner."""
    best = [[each.best for each in row] for row in _discriminations(cases)]
    return np.array([[np.nan if b is None else b.cutoff for b in row] for row in best])


def measure(
    cases: ScoredCases, cutoffs: Floats, *, redraws: int, seed: int
) -> Measured:
    """Measure the scores on the cases and on `redraws` samples of their patients."""
    drawn = bootstrap(
        cases.scores,
        cases.labels,
        cutoffs,
        redraws=redraws,
        rng=np.random.default_rng(seed),
        patients=cases.patients,
    )
    return Measured(cases, cutoffs, _discriminations(cases), drawn)


def for_findings(
    cutoffs: Floats, names: tuple[str, ...], wanted: tuple[str, ...]
) -> Floats:
    """The columns of `cutoffs` (V, F) that belong to the findings `wanted`."""
    return cutoffs[:, [names.index(name) for name in wanted]]


def classifier_metrics(measured: Measured) -> list[Row]:
    """Area, average precision, and both operating points per finding and variant.

    Returns:
        Rows with n, n_pos, auc, ap, sensitivity and specificity at `cutoff` (from the
        development images) and best_sensitivity and best_specificity at `best_cutoff`
        (re-optimised on these), each with its 95 % limits `_lo` and `_hi`;
        undefined_redraws; None with a `reason` where a class is missing.
    """
    cases = measured.cases
    return [
        {
            **cases.about,
            "finding": finding,
            "variant": name,
            "branch": "std",
            **_metrics(measured, variant, column),
        }
        for column, finding in enumerate(cases.findings)
        for variant, name in enumerate(cases.variants)
    ]


def _metrics(measured: Measured, variant: int, column: int) -> Row:
    cases = measured.cases
    discrimination = measured.discriminations[variant][column]
    cutoff = measured.cutoffs[variant, column]
    fixed = at_cutoff(
        cases.scores[:, variant, column],
        cases.labels[:, column],
        None if np.isnan(cutoff) else float(cutoff),
    )
    best = discrimination.best
    values = {"auc": discrimination.auc, "ap": discrimination.ap}
    for prefix, point in (("", fixed), ("best_", best)):
        values[f"{prefix}sensitivity"] = None if point is None else point.sensitivity
        values[f"{prefix}specificity"] = None if point is None else point.specificity
    row: Row = {
        "n": discrimination.n,
        "n_pos": discrimination.n_pos,
        "cutoff": None if np.isnan(cutoff) else float(cutoff),
        "best_cutoff": None if best is None else best.cutoff,
    }
    for name, value in values.items():
        draws = getattr(measured.redraws, name)[:, variant, column]
        limits = percentile_interval(draws)
        defined = value is not None
        row[name] = value
        row[f"{name}_lo"] = limits.low if defined else None
        row[f"{name}_hi"] = limits.high if defined else None
    areas = measured.redraws.auc[:, variant, column]
    row["undefined_redraws"] = percentile_interval(areas).undefined
    row["reason"] = discrimination.reason
    return row


def classifier_compare(measured: Measured, *, seed: int) -> list[Row]:
    """Every pair of variants on every finding: difference, interval and tests.

    Returns:
        Rows per finding, pair ("A-B", A minus B) and measure: diff with the paired
        bootstrap's lo and hi; p_swap_paper, the paper's permutation test of raw scores;
        p_swap_rank, the same within ranks and two-sided; p_delong (areas only; takes
        cases as independent); significant_001 says whether p_swap_rank < 0.001.
        Sensitivity and specificity are those of the re-optimised cutoffs.
    """
    cases = measured.cases
    return [
        {
            **cases.about,
            "finding": finding,
            "pair": f"{cases.variants[first]}-{cases.variants[second]}",
            **row,
        }
        for column, finding in enumerate(cases.findings)
        for first, second in combinations(range(len(cases.variants)), 2)
        for row in _compared(measured, first, second, column, seed)
    ]


def _compared(
    measured: Measured, first: int, second: int, column: int, seed: int
) -> list[Row]:
    cases = measured.cases
    scores, labels = cases.scores[:, :, column], cases.labels[:, column]

    def swapped(swaps: int, *, ranked: bool) -> SwapTest:
        return swap_test(
            scores[:, first],
            scores[:, second],
            labels,
            swaps=swaps,
            ranked=ranked,
            rng=np.random.default_rng(seed),
            patients=cases.patients,
        )

    paper, rank = swapped(PAPER_SWAPS, ranked=False), swapped(RANK_SWAPS, ranked=True)
    test = delong_test(delong(scores[:, [first, second]], labels), 0, 1)
    rows: list[Row] = []
    for name, drawn in (
        ("auc", measured.redraws.auc),
        ("sensitivity", measured.redraws.best_sensitivity),
        ("specificity", measured.redraws.best_specificity),
    ):
        limits = percentile_interval(drawn[:, first, column] - drawn[:, second, column])
        raw: SwapP | None = getattr(paper, name)
        ranked: SwapP | None = getattr(rank, name)
        defined = ranked is not None
        rows.append(
            {
                "measure": name,
                "diff": ranked.difference if ranked else None,
                "lo": limits.low if defined else None,
                "hi": limits.high if defined else None,
                "p_swap_paper": raw.p_share if raw else None,
                "p_swap_rank": ranked.p if ranked else None,
                "p_delong": test.p if name == "auc" else None,
                "significant_001": ranked.p < SIGNIFICANCE if ranked else None,
                "reason": rank.reason,
            }
        )
    return rows


def _discriminations(cases: ScoredCases) -> tuple[tuple[Discrimination, ...], ...]:
    return tuple(
        tuple(
            discriminate(cases.scores[:, variant, column], cases.labels[:, column])
            for column in range(len(cases.findings))
        )
        for variant in range(len(cases.variants))
    )
