from typing import get_args

import numpy as np
import pytest
import torch

from mlcore.engine.config import SaliencyTarget
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.objectives import summed_bce
from mlcore.engine.model.saliency import (
    GRADIENT,
    METHODS,
    find_method,
    saliency_maps,
)
from mlcore.errors import UsageError


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
    with pytest.raises(UsageError, match='Unknown method "tea leaves"; known: grad'):
        find_method("tea leaves")
