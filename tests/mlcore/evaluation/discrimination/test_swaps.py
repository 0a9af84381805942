import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlcore.engine.model.predict import auc
from mlcore.evaluation.discrimination import swaps as swaps_module
from mlcore.evaluation.discrimination.metrics import discriminate
from mlcore.evaluation.discrimination.resampling import number_patients
from mlcore.evaluation.discrimination.swaps import (
    differences,
    pair_models,
    swap_test,
    toss,
)
from tests.conftest import GOLDEN
from tests.mlcore.evaluation.discrimination.test_metrics import close, table

GOLD = json.loads(
    (GOLDEN / "statistics" / "expected" / "swap_and_redraw.json").read_text()
)


def swapping(first, second, labels, *, swaps=2000, ranked=False, seed=1, **options):
    rng = np.random.default_rng(seed)
    return swap_test(
        first, second, labels, swaps=swaps, ranked=ranked, rng=rng, **options
    )


def all_swaps(n):
    return np.array(list(itertools.product([False, True], repeat=n))).T


def enumerated(first, second, labels, *, ranked=False):
    """Every swap of the cases there is: 3 differences by 2^n, the first unswapped."""
    pair = pair_models(first, second, labels, ranked=ranked)
    return differences(pair, all_swaps(len(labels)))


def slow_differences(first, second, labels, swapped):
    """Swap the scores themselves; in counts, as `differences`."""
    n_pos, n_neg = np.sum(labels == 1), np.sum(labels == 0)
    columns = []
    for case_swaps in swapped.T:
        one, other = (
            discriminate(np.where(case_swaps, theirs, own), labels)
            for own, theirs in ((first, second), (second, first))
        )
        columns.append(
            [
                (one.auc - other.auc) * 2 * n_pos * n_neg,
                (one.best.sensitivity - other.best.sensitivity) * n_pos,
                (one.best.specificity - other.best.specificity) * n_neg,
            ]
        )
    return np.array(columns).T


@pytest.fixture
def swap12():
    columns = table("swap12")
    return columns["a"], columns["b"], columns["truth"]


@pytest.fixture
def models():
    """A good and a poor model, the second on a scale of its own; 120 cases."""
    rng = np.random.default_rng(8)
    labels = np.repeat([1.0, 0.0], [40, 80])
    first = rng.normal(size=120) + 2 * labels
    second = (rng.normal(size=120) + 0.8 * labels) / 50 - 10
    return first, second, labels


def test_all_swaps_agree_with_r(swap12):
    golden = GOLD["swap_all_4096"]
    found = enumerated(*swap12)[0]
    observed = found[0]
    assert observed / 70 == close(GOLD["auc"]["delta"])
    assert np.mean(found >= observed) == close(golden["p_one_sided_ge"])
    assert np.mean(found > observed) == close(golden["p_one_sided_gt_strict"])
    assert np.mean(abs(found) >= observed) == close(golden["p_two_sided_abs_ge"])


def test_random_swaps_come_close_to_all_of_them(swap12):
    golden = GOLD["swap_all_4096"]
    result = swapping(*swap12, swaps=40_000)
    assert result.auc.difference == close(GOLD["auc"]["delta"])
    # Five standard errors.
    assert result.auc.p_share == pytest.approx(
        golden["p_one_sided_gt_strict"], abs=0.005
    )
    assert result.auc.p == pytest.approx(golden["p_two_sided_abs_ge"], abs=0.008)


@pytest.mark.parametrize("ranked", [False, True])
def test_all_swaps_are_scipys_permutation_test(swap12, ranked):
    first, second, labels = swap12
    if ranked:
        first, second = stats.rankdata(first), stats.rankdata(second)
    oracle = stats.permutation_test(
        (first, second),
        lambda one, other: round(auc(one, labels) - auc(other, labels), 12),
        permutation_type="samples",
        n_resamples=5000,
        vectorized=False,
    )
    found = enumerated(*swap12, ranked=ranked)[0]
    assert found[0] / 70 == pytest.approx(oracle.statistic)
    assert np.mean(abs(found) >= abs(found[0])) == pytest.approx(oracle.pvalue)
    np.testing.assert_allclose(
        np.sort(found / 70), np.sort(oracle.null_distribution), atol=1e-11
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=6),
    st.data(),
)
def test_weighing_by_zero_and_one_is_swapping_the_scores(scores, data):
    first, second = np.array(scores, float).T
    labels = np.array([0.0, 1.0, *(data.draw(st.integers(0, 1)) for _ in scores[2:])])
    np.testing.assert_allclose(
        enumerated(first, second, labels),
        slow_differences(first, second, labels, all_swaps(len(labels))),
        atol=1e-9,
    )


