import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlcore.evaluation import resampling
from mlcore.evaluation.resampling import bootstrap_mean_interval


def interval(values, *, redraws=2000, seed=1, **options):
    rng = np.random.default_rng(seed)
    return bootstrap_mean_interval(values, redraws=redraws, rng=rng, **options)


def slow_interval(values, redraws, rng):
    """Redraw the cases one after the other."""
    n = len(values)
    means = []
    for _ in range(redraws):
        counts = rng.multinomial(n, np.full(n, 1 / n))
        redrawn = np.concatenate(
            [np.repeat(values[case, None], counts[case], axis=0) for case in range(n)]
        )
        means.append(redrawn.mean(axis=0))
    means = np.array(means)
    return np.quantile(means, 0.025, axis=0), np.quantile(means, 0.975, axis=0)


@pytest.fixture
def values():
    """40 cases, two columns: one skewed, one not."""
    rng = np.random.default_rng(3)
    return np.stack([rng.exponential(2, 40), rng.normal(1, 0.5, 40)], axis=1)


def test_it_redraws_whole_cases(values):
    got = interval(values, redraws=200, seed=5)
    expected = slow_interval(values, 200, np.random.default_rng(5))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_it_is_scipys_percentile_interval_up_to_the_sampling_error(values, level):
    low, high = interval(values, redraws=20_000, level=level)
    for column in range(2):
        expected = stats.bootstrap(
            (values[:, column],),
            np.mean,
            n_resamples=20_000,
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(9),
        ).confidence_interval
        # Both ends wander by about 0.02 standard errors of the mean; five times that.
        error = 0.1 * stats.sem(values[:, column])
        assert low[column] == pytest.approx(expected.low, abs=error)
        assert high[column] == pytest.approx(expected.high, abs=error)


def test_the_same_seed_gives_the_same_interval_and_another_another(values):
    np.testing.assert_array_equal(interval(values), interval(values))
    assert not np.array_equal(interval(values), interval(values, seed=2))


def test_the_interval_does_not_depend_on_how_many_redraws_are_held_at_a_time(
    values, monkeypatch
):
    at_once = interval(values, redraws=101)
    monkeypatch.setattr(resampling, "_CHUNK", 7 * len(values))
    np.testing.assert_allclose(interval(values, redraws=101), at_once, rtol=1e-12)
    monkeypatch.setattr(resampling, "_CHUNK", 1)
    np.testing.assert_allclose(interval(values, redraws=101), at_once, rtol=1e-12)


def test_columns_and_calls_with_the_same_seed_see_the_same_redraws(values):
    one = values[:, :1]
    shifted = np.hstack([one, one + 3, 2 * one])
    low, high = interval(shifted)
    for end, alone in ((low, interval(one)[0][0]), (high, interval(one)[1][0])):
        np.testing.assert_allclose(end, [alone, alone + 3, 2 * alone], rtol=1e-12)


def test_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(11)
    held = 0
    for seed in range(200):
        low, high = interval(rng.normal(5, 2, (80, 1)), redraws=400, seed=seed)
        held += bool(low[0] <= 5 <= high[0])
    # Four standard errors of 0.95 below; a percentile interval is a little narrow.
    assert 0.88 < held / 200 < 0.99


@given(
    cases=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_interval_lies_within_the_values(cases, seed):
    values = np.array(cases)[:, None]
    low, high = interval(values, redraws=50, seed=seed)
    slack = 1e-9 * (1 + np.abs(values).max())
    assert values.min() - slack <= low[0] <= high[0] + slack
    assert high[0] <= values.max() + slack


def test_a_single_case_has_no_width():
    low, high = interval(np.array([[0.3, 0.7]]), redraws=10)
    np.testing.assert_allclose(low, [0.3, 0.7])
    np.testing.assert_allclose(high, [0.3, 0.7])
