"""The tests of many studies, against the tests of each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from readerstudy.analysis.planning.many_tests import (
    friedman_p_values,
    wilcoxon_p_values,
)
from readerstudy.analysis.statistics.rank_tests import friedman, wilcoxon

SUMS = st.integers(0, 12).map(float)
DIFFERENCES = st.integers(-6, 6).map(float)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9))


@given(SHAPES.flatmap(lambda s: arrays.arrays(float, (*s, 3), elements=SUMS)))
def test_friedman_agrees_with_the_test_of_one_study(blocks):
    one_by_one = [friedman(study).p_chi2 for study in blocks]

    np.testing.assert_allclose(friedman_p_values(blocks), one_by_one, rtol=1e-9)


@given(SHAPES.flatmap(lambda s: arrays.arrays(float, s, elements=DIFFERENCES)))
def test_wilcoxon_agrees_with_the_test_of_one_study(differences):
    one_by_one = [wilcoxon(study).p for study in differences]

    np.testing.assert_allclose(wilcoxon_p_values(differences), one_by_one, rtol=1e-9)
