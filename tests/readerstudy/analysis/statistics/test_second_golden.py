"""Rank tests of ratings with gaps and of two to six arms, against R's results."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.analysis.statistics import effect_bounds, many_arms
from readerstudy.analysis.statistics.effect_bounds import (
    corrected_w,
    mean_interval,
    one_sided_bound,
    shift_interval,
    w_interval,
)
from readerstudy.analysis.statistics.exact_tests import friedman_p
from readerstudy.analysis.statistics.many_arms import friedman_tail
from readerstudy.analysis.statistics.multiplicity import (
    holm,
    shaffer,
    shaffer_multipliers,
)
from readerstudy.analysis.statistics.rank_tests import (
    friedman,
    sign_test_p,
    wilcoxon,
)
from readerstudy.analysis.units import units
from tests.readerstudy.analysis.statistics.second_golden import (
    STUDIES,
    expected,
    golden_ratings,
    refused,
)

SETTINGS = settings(max_examples=100, deadline=None)
AVAILABLE = [study for study in STUDIES if "available" in expected(study)]
MANY = [study for study in STUDIES if "pairs_own_cells" in expected(study)]


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def pooled(study, pooling="available"):
    (unit,) = (
        unit
        for unit in units(golden_ratings(study))
        if (unit.pooling, unit.dataset) == (pooling, "d")
    )
    return unit


def columns(study, pair):
    variants = golden_ratings(study).variants
    return [variants.index(name) for name in pair.split("-")]


@pytest.mark.parametrize("study", AVAILABLE)
def test_available_images_are_those_of_r(study):
    theirs, unit = expected(study)["available"], pooled(study)

    assert unit.divisor == theirs["lcm"]
    assert (unit.blocks == np.rint(unit.blocks)).all()
    assert unit.n_readers == max(map(int, theirs["readers_per_image"]))
    ratings = sum(int(n) * m for n, m in theirs["readers_per_image"].items())
    assert unit.n_ratings == ratings * len(expected(study)["arms"])
    assert unit.n_images + unit.images_left_out == expected(study)["images"]
    assert pooled(study, "complete").n_images == expected(study)["complete"]["n"]


@pytest.mark.parametrize("study", AVAILABLE)
def test_friedman_of_available_images_agrees_with_r(study):
    theirs = expected(study)["available"]["friedman"]
    result = friedman(pooled(study).blocks)

    assert (result.n, result.all_tied) == (theirs["n"], theirs["all_tied"])
    assert list(result.mean_rank) == close(theirs["mean_rank"])
    if "sign_test" in theirs:
        assert result.p_exact == close(theirs["sign_test"]["p_exact"])
        assert result.chi2 is None
    else:
        assert (result.chi2, result.p_chi2) == (
            close(theirs["chi2"]),
            close(theirs["p_chi2"]),
        )
        assert close(theirs["W"]) == result.W
    if "p_exact" in theirs:
        assert (result.p_exact, result.p_exact_se) == (close(theirs["p_exact"]), None)
    elif "p_montecarlo" in theirs:
        assert result.p_exact_se < 0.002
        error = np.hypot(result.p_exact_se, theirs["p_montecarlo_se"])
        assert abs(result.p_exact - theirs["p_montecarlo"]) < 4 * error


@pytest.mark.parametrize("study", AVAILABLE)
def test_kendalls_w_has_the_interval_of_r(study):
    theirs = expected(study)["available"]["friedman"]
    k = len(expected(study)["arms"])

    assert corrected_w(theirs["W"], theirs["n"]) == close(theirs["W_corrected"])
    ends = w_interval(theirs["chi2"], theirs["n"], k)
    assert ends == (close(theirs["W_lo"]), close(theirs["W_hi"]))


@pytest.mark.parametrize("study", AVAILABLE)
def test_pairs_of_available_images_agree_with_r(study):
    unit, theirs = pooled(study), expected(study)["available"]["pairs"]
    for pair in theirs:
        a, b = columns(study, pair["pair"])
        d = unit.blocks[:, a] - unit.blocks[:, b]
        result = wilcoxon(d, unit.divisor)
        for name in ("n", "n_zero", "n_pos", "n_neg"):
            assert getattr(result, name) == pair[name]
        for name in ("p", "p_exact", "p_pratt", "rbc", "mean_diff"):
            assert getattr(result, name) == close(pair[name])
        assert result.hl_shift == close(pair["hl"]["estimate"])
        assert mean_interval(d, unit.divisor) == close(
            (pair["mean_lo"], pair["mean_hi"])
        )
        nonzero = result.n_pos + result.n_neg
        assert one_sided_bound(nonzero) == close(pair["sign_bound"])
        assert_shift(d, unit.divisor, pair["hl"])
    exact = [pair["p_exact"] for pair in theirs]
    assert holm(exact) == close([pair["p_holm_exact"] for pair in theirs])
    k = len(expected(study)["arms"])
    assert shaffer(exact, k) == close([pair["p_shaffer_gated"] for pair in theirs])


def assert_shift(d, divisor, theirs):
    """Their ends are rounded to 1e-9, and whether one is open was asked there: beside
    the Walsh average, where P is another, unless the end has so few digits."""
    interval = shift_interval(d, divisor)
    ends = (interval.low, theirs["lo"]), (interval.high, theirs["hi"])
    for ours, rounded in ends:
        assert ours == pytest.approx(rounded, abs=1e-8)
    if round(interval.low, 9) == pytest.approx(interval.low, abs=1e-13):
        assert interval.low_open == theirs["lo_open"]
    if round(interval.high, 9) == pytest.approx(interval.high, abs=1e-13):
        assert interval.high_open == theirs["hi_open"]


@pytest.mark.parametrize("study", MANY)
def test_pairs_on_their_own_cells_agree_with_r(study):
    unit, theirs = pooled(study), expected(study)["pairs_own_cells"]
    exact = []
    for golden in theirs:
        pair = unit.pair(*columns(study, golden["pair"]))
        result = wilcoxon(pair.differences, pair.divisor)
        assert (pair.n_images, pair.divisor) == (golden["n"], golden["lcm"])
        assert pair.n_ratings == 2 * golden["cells"]
        assert result.mean_diff == close(golden["mean_diff"])
        assert result.hl_shift == close(golden["hl"]["estimate"])
        assert result.p_exact == close(golden["p_exact"])
        assert_shift(pair.differences, pair.divisor, golden["hl"])
        exact.append(result.p_exact)
    assert holm(exact) == close([pair["p_holm_exact"] for pair in theirs])
    k = len(expected(study)["arms"])
    assert shaffer(exact, k) == close([pair["p_shaffer_gated"] for pair in theirs])


def test_answers_of_yes_and_no_agree_with_cochran_and_mcnemar():
    study = "f4_6x20x3_cannot"
    outcome, ratings = refused(study), golden_ratings(study)
    for theirs in expected(study)["cannot_judge"]["per_reader"]:
        table = outcome[ratings.readers.index(theirs["reader"])]
        result = friedman(table)
        assert (result.chi2, result.p_chi2) == (
            close(theirs["cochran_Q"]),
            close(theirs["p"]),
        )
        for pair in theirs["mcnemar"]:
            a, b = columns(study, pair["pair"])
            p = sign_test_p(table[:, a] - table[:, b])
            assert p == close(pair["p_exact"])
            assert p == close(wilcoxon(table[:, a] - table[:, b]).p_exact)


def test_shaffers_multipliers_are_those_of_three_to_six_arms():
    assert shaffer_multipliers(2) == (1,)
    assert shaffer_multipliers(3) == (1, 1, 1)
    assert shaffer_multipliers(4) == (3, 3, 3, 3, 2, 1)
    assert shaffer_multipliers(5) == (6, 6, 6, 6, 6, 4, 4, 3, 2, 1)
    assert shaffer_multipliers(6) == (*[10] * 6, 7, 7, 7, 6, 4, 4, 3, 2, 1)


@SETTINGS
@given(
    p_values=st.lists(st.floats(1e-9, 1), min_size=6, max_size=6),
)
def test_shaffer_never_asks_more_than_holm(p_values):
    ours, his = shaffer(p_values, 4), holm(p_values)

    assert all(p <= a <= b for p, a, b in zip(p_values, ours, his, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert sorted(ours) == [ours[i] for i in order]


values = st.integers(-12, 12)


@SETTINGS
@given(d=st.lists(values, min_size=1, max_size=20), divisor=st.sampled_from([1, 6]))
def test_zero_is_a_shift_that_is_accepted_where_p_says_so(d, divisor):
    d = np.array(d, float)
    interval = shift_interval(d, divisor)
    inside = True
    if interval.low is not None:
        inside = interval.low < 0 or (interval.low == 0 and not interval.low_open)
    if interval.high is not None:
        above = interval.high > 0 or (interval.high == 0 and not interval.high_open)
        inside = inside and above

    assert inside == (wilcoxon(d).p_exact >= 0.05)


@SETTINGS
@given(d=st.lists(values, min_size=6, max_size=20))
def test_the_interval_of_the_shift_has_its_estimate_and_turns_with_the_sign(d):
    d = np.array(d, float)
    there, back = shift_interval(d), shift_interval(-d)

    assert there.low <= wilcoxon(d).hl_shift <= there.high
    assert (there.low, there.high) == (-back.high, -back.low)
    assert (there.low_open, there.high_open) == (back.high_open, back.low_open)


@pytest.mark.parametrize("seed", range(6))
def test_of_many_differences_no_shift_is_decided_by_approximation(monkeypatch, seed):
    d = np.random.default_rng(seed).integers(-9, 12, 60 + 20 * seed).astype(float)
    short = shift_interval(d, 6)
    monkeypatch.setattr(effect_bounds, "_MANY", 10**6)
    effect_bounds._inverted.cache_clear()

    assert shift_interval(d, 6) == short


def test_five_differences_bound_no_shift():
    interval = shift_interval(np.arange(5.0))

    assert (interval.low, interval.high) == (None, None)
    assert shift_interval(np.arange(6.0)).low is not None


@SETTINGS
@given(
    blocks=st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=2, max_size=9).filter(
        lambda rows: any(len(set(row)) > 1 for row in rows)
    )
)
def test_enumeration_and_monte_carlo_agree_with_the_exact_p_of_three(blocks):
    table = np.array(blocks, float)
    exact = friedman_p(table)
    many_arms.ENUMERATED[3] = 9
    try:
        enumerated = friedman_tail(table, 0.05, 0)
        many_arms.ENUMERATED[3] = 0
        drawn = friedman_tail(table, 1e-9, 0)
    finally:
        del many_arms.ENUMERATED[3]

    assert (enumerated.p, enumerated.se) == (pytest.approx(exact, rel=1e-9), None)
    assert abs(drawn.p - exact) < 5 * max(drawn.se, 1e-5)


def test_more_is_drawn_where_p_is_near_the_level(monkeypatch):
    blocks = np.random.default_rng(2).integers(0, 6, (40, 4)).astype(float)
    monkeypatch.setattr(many_arms, "DRAWS", 999)
    monkeypatch.setattr(many_arms, "MORE_DRAWS", 9_999)
    far = friedman_tail(blocks, 1e-6, 0)
    near = friedman_tail(blocks, far.p, 0)

    assert near.se < far.se / 2
    assert friedman_tail(blocks, 1e-6, 0) == far


@pytest.mark.parametrize("study", [*MANY, "f1_4x24x3_mcar8"])
def test_results_do_not_hang_on_the_order_of_images(study):
    blocks = pooled(study).blocks
    turned = friedman(blocks[::-1])

    assert turned.p_exact == close(friedman(blocks).p_exact)
