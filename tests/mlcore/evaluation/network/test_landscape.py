import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from mlcore.engine.model.batchnorm import branch as through
from mlcore.errors import UsageError
from mlcore.evaluation.network.landscape import (
    Surface,
    landscape,
    lipschitz,
    loss_surface,
    slopes,
)
from tests.mlcore.evaluation.conftest import loaded, with_branches_apart

STEPS = np.linspace(-0.5, 0.5, 6)


@pytest.fixture
def dual(table, tmp_path):
    return with_branches_apart(loaded(table, "dual_bn", tmp_path))


def linear_losses(weight, bias, label):
    def losses(x):
        z = x.flatten(1) @ weight + bias
        return binary_cross_entropy_with_logits(
            z, torch.full_like(z, label), reduction="none"
        )

    return losses


@settings(deadline=None)
@given(
    seed=st.integers(0, 999),
    label=st.sampled_from([0.0, 1.0]),
    batch_size=st.integers(1, 40),
)
def test_a_linear_models_surface_is_the_closed_form(seed, label, batch_size):
    rng = np.random.default_rng(seed)
    weight, image = rng.normal(size=12), rng.uniform(size=(1, 3, 4))
    across = rng.choice([-1.0, 1.0], image.shape)
    # The gradient is (sigmoid(z) - y) w.
    along = np.sign(weight) * (1 if label == 0 else -1)
    z = weight @ image.ravel() + 0.3
    z = (
        z
        + STEPS[:, None] * (weight @ across.ravel())
        + STEPS[None, :] * (weight @ along)
    )
    expected = np.logaddexp(0, z) - label * z
    got = loss_surface(
        linear_losses(torch.tensor(weight), 0.3, label),
        torch.tensor(image),
        across=torch.tensor(across),
        along=torch.tensor(along.reshape(image.shape)),
        steps=STEPS,
        batch_size=batch_size,
    )
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert (np.diff(got, axis=1) > 0).all()


def test_moved_images_are_built_a_batch_at_a_time():
    seen = []

    def losses(x):
        seen.append(len(x))
        return x.flatten(1).sum(1)

    zeros = torch.zeros(1, 2, 2)
    loss_surface(losses, zeros, across=zeros, along=zeros, steps=STEPS, batch_size=10)
    assert seen == [10, 10, 10, 6]


def slow_losses(network, image, labels, branch, a, b, across):
    """The loss at one point, from the definition."""
    known = np.isfinite(labels)
    truth = torch.tensor(labels[known])[None]
    with through(network, branch):
        x = image.clone().requires_grad_()
        logits = network(x)[:, known]
        binary_cross_entropy_with_logits(logits, truth).backward()
        with torch.no_grad():
            moved = image + a * across + b * x.grad.sign()
            logits = network(moved)[:, known]
            return float(binary_cross_entropy_with_logits(logits, truth))


def test_a_surface_is_the_loss_at_each_point_through_its_own_branch(table, dual, cpu):
    found = list(
        landscape(table, [dual], images=3, points=3, reach=0.1, seed=7, device=cpu)
    )
    ids = ["both", "nodule", "heart"]
    assert [(s.variant, s.branch, s.image_id) for s in found] == [
        ("dual_bn", branch, name) for branch in ("std", "adv") for name in ids
    ]
    assert np.isnan(table.labels[table.image_ids.index("heart")]).any()
    dual.network.eval()
    for surface in found:
        row = table.image_ids.index(surface.image_id)
        image = torch.tensor(np.asarray(table.images[row]))[None, None] / 255
        # The middle line crosses no random direction.
        for j, b in enumerate((-0.1, 0, 0.1)):
            expected = slow_losses(
                dual.network, image, table.labels[row], surface.branch, 0, b, 0
            )
            assert surface.loss[1, j] == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(surface.steps, [-0.1, 0, 0.1], atol=1e-15)
        assert not surface.flat
    assert not np.allclose(found[0].loss, found[3].loss, rtol=1e-3)


def directions(monkeypatch, table, runs, cpu, **settings):
    """The random directions that surfaces are measured along."""
    from mlcore.evaluation.network import landscape as module

    drawn = {}

    def spying(losses, image, *, across, along, steps, batch_size):
        drawn.setdefault(image.sum().item(), []).append(across)
        return np.zeros((len(steps), len(steps)))

    monkeypatch.setattr(module, "loss_surface", spying)
    list(landscape(table, runs, points=2, device=cpu, **settings))
    return drawn


def test_the_random_direction_is_the_images_own_and_the_same_for_all_networks(
    table, runs, cpu, monkeypatch
):
    drawn = directions(monkeypatch, table, runs, cpu, images=2, seed=1)
    assert len(drawn) == 2
    for each in drawn.values():
        assert len(each) == 3
        assert all(torch.equal(one, each[0]) for one in each)
        assert set(each[0].unique().tolist()) == {-1.0, 1.0}
    one, other = (each[0] for each in drawn.values())
    assert not torch.equal(one, other)
    more = directions(monkeypatch, table, runs[:1], cpu, images=3, seed=1)
    again = directions(monkeypatch, table, runs[:1], cpu, images=2, seed=2)
    for key, each in drawn.items():
        assert torch.equal(more[key][0], each[0])
        assert not torch.equal(again[key][0], each[0])


