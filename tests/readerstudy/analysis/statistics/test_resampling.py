"""Redraws: what a seed means, and intervals against a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.analysis.statistics import resampling
from readerstudy.analysis.statistics.resampling import Bootstrap, Interval, percentiles

SETTINGS = settings(max_examples=25, deadline=None)


def drawn(images, redraws, seed=0):
    """(redraws, images): the counts that a statistic is given."""
    seen = []

    def statistic(counts):
        seen.append(counts)
        return np.zeros((len(counts), 1))

    Bootstrap(redraws, seed).intervals(statistic, images)
    return np.concatenate(seen)


@SETTINGS
@given(images=st.integers(1, 40), redraws=st.integers(1, 12_000))
def test_a_redraw_has_as_many_images_as_there_are(images, redraws):
    counts = drawn(images, redraws)

    assert counts.shape == (redraws, images)
    assert (counts.sum(axis=1) == images).all()
    assert (counts >= 0).all()


def test_the_first_redraws_do_not_depend_on_how_many_follow():
    np.testing.assert_array_equal(drawn(20, 12_000)[:7000], drawn(20, 7000))


def test_a_chunk_does_not_depend_on_the_chunks_before_it():
    """What another process would draw, given the seed and the chunk's number."""
    source = np.random.SeedSequence(7).spawn(3)[2]
    images = np.random.default_rng(source).integers(20, size=(resampling.CHUNK, 20))
    expected = [np.bincount(row, minlength=20) for row in images[:300]]

    np.testing.assert_array_equal(drawn(20, 10_300, seed=7)[10_000:], expected)


def test_another_seed_gives_other_redraws():
    assert (drawn(20, 100, seed=1) != drawn(20, 100, seed=2)).any()


def test_every_image_is_drawn_equally_often():
    counts = drawn(10, 10_000)

    # Binomial with n = 10 and p = 1/10: mean 1, variance 0.9.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=4 * (0.9 / 10_000) ** 0.5)
    np.testing.assert_allclose(counts.var(axis=0), 0.9, rtol=0.1)


def test_an_interval_is_the_middle_of_the_redraws():
    values = np.arange(30.0) ** 2
    (interval,) = Bootstrap(1500, 3).intervals(
        lambda counts: (counts @ values / 30)[:, np.newaxis], 30
    )
    means = [
        np.repeat(values, counts.astype(int)).mean() for counts in drawn(30, 1500, 3)
    ]
    low, high = np.quantile(means, [0.025, 0.975])

    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)
    assert interval.undefined == 0


def test_an_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(11)
    covered = 0
    for seed in range(400):
        sample = rng.normal(size=60)
        (interval,) = Bootstrap(400, seed).intervals(
            lambda counts, x=sample: (counts @ x / 60)[:, np.newaxis], 60
        )
        covered += interval.low <= 0 <= interval.high
    # The percentile interval of 60 is a little narrow: 0.94; four standard errors.
    assert covered / 400 == pytest.approx(0.94, abs=4 * (0.94 * 0.06 / 400) ** 0.5)


def test_redraws_that_are_undefined_are_left_out_and_counted():
    values = np.array([1.0, np.nan, 2, 3, np.nan])
    low, high = np.quantile([1, 2, 3], [0.025, 0.975])

    assert percentiles(values) == Interval(low, high, 2)
    assert percentiles(np.full(4, np.nan)) == Interval(None, None, 4)


def test_one_image_has_no_interval():
    assert Bootstrap(100).intervals(lambda counts: counts, 1) == [Interval()]
