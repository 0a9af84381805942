import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlcore.evaluation.discrimination.delong import delong, delong_test
from tests.conftest import GOLDEN
from tests.mlcore.evaluation.discrimination.test_metrics import (
    GOLDEN_SCORES,
    close,
    table,
)

ROC = json.loads((GOLDEN / "statistics" / "expected" / "roc.json").read_text())


def ovarian(*names):
    columns = table("delong_ovarian")
    return delong(np.stack([columns[name] for name in names], 1), columns["truth"])


def slow_delong(scores, labels):
    """Every positive against every negative, as in the paper."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    gap = positive[:, None] - negative[None]
    wins = (gap > 0) + (gap == 0) / 2
    covariance = sum(
        np.atleast_2d(np.cov(wins.mean(axis=1 - axis).T)) / wins.shape[axis]
        for axis in (0, 1)
    )
    return wins.mean(axis=(0, 1)), covariance


@pytest.mark.parametrize("name", GOLDEN_SCORES)
def test_area_and_variance_agree_with_r(name):
    source, column, golden = GOLDEN_SCORES[name]
    columns = table(source)
    result = delong(columns[column][:, None], columns["truth"])
    assert (result.n_pos, result.n_neg) == (golden["n_pos"], golden["n_neg"])
    assert result.auc[0] == close(golden["auc"])
    assert result.covariance[0, 0] == close(golden["delong_var"])


@pytest.mark.parametrize("name", ROC["delong_pairs"])
def test_paired_tests_agree_with_r(name):
    golden = ROC["delong_pairs"][name]
    result = ovarian(*name.split("_"))
    test = delong_test(result, 0, 1)
    assert list(result.auc) == close([golden["auc_a"], golden["auc_b"]])
    assert test.difference == close(golden["delta"])
    assert test.z == close(golden["z"])
    assert test.p == close(golden["p"])
    assert test.se == close(golden["delta"] / golden["z"])
    turned = delong_test(result, 1, 0)
    assert (turned.difference, turned.z, turned.p) == close(
        (-test.difference, -test.z, test.p)
    )


def test_the_covariance_of_three_agrees_with_r():
    golden = ROC["delong_three"]
    result = ovarian(*golden["order"])
    assert list(result.auc) == close(golden["auc"])
    for got, expected in zip(result.covariance, golden["covariance"], strict=True):
        assert list(got) == close(expected)
    contrasts = np.array([[1, 0, -1], [0, 1, -1]])
    apart = contrasts @ result.auc
    chisq = apart @ np.linalg.solve(contrasts @ result.covariance @ contrasts.T, apart)
    assert chisq == close(golden["chisq"])
    assert stats.chi2.sf(chisq, 2) == close(golden["p"])


@settings(deadline=None)
@given(
    st.integers(2, 8),
    st.integers(2, 8),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_midranks_give_what_every_pair_of_cases_gives(n_pos, n_neg, models, random):
    labels = np.array([1] * n_pos + [0] * n_neg)
    scores = np.array(
        [[random.randint(0, 5) for _ in range(models)] for _ in labels], float
    )
    result = delong(scores, labels)
    auc, covariance = slow_delong(scores, labels)
    np.testing.assert_allclose(result.auc, auc, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)


def test_cases_of_unknown_label_are_left_out():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(40, 2)), np.tile([0.0, 1.0], 20)
    labels[:5] = np.nan
    result, without = delong(scores, labels), delong(scores[5:], labels[5:])
    np.testing.assert_array_equal(result.covariance, without.covariance)
    assert (result.n_pos, result.n_neg) == (18, 17)


def test_without_positives_nothing_is_defined():
    result = delong([[0.1, 0.2], [0.3, 0.4]], [0, 0])
    assert (result.auc, result.covariance) == (None, None)
    assert result.reason == "no positive case"
    assert delong_test(result, 0, 1).p is None
    assert delong_test(result, 0, 1).reason == "no positive case"


def test_one_positive_gives_an_area_without_a_variance():
    result = delong([[0.1, 0.4], [0.3, 0.2], [0.2, 0.3]], [0, 0, 1])
    assert list(result.auc) == [0.5, 0.5]
    assert result.covariance is None
    test = delong_test(result, 0, 1)
    assert (test.difference, test.p, test.reason) == (0, None, "only one positive case")


def test_models_that_rank_alike_are_not_tested():
    rng = np.random.default_rng(3)
    scores, labels = rng.normal(size=200), rng.integers(0, 2, 200)
    result = delong(np.stack([scores, 3 * scores - 7], 1), labels)
    test = delong_test(result, 0, 1)
    assert (test.difference, test.se, test.z, test.p) == (0, 0, None, None)
    assert test.reason == "the difference does not vary"


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(cases, models\), not \(3,\)"):
        delong([0.1, 0.2, 0.3], [0, 1, 1])
