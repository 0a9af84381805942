import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from mlcore.engine.config import EngineError
from mlcore.engine.model.batchnorm import branch as through
from mlcore.errors import UsageError
from mlcore.evaluation.robustness import measure as module
from mlcore.evaluation.robustness.measure import robustness, summed_margin
from mlcore.evaluation.robustness.part import ROBUSTNESS, strengths
from mlcore.evaluation.robustness.verdicts import verdicts
from tests.mlcore.evaluation.conftest import (
    loaded,
    with_branches_apart,
    write_marked_table,
)
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


@pytest.fixture
def dual(toy, tmp_path):
    return with_branches_apart(loaded(toy, "dual_bn", tmp_path))


def the_row(rows, **wanted):
    (row,) = (r for r in rows if all(r[name] == wanted[name] for name in wanted))
    return row


def slow_loss(kind, logits, labels):
    """Label by label."""
    loss = torch.zeros(())
    for z, y in zip(logits.flatten(), labels.flatten(), strict=True):
        if y == y:
            loss = loss + (
                binary_cross_entropy_with_logits(z, y)
                if kind == "pgd"
                else (-z if y == 1 else z)
            )
    return loss


def slow_scores(network, image, labels, kind, attacked, scored, eps, steps):
    """Logits of one image, attacked by itself."""
    network.eval()
    x = image
    with through(network, attacked):
        for _ in range(steps):
            x = x.detach().requires_grad_()
            slow_loss(kind, network(x), labels).backward()
            x = x + eps / 2 * x.grad.sign()
            x = torch.minimum(torch.maximum(x, image - eps), image + eps).clamp(0, 1)
    with torch.no_grad(), through(network, scored):
        return network(x)


@pytest.mark.parametrize("kind", ["pgd", "margin"])
def test_every_pair_of_branches_is_scored_as_one_image_at_a_time(toy, dual, cpu, kind):
    strengths = {"eps": [0.02], "margin_eps": [0.02]}
    rows = robustness(toy, [dual], **strengths, steps=3, batch_size=3, device=cpu)
    test = toy.split_indices("test")
    labels = torch.tensor(toy.labels[test])
    assert torch.isnan(labels).any()
    pixels = torch.tensor(np.asarray(toy.images[test])).unsqueeze(1) / 255
    losses = set()
    for attacked in ("std", "adv"):
        for scored in ("std", "adv"):
            logits = torch.cat(
                [
                    slow_scores(dual.network, x, y, kind, attacked, scored, 0.02, 3)
                    for x, y in zip(pixels.split(1), labels.split(1), strict=True)
                ]
            )
            key = {"attack": kind, "attacked": attacked, "scored": scored, "eps": 0.02}
            for column, finding in enumerate(toy.classes):
                row = the_row(rows, **key, finding=finding)
                known = torch.isfinite(labels[:, column])
                area = roc_auc_score(labels[known, column], logits[known, column])
                assert row["auc"] == pytest.approx(area)
                assert row["n"] == int(known.sum())
                assert "loss" not in row
            row = the_row(rows, **key, finding="all")
            known = torch.isfinite(labels)
            loss = slow_loss("pgd", logits, labels) / known.sum()
            assert row["loss"] == pytest.approx(float(loss), rel=1e-3)
            areas = [the_row(rows, **key, finding=name)["auc"] for name in toy.classes]
            assert row["auc"] == pytest.approx(np.mean(areas))
            assert (row["n"], row["alpha"], row["steps"]) == (len(test), 0.01, 3)
            losses.add(round(row["loss"], 5))
    assert len(losses) == 4


def test_rows_are_json_and_hold_every_combination_once(toy, dual, cpu, tmp_path):
    runs = [loaded(toy, "standard", tmp_path), dual]
    eps = [0.01, 0.03]
    rows = robustness(toy, runs, eps=eps, margin_eps=[0.03], steps=1, device=cpu)
    assert json.loads(json.dumps(rows)) == rows
    keys = [
        tuple(row[k] for k in ("variant", "attack", "attacked", "eps", "scored"))
        for row in rows
        if row["finding"] == "all"
    ]
    branches = {"standard": ["std"], "dual_bn": ["std", "adv"]}
    assert keys == [
        (variant, attack, attacked, strength, scored)
        for variant in ("standard", "dual_bn")
        for attack, strengths in (("pgd", [0.0, *eps]), ("margin", [0.0, 0.03]))
        for attacked in branches[variant]
        for strength in strengths
        for scored in branches[variant]
    ]
    assert [row["finding"] for row in rows[:3]] == [*toy.classes, "all"]


def test_the_default_sweep_is_the_papers():
    (strongest,) = (o.default for o in ROBUSTNESS.options if o.name == "eps_max")
    np.testing.assert_allclose(strengths(strongest), np.linspace(0, 0.01, 21))
    assert {0.0025, 0.005, 0.01} <= set(strengths(strongest))