def test_a_surface_across_the_random_direction_is_the_loss_there(
    table, dual, cpu, monkeypatch
):
    found = list(landscape(table, [dual], images=1, points=2, seed=7, device=cpu))
    (each,) = directions(monkeypatch, table, [dual], cpu, images=1, seed=7).values()
    row = table.image_ids.index("both")
    image = torch.tensor(np.asarray(table.images[row]))[None, None] / 255
    dual.network.eval()
    for surface in found:
        for i, a in enumerate((-0.5, 0.5)):
            for j, b in enumerate((-0.5, 0.5)):
                expected = slow_losses(
                    dual.network,
                    image,
                    table.labels[row],
                    surface.branch,
                    a,
                    b,
                    each[0],
                )
                assert surface.loss[i, j] == pytest.approx(expected, rel=1e-4)


def test_rows_are_json_and_say_which_step_is_which(table, dual, cpu):
    surface = next(
        landscape(table, [dual], images=1, points=3, reach=0.25, seed=7, device=cpu)
    )
    rows = surface.rows()
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == 9
    assert rows[1] == {
        "variant": "dual_bn",
        "branch": "std",
        "image_id": "both",
        "gradient_step": 0.0,
        "random_step": -0.25,
        "loss": surface.loss[0, 1],
    }


def test_measuring_leaves_the_network_as_it_was(table, dual, cpu):
    dual.network.train()
    dual.network.mixed_precision = True
    before = {k: v.clone() for k, v in dual.network.state_dict().items()}
    for _ in landscape(table, [dual], images=1, points=2, seed=7, device=cpu):
        assert dual.network.training  # between two surfaces, too
        assert dual.network.mixed_precision
    for name, value in dual.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def surface_of(loss, steps, *, flat=False):
    return Surface("standard", "std", "x", np.asarray(steps), np.asarray(loss), flat)


def test_the_slope_is_along_the_gradient_only_and_whichever_way():
    steps = np.array([-0.5, 0.0, 0.5])
    loss = 100 * steps[:, None] + np.array([0.0, -3.0, 1.0])[None, :]
    assert slopes(surface_of(loss, steps)) == pytest.approx((8, 7))


@settings(deadline=None)
@given(slope=st.floats(-9, 9), points=st.integers(2, 30), reach=st.floats(0.01, 1))
def test_a_plane_is_as_steep_on_every_grid(slope, points, reach):
    steps = np.linspace(-reach, reach, points)
    loss = 2 * steps[:, None] + slope * steps[None, :]
    expected = pytest.approx((abs(slope), abs(slope)), abs=1e-6)
    assert slopes(surface_of(loss, steps)) == expected


@settings(deadline=None)
@given(seed=st.integers(0, 999))
def test_the_estimate_bounds_a_linear_models_constant_from_below(seed):
    rng = np.random.default_rng(seed)
    weight = torch.tensor(rng.normal(size=8))
    loss = loss_surface(
        linear_losses(weight, 0.0, 1.0),
        torch.tensor(rng.uniform(size=(1, 2, 4))),
        across=torch.tensor(rng.choice([-1.0, 1.0], (1, 2, 4))),
        along=-weight.sign().reshape(1, 2, 4),
        steps=STEPS,
    )
    largest, mean = slopes(surface_of(loss, STEPS))
    # The cross-entropy rises by at most 1 per logit, the logit by the weights' L1 norm.
    assert 0 < mean <= largest <= float(weight.abs().sum())


def test_the_estimates_rows_are_those_of_the_surfaces_and_their_mean(table, dual, cpu):
    settings = {"images": 3, "points": 4, "reach": 0.2, "seed": 7, "device": cpu}
    rows = lipschitz(table, [dual], **settings)
    assert json.loads(json.dumps(rows)) == rows
    assert [(row["branch"], row["image_id"]) for row in rows] == [
        (branch, name)
        for branch in ("std", "adv")
        for name in ("both", "nodule", "heart", "all")
    ]
    expected = [slopes(surface) for surface in landscape(table, [dual], **settings)]
    for own, summary, at in ((rows[:3], rows[3], 0), (rows[4:7], rows[7], 3)):
        values = expected[at : at + 3]
        assert [(row["estimate"], row["mean_slope"]) for row in own] == values
        assert summary["n"] == 3
        for name, each in zip(
            ("estimate", "mean_slope"), zip(*values, strict=True), strict=True
        ):
            assert summary[name] == pytest.approx(np.mean(each))
            assert summary[f"{name}_sd"] == pytest.approx(np.std(each, ddof=1))


def test_one_image_has_no_spread(table, dual, cpu):
    rows = lipschitz(table, [dual], images=1, points=2, seed=1, device=cpu)
    assert rows[1]["estimate"] == rows[0]["estimate"]
    assert rows[1]["estimate_sd"] is None
    assert rows[1]["mean_slope_sd"] is None


def test_where_the_gradient_is_zero_no_steepness_is_told(table, dual, cpu):
    torch.nn.init.zeros_(dual.network.resnet.fc.weight)
    assert next(landscape(table, [dual], images=1, points=2, seed=1, device=cpu)).flat
    for row in lipschitz(table, [dual], images=2, points=2, seed=1, device=cpu):
        assert (row["n"], row["estimate"], row["mean_slope"]) == (0, None, None)
        assert row["reason"] == "the gradient is zero at every pixel"


@pytest.mark.parametrize("setting", [{"images": 0}, {"points": 1}, {"reach": 0}])
def test_a_surface_of_nothing_is_refused(table, dual, cpu, setting):
    with pytest.raises(UsageError, match="at least 1 image, 2 points"):
        lipschitz(table, [dual], seed=1, device=cpu, **{"images": 1, **setting})
