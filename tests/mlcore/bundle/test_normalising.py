import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.bundle.normalising import normalise, to_int8


def slow_normalise(gradient):
    """One pixel after the other, as DESIGN's formula says."""
    values = [float(value) for value in gradient.flatten()]
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    if len(set(values)) == 1:
        return np.zeros(gradient.shape)
    scaled = [max(-1.0, min(1.0, (v - mean) / (3 * deviation))) for v in values]
    return np.array(scaled).reshape(gradient.shape)


@given(
    values=st.lists(
        st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-6),
        min_size=12,
        max_size=12,
    ),
    outlier=st.sampled_from([0.0, 1e4]),
)
def test_maps_are_normalised_by_their_own_mean_and_deviation(values, outlier):
    one = np.array(values, dtype=np.float32).reshape(3, 4)
    one[0, 0] += outlier
    other = np.arange(12, dtype=np.float32).reshape(3, 4) * 1e-7
    fast = normalise(np.stack([one, other]))
    np.testing.assert_allclose(fast[0], slow_normalise(one), atol=1e-5)
    np.testing.assert_allclose(fast[1], slow_normalise(other), atol=1e-5)
    assert np.abs(fast).max() <= 1


def test_an_outlier_is_clipped():
    gradient = np.zeros((1, 20, 20), dtype=np.float32)
    gradient[0, 3, 3] = -5.0
    assert normalise(gradient)[0, 3, 3] == -1.0


@pytest.mark.parametrize("value", [0.0, 0.1, -3e-8])
def test_a_constant_map_becomes_zeros(value):
    constant = np.full((1, 7, 11), value, dtype=np.float32)
    assert not normalise(constant).any()


def test_integers_run_from_minus_127_to_127():
    maps = np.array([[[-1, -0.5, 0, 0.004, 1]]], dtype=np.float32)
    assert to_int8(maps).tolist() == [[[-127, -64, 0, 1, 127]]]
    assert to_int8(maps).dtype == np.int8
