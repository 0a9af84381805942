import copy
import math
import shutil

import pytest
import torch

from mlcore.engine.batches import generator_for
from mlcore.engine.config import preset, with_overrides
from mlcore.engine.model.attack import pgd
from mlcore.engine.model.batchnorm import attacking, branch
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import (
    OBJECTIVES,
    find_objective,
    mean_bce,
    summed_bce,
)
from mlcore.engine.training.learner import Learner
from tests.conftest import missing

SETTINGS = (
    "network.name=resnet10",
    "precision=float32",
    "attack.eps=0.03",
    "attack.alpha=0.02",
    "attack.steps=2",
    "noise.sigma=0.1",
)
RATE = 0.003


def learner_of(variant, *more, **options):
    config = with_overrides(preset("paper"), [*SETTINGS, *more])
    objective = find_objective(variant)
    network = build_network(config.network, 2, dual=objective.dual, seed=3)
    return Learner(network, objective, config, **options)


def draw(purpose):
    return generator_for(0, purpose)


@pytest.fixture
def batch(generator):
    images = torch.rand(6, 1, 32, 32, generator=generator)
    labels = torch.randint(0, 2, (6, 2), generator=generator).float()
    labels[1, 0] = labels[4, 1] = math.nan
    return images, labels


def slow_loss(learner, images, labels):
    """The loss of each variant as the paper writes it, one forward per part."""
    network, config = learner.network, learner.config.attack
    objective = learner.objective

    def attacked():
        with attacking(network, objective.robust_branch):
            return pgd(
                lambda x: summed_bce(network(x), labels),
                images,
                eps=config.eps,
                alpha=config.alpha,
                steps=config.steps,
            ).images

    if objective.name == "noise":
        noise = torch.empty_like(images).normal_(generator=draw("noise"))
        return mean_bce(network((images + 0.1 * noise).clamp(0, 1)), labels)
    if objective.name == "standard":
        return mean_bce(network(images), labels)
    adversarial = attacked()
    if objective.name == "single_bn":
        return mean_bce(network(adversarial), labels)
    if objective.name == "mixed_bn":
        logits = network(torch.cat([images, adversarial]))
        return mean_bce(logits[:6], labels) + mean_bce(logits[6:], labels)
    with branch(network, "std"):
        clean = mean_bce(network(images), labels)
    with branch(network, "adv"):
        return clean + mean_bce(network(adversarial), labels)


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_a_step_is_adam_on_the_stated_loss(batch, variant):
    fast, slow = learner_of(variant), learner_of(variant)
    left = fast.step(*batch, RATE, draw)
    slow.network.train()
    loss = slow_loss(slow, *batch)
    loss.backward()
    assert float(left.known) == 10
    assert float(left.loss / left.known) == pytest.approx(float(loss.detach()), 1e-5)
    gradients = {name: p.grad for name, p in slow.network.named_parameters()}
    for name, parameter in fast.network.named_parameters():
        scale = float(gradients[name].abs().max())
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-3, atol=1e-3 * scale, msg=name
        )
    slow.optimiser.param_groups[0]["lr"] = RATE
    for parameter in slow.network.parameters():
        parameter.grad = dict(fast.network.named_parameters())[
            next(n for n, p in slow.network.named_parameters() if p is parameter)
        ].grad.clone()
    slow.optimiser.step()
    for name, value in fast.network.state_dict().items():
        torch.testing.assert_close(
            value, slow.network.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name
        )


def test_the_beta_and_rate_of_the_configuration_reach_adam():
    learner = learner_of("standard", "optimiser.beta2=0.5", "optimiser.eps=0.1")
    group = learner.optimiser.param_groups[0]
    assert group["betas"] == (0.9, 0.5)
    assert group["eps"] == 0.1


@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_noise_has_the_standard_deviation_asked_for_and_stays_in_range(sigma):
    learner = learner_of("noise", f"noise.sigma={sigma}")
    seen = []
    learner.model.register_forward_hook(lambda _m, given, _out: seen.append(given[0]))
    images = torch.full((4, 1, 32, 32), 0.5)
    images[0] = 1.0
    learner.step(images, torch.ones(4, 2), RATE, draw)
    noise = (seen[0] - images)[1:]
    assert float(noise.std()) == pytest.approx(sigma, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0, abs=sigma / 20)
    assert float(seen[0].max()) <= 1


def test_an_image_without_a_gradient_is_counted(batch):
    images, labels = batch
    labels = labels.clone()
    labels[2] = math.nan  # nothing known: nothing to attack
    left = learner_of("dual_bn").step(images, labels, RATE, draw)
    assert float(left.zero_gradients) == 1
    assert float(learner_of("standard").step(images, labels, RATE, draw).known) == 8


def test_a_batch_without_any_label_changes_no_weight(batch):
    images, labels = batch
    learner = learner_of("standard")
    before = copy.deepcopy(dict(learner.network.named_parameters()))
    left = learner.step(images, torch.full_like(labels, math.nan), RATE, draw)
    assert float(left.loss) == 0
    for name, parameter in learner.network.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(batch):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        missing("a C++ compiler, which PyTorch compiles with")
    eager = learner_of("dual_bn", "attack.steps=1")
    fast = learner_of("dual_bn", "attack.steps=1", compile_network=True)
    ours, theirs = (each.step(*batch, RATE, draw) for each in (eager, fast))
    assert float(ours.loss) == pytest.approx(float(theirs.loss), rel=1e-3)
    for name, parameter in eager.network.named_parameters():
        twin = dict(fast.network.named_parameters())[name].grad
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(
            twin, parameter.grad, rtol=0.02, atol=0.02 * scale, msg=name
        )
    for name, buffer in eager.network.named_buffers():
        torch.testing.assert_close(
            dict(fast.network.named_buffers())[name], buffer, rtol=1e-3, atol=1e-4
        )