def test_at_strength_zero_the_clean_images_are_scored(toy, dual, cpu):
    rows = robustness(toy, [dual], eps=[], margin_eps=[], steps=1, device=cpu)
    test = toy.split_indices("test")
    pixels = torch.tensor(np.asarray(toy.images[test])).unsqueeze(1) / 255
    for scored in ("std", "adv"):
        with torch.no_grad(), through(dual.network, scored):
            logits = dual.network(pixels)
        loss = slow_loss("pgd", logits, torch.tensor(toy.labels[test]))
        for attacked in ("std", "adv"):
            key = {"attacked": attacked, "scored": scored, "finding": "all"}
            row = the_row(rows, attack="pgd", **key)
            known = np.isfinite(toy.labels[test]).sum()
            assert row["loss"] == pytest.approx(float(loss) / known, rel=1e-4)


def test_the_first_images_may_stand_for_all(toy, dual, cpu):
    short = {"eps": [], "margin_eps": [], "steps": 1, "device": cpu}
    rows = robustness(toy, [dual], images=5, **short)
    assert {row["n"] for row in rows if row["finding"] == "all"} == {5}
    with pytest.raises(UsageError, match="at least 1 image"):
        robustness(toy, [dual], images=0, **short)


def test_images_are_attacked_once_for_all_branches_that_score_them(
    toy, dual, cpu, monkeypatch
):
    attacked = []
    real = module.Attacker.__call__

    def spying(self, images, labels):
        attacked.append((self.branch, self.config.eps, len(images)))
        return real(self, images, labels)

    monkeypatch.setattr(module.Attacker, "__call__", spying)
    eps = [0.01, 0.02]
    robustness(toy, [dual], eps=eps, margin_eps=[], steps=1, batch_size=5, device=cpu)
    pgd = [(b, e, n) for b in ("std", "adv") for e in (0, *eps) for n in (5, 3)]
    margin = [(b, 0, n) for b in ("std", "adv") for n in (5, 3)]
    assert attacked == pgd + margin


def test_scoring_leaves_the_network_as_it_was(toy, dual, cpu):
    dual.network.train()
    dual.network.mixed_precision = True
    before = {k: v.clone() for k, v in dual.network.state_dict().items()}
    robustness(toy, [dual], eps=[0.02], margin_eps=[0.02], steps=1, device=cpu)
    assert dual.network.training
    assert dual.network.mixed_precision
    for name, value in dual.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_margin_is_how_far_on_the_wrong_side_the_logits_lie():
    logits = torch.tensor([[3.0, -2.0], [5.0, 7.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, torch.nan]])
    assert summed_margin(logits, labels) == -3 - 2 + 5


@settings(deadline=None)
@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_the_margins_gradient_never_fades_for_a_known_label(logits, seed):
    rng = np.random.default_rng(seed)
    labels = torch.tensor(rng.choice([0.0, 1.0, np.nan], len(logits)))[None]
    z = torch.tensor([logits], requires_grad=True)
    summed_margin(z, labels).backward()
    expected = torch.where(labels == 1, -1.0, torch.where(labels == 0, 1.0, 0.0))
    torch.testing.assert_close(z.grad, expected.float())


IMAGES = {
    "trained": ("train", (1, 0)),
    "sure": ("test", (1, 1)),
    "half": ("test", (1, np.nan)),
    "wrong": ("test", (0, 0)),
    "unknown": ("test", (np.nan, np.nan)),
}


def test_images_that_the_loss_cannot_move_are_counted_and_the_margin_moves_them(
    cpu, tmp_path
):
    table = write_marked_table(tmp_path / "sure", IMAGES)
    run = loaded(table, "standard", tmp_path)
    torch.nn.init.constant_(run.network.resnet.fc.bias, 40)
    strengths = {"eps": [0.01], "margin_eps": [0.01]}
    rows = robustness(table, [run], **strengths, steps=2, device=cpu)
    counted = {(r["attack"], r["eps"]): r["zero_gradients"] for r in rows}
    assert counted == {
        ("pgd", 0.0): 2,
        ("pgd", 0.01): 2,
        ("margin", 0.0): 0,
        ("margin", 0.01): 0,
    }
    # The image of which nothing is known is no image that cannot be moved.
    assert {r["n"] for r in rows if r["finding"] == "all"} == {3}


def test_an_area_that_is_not_defined_is_none_with_a_reason(cpu, tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "sure", "half")}
    table = write_marked_table(tmp_path / "sure", images)
    run = loaded(table, "standard", tmp_path)
    rows = robustness(table, [run], eps=[], margin_eps=[], steps=1, device=cpu)
    for row in rows:
        assert row["auc"] is None
        assert row["reason"] == "no positive or no negative image"
    assert rows[2]["loss"] > 0


def test_a_table_without_a_labelled_test_image_is_refused(cpu, tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "unknown")}
    table = write_marked_table(tmp_path / "none", images)
    run = loaded(table, "standard", tmp_path)
    with pytest.raises(EngineError, match="no test image with a known label"):
        robustness(table, [run], eps=[], margin_eps=[], steps=1, device=cpu)


def test_a_strength_out_of_range_is_refused(toy, dual, cpu):
    with pytest.raises(UsageError, match="eps lies between 0 and 1"):
        robustness(toy, [dual], eps=[0.01, 2], margin_eps=[], steps=1, device=cpu)


def test_the_sweeps_own_rows_can_be_judged(toy, dual, cpu):
    rows = robustness(toy, [dual], eps=[0.02], margin_eps=[0.02], steps=1, device=cpu)
    assert [(v.variant, v.scored) for v in verdicts(rows)] == [
        ("dual_bn", "std"),
        ("dual_bn", "adv"),
    ]
