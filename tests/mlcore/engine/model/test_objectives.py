import copy
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from mlcore.engine.config import AttackConfig
from mlcore.engine.model.batchnorm import branch
from mlcore.engine.model.objectives import (
    OBJECTIVES,
    find_objective,
    mean_bce,
    summed_bce,
)
from mlcore.engine.model.predict import Attacker
from mlcore.errors import UsageError

ATTACK = AttackConfig(eps=0.03, alpha=0.02, steps=2)


def slow_losses(logits, labels):
    """Binary cross-entropy one label at a time, as the formula says."""
    losses = []
    for logit, label in zip(logits.flatten().tolist(), labels.flatten(), strict=True):
        if not math.isnan(label):
            probability = 1 / (1 + math.exp(-logit))
            losses.append(-math.log(probability if label == 1 else 1 - probability))
    return losses


@given(
    logits=st.lists(st.floats(-8, 8), min_size=6, max_size=6),
    labels=st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=6, max_size=6),
)
# A small loss is the logarithm of nearly 1, which float32 rounds.
@example(logits=[-7.0, *[0.0] * 5], labels=[0.0, *[math.nan] * 5])
def test_the_masked_loss_is_the_mean_over_known_labels(logits, labels):
    logits = torch.tensor(logits).view(3, 2)
    labels = torch.tensor(labels).view(3, 2)
    losses = slow_losses(logits, labels)
    mean = sum(losses) / len(losses) if losses else 0.0
    summed, masked = float(summed_bce(logits, labels)), float(mean_bce(logits, labels))
    assert summed == pytest.approx(sum(losses), rel=1e-4, abs=1e-6)
    assert masked == pytest.approx(mean, rel=1e-4, abs=1e-6)


def test_an_unknown_label_sends_no_gradient():
    logits = torch.zeros(1, 2, requires_grad=True)
    mean_bce(logits, torch.tensor([[1.0, math.nan]])).backward()
    assert logits.grad.tolist() == [[-0.5, 0.0]]


def test_the_loss_of_bfloat16_logits_is_computed_in_float32():
    assert mean_bce(torch.zeros(1, 2).bfloat16(), torch.ones(1, 2)).dtype == (
        torch.float32
    )


@pytest.fixture
def batch(generator):
    images = torch.rand(4, 1, 32, 32, generator=generator)
    labels = torch.tensor([[1.0, 0.0], [0.0, math.nan], [1.0, 1.0], [math.nan, 0.0]])
    return images, labels


class Changes:
    """Perturbations for one network; `noisy` is told apart by its 0.25."""

    def __init__(self, network, config, branch):
        self.attacked = Attacker(network, config, branch)

    def noisy(self, images):
        return images * 0.25


def gradients(network):
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_attack_changes_no_buffer_and_no_gradient(trained_like, batch, name):
    objective = OBJECTIVES[name]
    network = trained_like(dual=objective.dual).train()
    before = copy.deepcopy(network.state_dict())
    attacked = Attacker(network, ATTACK, objective.robust_branch)(*batch)
    assert not torch.equal(attacked, batch[0])
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert network.training


def test_a_dual_network_is_attacked_through_adv(trained_like, batch):
    network = trained_like(dual=True)
    with torch.no_grad():
        for layer_name, buffer in network.named_buffers():
            if "bn_std" in layer_name and buffer.dtype == torch.float32:
                buffer.fill_(math.nan)
    attacked = Attacker(network, ATTACK, OBJECTIVES["dual_bn"].robust_branch)(*batch)
    assert (attacked - batch[0]).abs().max() > 0.02


def test_an_attack_raises_the_loss(trained_like, batch):
    network = trained_like(dual=False).eval()
    attacked = Attacker(network, ATTACK, "std")(*batch)
    with torch.no_grad():
        assert mean_bce(network(attacked), batch[1]) > mean_bce(
            network(batch[0]), batch[1]
        )


def test_only_training_starts_at_random(trained_like, batch, generator):
    config = AttackConfig(eps=0.03, alpha=0.0, steps=1, random_start=True)
    network = trained_like(dual=False)
    assert torch.equal(Attacker(network, config, "std")(*batch), batch[0])
    started = Attacker(network, config, "std", generator=generator)(*batch)
    assert not torch.equal(started, batch[0])


def test_the_gradient_of_the_dual_step_is_the_sum_of_two_separate_steps(
    trained_like, batch
):
    images, labels = batch
    joined, apart = trained_like(dual=True), trained_like(dual=True)
    change = Changes(joined, ATTACK, "adv")
    loss = OBJECTIVES["dual_bn"].summed_loss(joined, images, labels, change)
    loss.backward()
    attacked = Attacker(apart, ATTACK, "adv")(images, labels)
    total = 0.0
    for name, seen in (("std", images), ("adv", attacked)):
        with branch(apart, name):
            part = summed_bce(apart(seen), labels)
        part.backward()
        total += float(part.detach())
    assert float(loss.detach()) == pytest.approx(total, rel=1e-5)
    for name, gradient in gradients(joined).items():
        torch.testing.assert_close(
            gradient, gradients(apart)[name], rtol=1e-3, atol=1e-5, msg=name
        )
    for name, buffer in joined.named_buffers():
        torch.testing.assert_close(buffer, dict(apart.named_buffers())[name])


def test_without_a_radius_single_bn_is_standard(trained_like, batch):
    values = []
    for name in ("standard", "single_bn"):
        network = trained_like(dual=False)
        change = Changes(network, AttackConfig(eps=0.0), "std")
        values.append(OBJECTIVES[name].summed_loss(network, *batch, change))
    assert torch.equal(*values)


class Marked:
    """Perturbations that anyone can recognise."""

    def attacked(self, images, _labels):
        return 1 - images

    def noisy(self, images):
        return images * 0.25


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("standard", lambda x: x),
        ("single_bn", lambda x: 1 - x),
        ("mixed_bn", lambda x: torch.cat([x, 1 - x])),
        ("noise", lambda x: x * 0.25),
    ],
)
def test_each_objective_learns_from_its_own_images(trained_like, batch, name, seen):
    network, twin = trained_like(dual=False), trained_like(dual=False)
    images, labels = batch
    shown = seen(images)
    loss = OBJECTIVES[name].summed_loss(network, images, labels, Marked())
    known = labels.repeat(len(shown) // len(images), 1)
    assert torch.equal(loss, summed_bce(twin(shown), known))
    assert all(
        buffer.equal(dict(twin.named_buffers())[key])
        for key, buffer in network.named_buffers()
    )


def test_it_refuses_an_unknown_variant_and_names_the_known_ones():
    with pytest.raises(
        UsageError, match="known: standard, single_bn, dual_bn, mixed_bn, noise"
    ):
        find_objective("dual")