def test_exchanging_the_models_turns_the_sign_and_nothing_else(models):
    first, second, labels = models
    one, other = swapping(first, second, labels), swapping(second, first, labels)
    for name in ("auc", "sensitivity", "specificity"):
        here, there = getattr(one, name), getattr(other, name)
        assert here.difference == -there.difference
        assert (here.p_share, here.p) == (there.p_share, there.p)


def test_ranks_see_a_difference_that_raw_scores_of_two_scales_hide(models):
    first, second, labels = models
    raw, ranked = swapping(*models), swapping(*models, ranked=True)
    assert raw.auc.difference == ranked.auc.difference > 0.15
    assert raw.auc.p > 0.05
    assert ranked.auc.p < 0.005
    assert ranked == swapping(np.exp(first), 3 * second, labels, ranked=True)


def test_models_that_score_alike_differ_in_nothing(models):
    first, _, labels = models
    result = swapping(first, first, labels)
    for p in (result.auc, result.sensitivity, result.specificity):
        assert (p.difference, p.p_share, p.p) == (0, 0, 1)


def test_p_is_never_zero_and_the_share_may_be(models):
    result = swapping(*models, ranked=True, swaps=99)
    assert (result.auc.p, result.auc.p_share) == (0.01, 0)


def test_equal_models_are_rejected_as_often_as_the_level_says():
    rng = np.random.default_rng(5)
    labels = np.repeat([1.0, 0.0], [20, 40])
    rejected = [
        swapping(
            *(rng.normal(size=(2, 60)) + labels), labels, swaps=199, ranked=ranked
        ).auc.p
        <= 0.1
        for _ in range(300)
        for ranked in (False, True)
    ]
    # Three to four standard errors of 0.1 (the two forms go together).
    assert 0.04 < np.mean(rejected) < 0.16


def test_patients_are_swapped_whole():
    patients = ["a", "b", "a", "c", "b", "a"]
    swapped = toss(number_patients(patients, 6), np.random.default_rng(1))
    assert swapped.shape == (6, swaps_module._BLOCK)
    np.testing.assert_array_equal(swapped[0], swapped[2])
    np.testing.assert_array_equal(swapped[0], swapped[5])
    np.testing.assert_array_equal(swapped[1], swapped[4])
    assert len(np.unique(swapped[[0, 1, 3]], axis=1).T) == 8


def test_cases_doubled_within_their_patients_change_no_p(models):
    alone = swapping(*models, ranked=True)
    doubled = swapping(
        *(np.repeat(values, 2) for values in models),
        ranked=True,
        patients=list(np.repeat(np.arange(120), 2)),
    )
    as_if_independent = swapping(
        *(np.repeat(values, 2) for values in models), ranked=True
    )
    assert (doubled.auc.p, doubled.auc.p_share) == (alone.auc.p, alone.auc.p_share)
    assert as_if_independent.auc.p <= alone.auc.p


def test_unknown_labels_leave_the_swaps_of_the_other_cases_alone(models):
    first, second, labels = models
    extended = [
        np.append(values, extra)
        for values, extra in (
            (first, [9, 9]),
            (second, [9, -9]),
            (labels, [np.nan, np.nan]),
        )
    ]
    assert swapping(*extended).auc.difference == swapping(*models).auc.difference
    gaps = labels.copy()
    gaps[:3] = np.nan
    swapped = toss(np.arange(120), np.random.default_rng(1).spawn(1)[0])[3:]
    pair = pair_models(first, second, gaps, ranked=False)
    found = differences(pair, swapped)[0]
    observed = differences(pair, np.zeros((117, 1), bool))[0]
    result = swapping(first, second, gaps, swaps=64)
    assert result.auc.p == (np.sum(abs(found) >= abs(observed)) + 1) / 65


def test_the_number_of_swaps_is_kept_to(models, monkeypatch):
    blocks = []
    monkeypatch.setattr(
        swaps_module,
        "differences",
        lambda pair, swapped: (
            blocks.append(swapped.shape[1]) or differences(pair, swapped)
        ),
    )
    swapping(*models, swaps=150)
    assert blocks == [1, 64, 64, 22]  # the first is the observed one


def test_without_positives_there_is_no_test():
    result = swapping([1, 2, 3], [2, 3, 1], [0, 0, np.nan])
    assert (result.auc, result.sensitivity, result.specificity) == (None,) * 3
    assert result.reason == "no positive case"
