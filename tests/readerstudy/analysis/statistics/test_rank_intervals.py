"""Weighted W and rank-biserial correlation against the tests of repeated blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.analysis.statistics.rank_intervals import (
    _kendall_w,
    _rank_biserial,
    effect_intervals,
)
from readerstudy.analysis.statistics.rank_tests import friedman, wilcoxon
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

    assert same(_kendall_w(blocks)(weights[np.newaxis])[0], friedman(repeated).W)
    for a, b in PAIRS:
        value = _rank_biserial(blocks[:, a] - blocks[:, b])(weights[np.newaxis])[0]
        assert same(value, wilcoxon(repeated[:, a] - repeated[:, b]).rbc)


def test_intervals_agree_with_a_plain_loop():
    rng = np.random.default_rng(5)
    blocks = rng.integers(0, 6, (25, 3)).astype(float)
    bootstrap = Bootstrap(200, 9)
    w, rbc = effect_intervals(blocks, PAIRS, np.arange(25), bootstrap)
    seen = []
    bootstrap.intervals(lambda counts: seen.append(counts) or counts, 25)
    samples = [
        np.repeat(blocks, counts.astype(int), axis=0) for counts in np.concatenate(seen)
    ]

    expected = np.quantile([friedman(sample).W for sample in samples], [0.025, 0.975])
    assert (w.low, w.high) == pytest.approx(tuple(expected), rel=1e-9)
    for (a, b), interval in zip(PAIRS, rbc, strict=True):
        values = [wilcoxon(sample[:, a] - sample[:, b]).rbc for sample in samples]
        low, high = np.quantile(values, [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)


def test_blocks_of_one_image_are_redrawn_together():
    """Six readers who say the same tell no more than one of them."""
    rng = np.random.default_rng(6)
    blocks = rng.integers(0, 6, (30, 3)).astype(float)
    once = effect_intervals(blocks, PAIRS, np.arange(30), Bootstrap(500))
    repeated = effect_intervals(
        np.tile(blocks, (6, 1)), PAIRS, np.tile(np.arange(30), 6), Bootstrap(500)
    )

    assert once[0].low == pytest.approx(repeated[0].low, rel=1e-12)
    assert once[0].high == pytest.approx(repeated[0].high, rel=1e-12)


def test_redraws_without_any_difference_are_counted_as_undefined():
    blocks = np.array([[1.0, 1, 1], [0, 1, 2]])
    w, _ = effect_intervals(blocks, PAIRS, np.arange(2), Bootstrap(1000))

    # A quarter of the redraws takes the tied block twice.
    assert 200 < w.undefined < 300
    assert (w.low, w.high) == pytest.approx((0.5, 1), abs=0.5)


def test_without_blocks_there_is_no_interval():
    w, rbc = effect_intervals(np.empty((0, 3)), PAIRS, np.empty(0, int), Bootstrap(100))

    assert [w.low, w.high] == [None, None]
    assert len(rbc) == 3
