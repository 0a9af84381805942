"""The convolutions against every sign and every order, one by one."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from readerstudy.analysis.statistics.exact_tests import friedman_p, signed_rank_p

SETTINGS = settings(max_examples=25, deadline=None)
blocks_of_ratings = st.lists(
    st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=4
)


@SETTINGS
@given(d=st.lists(st.integers(-5, 5).filter(bool), min_size=1, max_size=8))
def test_signed_rank_p_counts_all_signs(d):
    ranks = stats.rankdata(np.abs(d))
    half = ranks.sum() / 2
    w_plus = ranks[np.array(d) > 0].sum()
    sums = [
        ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(d))
    ]
    as_extreme = [abs(s - half) >= abs(w_plus - half) for s in sums]

    assert signed_rank_p(ranks, w_plus) == pytest.approx(np.mean(as_extreme), rel=1e-12)


@SETTINGS
@given(blocks=blocks_of_ratings)
def test_friedman_p_counts_all_orders(blocks):
    ranks = stats.rankdata(blocks, axis=1)
    orders = np.array([list(permutations(block)) for block in ranks])
    chosen = product(range(6), repeat=len(ranks))
    sums = [orders[np.arange(len(ranks)), choice].sum(axis=0) for choice in chosen]
    spread = np.var(sums, axis=1)
    as_extreme = spread >= np.var(ranks.sum(axis=0)) - 1e-9

    assert friedman_p(np.array(blocks, float)) == pytest.approx(
        as_extreme.mean(), rel=1e-12
    )


def test_chances_far_in_the_tail_keep_their_precision():
    n = 60
    assert signed_rank_p(np.arange(1.0, n + 1), 0) == pytest.approx(
        2 * 0.5**n, rel=1e-12
    )
    # Only the six orders that all blocks share are as extreme as one order throughout.
    assert friedman_p(np.tile([0.0, 1.0, 2.0], (n, 1))) == pytest.approx(
        6 * (1 / 6) ** n, rel=1e-12
    )
