from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcore.engine.config import EngineError, SaliencyTarget
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.objectives import summed_bce
from mlcore.engine.model.saliency import (
    GRADIENT,
    METHODS,
    find_method,
    normalise,
    saliency_maps,
    to_int8,
)


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


def maps_of(network, images, labels, *, target="loss", branch="std"):
    return saliency_maps(
        network, images, labels, method=GRADIENT, target=target, branch=branch
    )


@pytest.fixture
def cases(table):
    rows = table.split_indices("test")
    return table.images[rows], table.labels[rows]


@pytest.mark.parametrize("branch", ["std", "adv"])
def test_a_map_is_the_gradient_of_the_summed_loss_through_the_branch(
    trained_like, cases, branch
):
    images, labels = cases
    network = trained_like(dual=True).train()
    network.mixed_precision = True
    gradients = maps_of(network, images, labels, branch=branch)
    assert network.training
    assert network.mixed_precision
    assert all(p.grad is None for p in network.parameters())
    network.eval().mixed_precision = False
    for image, label, gradient in zip(images, labels, gradients, strict=True):
        x = (torch.tensor(image)[None, None] / 255).requires_grad_(True)
        with through(network, branch):
            summed_bce(network(x), torch.tensor(label)[None]).backward()
        np.testing.assert_allclose(gradient, x.grad[0, 0], rtol=1e-3, atol=1e-6)
    assert gradients.dtype == np.float32
    assert np.abs(gradients).max() > 1e-4


def test_an_unknown_label_has_no_part_in_a_map(trained_like, cases):
    images, labels = cases
    network = trained_like(dual=False)
    labels = np.where(np.isnan(labels), 1.0, labels).astype(np.float32)
    first, second = labels.copy(), labels.copy()
    first[:, 1] = np.nan
    second[:, 0] = np.nan
    whole, one, other = (
        maps_of(network, images, known) for known in (labels, first, second)
    )
    np.testing.assert_allclose(whole, one + other, rtol=1e-3, atol=1e-6)


def test_the_codes_target_is_the_sum_of_the_positive_logits(trained_like, cases):
    images, labels = cases
    network = trained_like(dual=False).eval()
    gradients = maps_of(network, images, labels, target="positive_logits")
    x = (torch.tensor(images).unsqueeze(1) / 255).requires_grad_(True)
    (network(x) * torch.tensor(labels == 1)).sum().backward()
    np.testing.assert_allclose(gradients, x.grad[:, 0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_is_found_by_name_and_has_a_legend_for_all_it_may_explain(method):
    assert find_method(method.name) is method
    assert set(method.legends) == set(get_args(SaliencyTarget))
    for legend in method.legends.values():
        assert legend.below != legend.above


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(EngineError, match='Unknown method "tea leaves"; known: grad'):
        find_method("tea leaves")
