"""The plain loop does our work: the same loss, gradients and adversarial images."""

from dataclasses import replace

import pytest
import torch

from mlcore.benchmark.reference_loop import ReferenceLoop
from mlcore.engine.batches import generator_for
from mlcore.engine.config import AttackConfig, NetworkConfig, preset
from mlcore.engine.model.objectives import VARIANTS, find_objective
from mlcore.engine.training.learner import Learner

CONFIG = replace(
    preset("paper"),
    network=NetworkConfig(name="resnet10"),
    attack=AttackConfig(eps=0.02, alpha=0.015, steps=2),
)


def drawn(purpose):
    return generator_for(1, purpose)


@pytest.fixture
def batch(generator):
    images = torch.rand(4, 1, 32, 32, generator=generator)
    return images, torch.randint(2, (4, 2), generator=generator).float()


@pytest.fixture
def twins(trained_like):
    """Our learner and the plain loop, on the same weights and running statistics."""

    def make(variant):
        objective = find_objective(variant)
        own, other = (trained_like(dual=objective.dual) for _ in range(2))
        learner = Learner(own, objective, CONFIG)
        return learner, ReferenceLoop(other.backbone, variant, CONFIG)

    return make


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_has_the_loss_and_the_gradients_of_ours(variant, twins, batch):
    learner, loop = twins(variant)
    step = learner.step(*batch, 1e-6, drawn)
    torch.testing.assert_close(
        loop.step(*batch), step.loss / step.known, rtol=1e-4, atol=1e-4
    )
    own = dict(learner.network.backbone.named_parameters())
    for name, parameter in loop.backbone.named_parameters():
        difference = (parameter.grad - own[name].grad).norm()
        assert difference <= 1e-3 * own[name].grad.norm() + 1e-6, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_leaves_the_running_statistics_that_ours_leaves(variant, twins, batch):
    learner, loop = twins(variant)
    learner.step(*batch, 1e-6, drawn)
    loop.step(*batch)
    own = dict(learner.network.backbone.named_buffers())
    for name, buffer in loop.backbone.named_buffers():
        torch.testing.assert_close(buffer, own[name], rtol=1e-3, atol=1e-4)


def test_the_attack_is_ours(twins, batch):
    learner, loop = twins("dual_bn")
    ours = learner.attacker("adv")(*batch)
    difference = (loop.attacked(*batch) - ours).abs()
    # Where a gradient is all but zero, rounding decides its sign.
    assert (difference > 1e-6).float().mean() < 0.01


def test_the_loop_does_nothing_that_makes_ours_fast(twins):
    _, loop = twins("dual_bn")
    assert loop.optimiser.param_groups[0]["fused"] is None
    weight = loop.backbone.layer1[0].conv1.weight
    assert weight.dtype == torch.float32
    assert not weight.is_contiguous(memory_format=torch.channels_last)
    assert loop.backbone.conv1.in_channels == 3
