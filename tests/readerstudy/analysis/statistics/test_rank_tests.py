"""Friedman and Wilcoxon against R's results, against their formulas, and undefined."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from readerstudy.analysis.ratings import read_ratings
from readerstudy.analysis.statistics import rank_tests
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.statistics.rank_tests import (
    Friedman,
    friedman,
    wilcoxon,
)
from tests.conftest import GOLDEN

STATISTICS = GOLDEN / "statistics"
SETTINGS = settings(max_examples=50, deadline=None)

ratings = st.integers(0, 5)
some_blocks = st.lists(st.tuples(ratings, ratings, ratings), min_size=1, max_size=12)


def expected(name):
    return json.loads((STATISTICS / "expected" / f"{name}.json").read_text())


def columns(name):
    """The numbers of a golden table, without its column of block numbers."""
    with (STATISTICS / "inputs" / f"{name}.csv").open() as file:
        header, *rows = csv.reader(file)
    skip = int(header[0] == "block")
    return np.array([row[skip:] for row in rows], float)


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


@pytest.mark.parametrize("name", sorted(expected("friedman")))
def test_friedman_agrees_with_r(name):
    golden, result = expected("friedman")[name], friedman(columns(name))

    assert (result.n, result.df) == (golden["n"], golden["df"])
    assert result.all_tied == golden["all_tied_blocks"]
    assert list(result.mean_rank) == close(list(golden["mean_rank"].values()))
    assert result.chi2 == close(golden["statistic"])
    assert result.p_chi2 == close(golden["p"])
    assert result.p_exact == close(golden["p_exact_conditional"])
    assert close(golden["kendall_w"]) == result.W
    assert result.reason is None


def test_friedman_of_tied_blocks_has_p_1_and_no_statistic():
    assert expected("friedman_degenerate")["r_statistic"] is None
    result = friedman(columns("ratings_all_tied"))

    assert (result.chi2, result.W) == (None, None)
    assert (result.p_chi2, result.p_exact) == (1, 1)
    assert result.mean_rank == (2, 2, 2)
    assert result.all_tied == result.n == 5
    assert result.reason == "all blocks tied"


@pytest.mark.parametrize("name", ["depression", "maize", "pr3666", "ordinal_freq"])
def test_wilcoxon_agrees_with_r(name):
    table = columns(name)
    golden = expected("wilcoxon")[name]
    result = wilcoxon(
        table[:, 0] - table[:, 1] if name == "depression" else table[:, 0]
    )

    for key in ("n", "n_zero", "n_pos", "n_neg"):
        assert getattr(result, key) == golden[key]
    for key, theirs in {
        "W_plus": "V_plus",
        "W_minus": "V_minus",
        "z": "wilcox_z",
        "p": "wilcox_p",
        "p_exact": "wilcox_p_exact_conditional",
        "p_pratt": "pratt_p_exact_conditional",
        "p_pratt_asymptotic": "pratt_p",
        "mean_diff": "mean_difference",
        "hl_shift": "hodges_lehmann_walsh_median",
        "rbc": "rank_biserial",
    }.items():
        assert getattr(result, key) == close(golden[theirs]), key
    assert result.reason is None


def test_wilcoxon_of_zeros_has_p_1_and_no_effect_size():
    golden, result = (
        expected("wilcoxon")["all_zero"],
        wilcoxon(columns("all_zero")[:, 0]),
    )

    assert (result.n, result.n_zero) == (golden["n"], golden["n_zero"]) == (6, 6)
    assert (result.p, result.p_exact, result.p_pratt) == (1, 1, 1)
    assert (result.W_plus, result.W_minus) == (0, 0)
    assert (result.mean_diff, result.hl_shift) == (0, 0)
    assert (result.rbc, result.z) == (golden["rank_biserial"], None)
    assert result.reason == "all differences are zero"


def test_without_blocks_nothing_is_defined():
    assert friedman(np.empty((0, 3))) == Friedman(0, 0, reason="no complete block")
    result = wilcoxon(np.empty(0))
    assert (result.n, result.p, result.rbc) == (0, None, None)
    assert result.reason == "no complete block"


def test_one_block_is_enough():
    assert friedman(np.array([[0.0, 1, 2]])).chi2 == pytest.approx(2)
    assert wilcoxon(np.array([-3.0])).z == pytest.approx(-1)


@SETTINGS
@given(blocks=some_blocks)
def test_friedman_is_the_ratio_of_its_textbook(blocks):
    """Between-treatment over mean within-block sum of squares of the ranks."""
    ranks = stats.rankdata(blocks, axis=1)
    result = friedman(np.array(blocks, float))
    within = ((ranks - 2) ** 2).sum() / (2 * len(ranks))
    if within == 0:
        assert result.chi2 is None
    else:
        between = len(ranks) * ((ranks.mean(axis=0) - 2) ** 2).sum()
        assert result.chi2 == pytest.approx(between / within)
        assert 0 <= result.W <= 1 + 1e-12


@SETTINGS
@given(d=st.lists(st.integers(-5, 5), min_size=1, max_size=20).filter(any))
def test_wilcoxon_is_the_normal_approximation_of_its_textbook(d):
    nonzero = [x for x in d if x]
    ranks = [
        sum(abs(y) < abs(x) for y in nonzero)
        + (sum(abs(y) == abs(x) for y in nonzero) + 1) / 2
        for x in nonzero
    ]
    plus = sum(rank for rank, x in zip(ranks, nonzero, strict=True) if x > 0)
    z = (plus - sum(ranks) / 2) / (sum(rank**2 for rank in ranks) / 4) ** 0.5
    walsh = [(a + b) / 2 for i, a in enumerate(d) for b in d[i:]]
    result = wilcoxon(np.array(d, float))

    assert (result.W_plus, result.W_minus) == (plus, sum(ranks) - plus)
    assert result.z == pytest.approx(z, abs=1e-12)
    assert result.p == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert result.hl_shift == pytest.approx(np.median(walsh))
    assert result.rbc == pytest.approx(2 * plus / sum(ranks) - 1)


@SETTINGS
@given(blocks=some_blocks)
def test_reversing_the_scale_changes_signs_and_nothing_else(blocks):
    there = np.array(blocks, float)
    back = 5 - there
    f, g = friedman(there), friedman(back)
    v, w = (wilcoxon(values[:, 0] - values[:, 1]) for values in (there, back))

    assert f.chi2 == pytest.approx(g.chi2)
    assert f.p_exact == pytest.approx(g.p_exact)
    assert f.mean_rank == pytest.approx([4 - rank for rank in g.mean_rank])
    assert (v.n_pos, v.W_plus, v.p, v.p_exact) == (w.n_neg, w.W_minus, w.p, w.p_exact)
    assert (v.mean_diff, v.hl_shift) == (-w.mean_diff, -w.hl_shift)
    assert v.z is w.z is None or (v.z, v.rbc) == (-w.z, -w.rbc)


def test_equal_differences_of_means_stay_tied():
    """7/6 - 5/6 and 4/6 - 2/6 are a third each, but not to the last bit."""
    trap = np.array([7 / 6 - 5 / 6, -(4 / 6 - 2 / 6), 1.0, -1.0])
    assert trap[0] != -trap[1]

    result = wilcoxon(trap)
    assert (result.W_plus, result.W_minus, result.p) == (5, 5, 1)
    assert stats.wilcoxon(trap, method="asymptotic").pvalue < 0.9


def test_means_over_readers_give_the_p_of_their_sums():
    """The planted null of the golden study; statistics.md measured .0427 and .0502."""
    study = read_ratings(STATISTICS / "inputs" / "reader_study.csv")
    values, _ = study.part("all", "mri")
    sums = values[:, ~np.isnan(values).any(axis=(0, 2))].sum(axis=0)
    sums_p = wilcoxon(sums[:, 1] - sums[:, 2]).p
    means = sums / 6
    differences = means[:, 1] - means[:, 2]

    assert wilcoxon(differences).p == pytest.approx(sums_p, rel=1e-12)
    assert sums_p == pytest.approx(0.0427, abs=5e-5)
    untreated = stats.wilcoxon(differences, method="asymptotic").pvalue
    assert untreated == pytest.approx(0.0502, abs=5e-5)


def test_the_divisor_brings_sums_to_rating_points():
    sums = np.array([6.0, -3, 12, 0])
    result, per_reader = wilcoxon(sums, divisor=6), wilcoxon(sums / 6)

    assert (result.mean_diff, result.hl_shift) == (2.5 / 4, per_reader.hl_shift)
    assert (result.W_plus, result.p) == (per_reader.W_plus, per_reader.p)


@pytest.mark.parametrize("name", sorted(expected("holm")))
def test_holm_agrees_with_r(name):
    golden = expected("holm")[name]

    assert holm(golden["p"]) == close(golden["holm"])


def test_exact_p_is_left_out_with_the_reason_where_it_would_take_long(monkeypatch):
    monkeypatch.setattr(rank_tests, "FRIEDMAN_EXACT", 3)
    monkeypatch.setattr(rank_tests, "WILCOXON_EXACT", 3)
    four = np.array([[0.0, 1, 2]] * 4)

    assert friedman(four[:3]).p_exact is not None
    assert friedman(four).p_exact is None
    assert friedman(four).reason == "exact P is computed up to 3 blocks"
    result = wilcoxon(four[:, 1])
    assert (result.p_exact, result.p_pratt) == (None, None)
    assert result.reason == "exact P is computed up to 3 blocks"
