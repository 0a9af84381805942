import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlcore.engine.batches import load_images
from mlcore.engine.config import AttackConfig
from mlcore.engine.model.attack import pgd
from mlcore.engine.model.batchnorm import attacking
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.objectives import summed_bce
from mlcore.engine.model.predict import Attacker, auc, auc_per_class, loss_of, predict


@given(
    labels=st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=1, max_size=30),
    seed=st.integers(0, 99),
    levels=st.integers(1, 8),
)
def test_the_area_is_scikit_learns_ties_included(labels, seed, levels):
    labels = np.array(labels, dtype=np.float32)
    scores = np.random.default_rng(seed).integers(0, levels, len(labels)) / 7
    known = np.isfinite(labels)
    area = auc(scores, labels)
    if len(set(labels[known])) < 2:
        assert area is None
    else:
        expected = roc_auc_score(labels[known], scores[known])
        assert area == pytest.approx(expected, abs=1e-12)


def test_the_area_of_a_perfect_and_of_a_useless_score():
    labels = np.array([0, 0, 1, 1])
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), labels) == 1.0
    assert auc(np.array([0.4, 0.3, 0.2, 0.1]), labels) == 0.0
    assert auc(np.zeros(4), labels) == 0.5


@pytest.mark.parametrize("branch", ["std", "adv"])
def test_logits_are_the_networks_own_in_eval_mode(table, trained_like, cpu, branch):
    network = trained_like(dual=True).train()
    images = load_images(table, table.split_indices("dev"), cpu)
    logits = predict(network, images, branch=branch, batch_size=3)
    assert network.training
    network.eval()
    one_by_one = []
    with torch.no_grad(), through(network, branch):
        for position in range(len(images)):
            pixels, _ = images.batch(torch.tensor([position]))
            one_by_one.append(network(pixels))
    torch.testing.assert_close(logits, torch.cat(one_by_one), rtol=1e-4, atol=1e-5)


def test_what_is_scored_can_be_perturbed_first(table, trained_like, cpu):
    network = trained_like(dual=False)
    images = load_images(table, table.split_indices("dev"), cpu)
    black = predict(network, images, branch="std", perturb=lambda x, _: x * 0)
    torch.testing.assert_close(black, black[:1].expand_as(black))


@pytest.mark.parametrize("mixed", [True, False])
def test_weights_cast_once_attack_as_weights_cast_at_every_step(
    table, trained_like, cpu, mixed
):
    network = trained_like(dual=True)
    network.mixed_precision = mixed
    images, labels = load_images(table, table.split_indices("dev"), cpu).batch(
        torch.arange(8)
    )
    config = AttackConfig(eps=0.03, alpha=0.015, steps=3)
    with attacking(network, "adv"):
        plain = pgd(
            lambda x: summed_bce(network(x), labels),
            images,
            eps=config.eps,
            alpha=config.alpha,
            steps=config.steps,
        ).images
    assert torch.equal(Attacker(network, config, "adv")(images, labels), plain)
    assert not torch.equal(plain, images)


def test_an_attack_raises_the_loss_it_is_told_to(table, trained_like, cpu):
    network = trained_like(dual=False).eval()
    images, labels = load_images(table, table.split_indices("dev"), cpu).batch(
        torch.arange(8)
    )
    config = AttackConfig(eps=0.03, alpha=0.015, steps=3)
    usual, same, other = (
        Attacker(network, config, "std", **how)(images, labels)
        for how in ({}, {"loss": summed_bce}, {"loss": lambda z, _: z[:, 0].sum()})
    )
    assert torch.equal(usual, same)
    with torch.no_grad():
        clean, raised = network(images)[:, 0], network(other)[:, 0]
        assert (raised > clean).all()
        assert not torch.equal(usual, other)


def test_loss_and_areas_leave_unknown_labels_out(table, cpu):
    images = load_images(table, table.split_indices("train"), cpu)
    assert torch.isnan(images.labels).any()
    logits = torch.where(torch.isnan(images.labels), 99.0, images.labels * 20 - 10)
    assert loss_of(logits, images.labels) == pytest.approx(
        np.log1p(np.exp(-10)), rel=0.01
    )
    assert auc_per_class(logits, images.labels, table.classes) == {
        "Nodule": 1.0,
        "Heart": 1.0,
    }
