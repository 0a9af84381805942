import numpy as np
import pytest

from mlcore.evaluation.discrimination.resampling import number_patients, redraw_counts
from mlcore.evaluation.localization.redraw_means import (
    count_known,
    interval_limits,
    redraw_means,
)


def slow_means(values, unit_of_case, redraws, seed):
    """Redraw after redraw, column after column, case after case."""
    blocks = np.random.default_rng(seed).spawn(-(-redraws // 64))
    counts = np.concatenate([redraw_counts(unit_of_case, rng).T for rng in blocks])
    means = np.empty((redraws, values.shape[1]))
    for redraw, column in np.ndindex(means.shape):
        redrawn = []
        for case, value in enumerate(values[:, column]):
            if not np.isnan(value):
                redrawn += [value] * int(counts[redraw, case])
        means[redraw, column] = np.mean(redrawn) if redrawn else np.nan
    return means


@pytest.fixture
def values():
    """Nine cases, three columns: one full, one with holes, one all but empty."""
    values = np.random.default_rng(2).normal(size=(9, 3))
    values[[1, 5], 1] = np.nan
    values[1:, 2] = np.nan
    return values


@pytest.mark.parametrize("patients", [None, list("aabbcddde")])
def test_it_is_the_mean_of_the_redrawn_cases_with_a_value(values, patients):
    units = number_patients(patients, 9)
    got = redraw_means(values, units, redraws=100, seed=4)
    np.testing.assert_allclose(got, slow_means(values, units, 100, 4), rtol=1e-12)
    assert 0 < np.isnan(got[:, 2]).sum() < 100


def test_further_axes_are_columns_too(values):
    units = np.arange(9)
    flat = redraw_means(values[:, :2], units, redraws=70, seed=4)
    shaped = redraw_means(values[:, :2].reshape(9, 2, 1), units, redraws=70, seed=4)
    np.testing.assert_array_equal(shaped, flat.reshape(70, 2, 1))


def test_differences_of_columns_are_paired():
    one = np.random.default_rng(1).normal(size=20)
    values = np.stack([one, one + 0.5], axis=1)
    means = redraw_means(values, np.arange(20), redraws=65, seed=1)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.5)
    assert means[:, 0].std() > 0.1


def test_the_first_redraws_do_not_depend_on_how_many_follow(values):
    few, many = (
        redraw_means(values, np.arange(9), redraws=n, seed=1) for n in (10, 130)
    )
    np.testing.assert_array_equal(few, many[:10])


def test_it_counts_cases_patients_and_holes():
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan])
    units = number_patients(list("aabbc"), 5)
    assert count_known(values, units) == {"n": 3, "patients": 2, "undefined": 2}


def test_interval_limits_are_the_middle_95_percent():
    draws = np.arange(1001) / 1000
    assert interval_limits(draws, 2) == pytest.approx((0.025, 0.975))


def test_one_patient_has_no_interval_limits():
    assert interval_limits(np.full(100, 0.5), 1) == (None, None)
