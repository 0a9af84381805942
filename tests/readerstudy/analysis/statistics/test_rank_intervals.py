"""Weighted rank-biserial correlation against the tests of repeated blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.analysis.statistics.rank_intervals import (
    _rank_biserial,
    rank_biserial_interval,
)
from readerstudy.analysis.statistics.rank_tests import wilcoxon
from readerstudy.analysis.statistics.resampling import Bootstrap

SETTINGS = settings(max_examples=60, deadline=None)
PAIRS = [(0, 1), (0, 2), (1, 2)]

ratings = st.integers(0, 5)
blocks_and_weights = st.lists(
    st.tuples(ratings, ratings, ratings, st.integers(0, 4)), min_size=2, max_size=10
).filter(lambda rows: any(row[3] for row in rows))


def same(value, expected):
    if expected is None:
        return bool(np.isnan(value))
    return value == pytest.approx(expected, rel=1e-12, abs=1e-12)


@SETTINGS
@given(rows=blocks_and_weights, readers=st.sampled_from([1, 7]))
def test_a_weight_is_a_block_as_often_as_it_says(rows, readers):
    table = np.array(rows, float)
    blocks, weights = table[:, :3] / readers, table[:, 3]
    repeated = np.repeat(blocks, weights.astype(int), axis=0)

    for a, b in PAIRS:
        value = _rank_biserial(blocks[:, a] - blocks[:, b])(weights[np.newaxis])[0]
        assert same(value, wilcoxon(repeated[:, a] - repeated[:, b]).rbc)


def test_intervals_agree_with_a_plain_loop():
    rng = np.random.default_rng(5)
    blocks = rng.integers(0, 6, (25, 3)).astype(float)
    bootstrap = Bootstrap(200, 9)
    seen = []
    bootstrap.intervals(lambda counts: seen.append(counts) or counts, 25)
    samples = [
        np.repeat(blocks, counts.astype(int), axis=0) for counts in np.concatenate(seen)
    ]

    for a, b in PAIRS:
        d = blocks[:, a] - blocks[:, b]
        interval = rank_biserial_interval(d, np.arange(25), bootstrap)
        values = [wilcoxon(sample[:, a] - sample[:, b]).rbc for sample in samples]
        low, high = np.quantile(values, [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)


def test_blocks_of_one_image_are_redrawn_together():
    """Six readers who say the same tell no more than one of them."""
    rng = np.random.default_rng(6)
    d = rng.integers(-5, 6, 30).astype(float)
    once = rank_biserial_interval(d, np.arange(30), Bootstrap(500))
    repeated = rank_biserial_interval(
        np.tile(d, 6), np.tile(np.arange(30), 6), Bootstrap(500)
    )

    assert once.low == pytest.approx(repeated.low, rel=0.05)
    assert once.high == pytest.approx(repeated.high, rel=0.05)


def test_redraws_without_any_difference_are_counted_as_undefined():
    d = np.array([0.0, 1])
    interval = rank_biserial_interval(d, np.arange(2), Bootstrap(1000))

    # A quarter of the redraws takes the tied block twice.
    assert 200 < interval.undefined < 300


@pytest.mark.parametrize("sign", [1, -1])
def test_of_one_sign_throughout_the_bound_is_that_of_the_sign_test(sign):
    d = sign * np.array([0.0, 1, 2, 3, 1, 5, 4])
    interval = rank_biserial_interval(d, np.arange(7), Bootstrap(200))
    ends = sorted((sign * 1.0, sign * (2 * 0.025 ** (1 / 6) - 1)))

    assert [interval.low, interval.high] == pytest.approx(ends)


def test_without_blocks_there_is_no_interval():
    interval = rank_biserial_interval(np.empty(0), np.empty(0, int), Bootstrap(100))

    assert [interval.low, interval.high] == [None, None]
