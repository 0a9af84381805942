import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlcore.datasets.table import Box
from mlcore.engine.saliency import loss_gradients
from mlcore.evaluation import localization as module
from mlcore.evaluation.localization import (
    MAPS,
    box_mask,
    branches,
    energy_inside,
    localization,
    targets,
)
from tests.mlcore.evaluation.conftest import MASKS, SIZE, square


def slow_energy(gradient, mask):
    """Pixel by pixel."""
    total = inside = 0.0
    for row in range(gradient.shape[0]):
        for column in range(gradient.shape[1]):
            energy = abs(float(gradient[row, column]))
            total += energy
            if mask[row, column]:
                inside += energy
    return inside / total if total else np.nan


@given(
    gradients=arrays.arrays(
        np.float32, (3, 4, 5), elements=st.floats(-100, 100, width=32)
    ),
    masks=arrays.arrays(np.bool_, (3, 4, 5)),
)
def test_energy_inside_is_the_share_of_absolute_gradient(gradients, masks):
    got = energy_inside(gradients, masks)
    expected = [slow_energy(g, m) for g, m in zip(gradients, masks, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert np.all(np.isnan(got) | ((got >= 0) & (got <= 1)))


def test_a_map_without_structure_scores_the_masks_area():
    masks = np.stack([square(0, 0, 4), square(3, 3, 8), np.ones((SIZE, SIZE), bool)])
    signs = np.random.default_rng(0).choice([-0.2, 0.2], masks.shape)
    got = energy_inside(signs.astype(np.float32), masks)
    np.testing.assert_allclose(got, masks.mean(axis=(1, 2)))


def test_scale_and_sign_of_a_map_do_not_matter_even_where_it_is_tiny():
    rng = np.random.default_rng(1)
    gradient = rng.normal(size=(1, SIZE, SIZE)).astype(np.float32)
    mask = square(2, 2, 5)[None]
    expected = energy_inside(gradient, mask)
    for factor in (-1, 1e-25, 1e20):
        scaled = (gradient * np.float32(factor)).astype(np.float32)
        np.testing.assert_allclose(energy_inside(scaled, mask), expected, rtol=1e-5)


def test_a_map_that_is_zero_everywhere_has_no_score():
    gradients = np.zeros((2, SIZE, SIZE), np.float32)
    gradients[1, 0, 0] = -1e-30
    got = energy_inside(gradients, np.stack([square(0, 0, 2)] * 2))
    assert np.isnan(got[0])
    assert got[1] == 1


def slow_box_mask(boxes, size):
    mask = np.zeros((size, size), dtype=bool)
    for row in range(size):
        for column in range(size):
            x, y = (column + 0.5) / size, (row + 0.5) / size
            mask[row, column] = any(
                box.x <= x < box.x + box.w and box.y <= y < box.y + box.h
                for box in boxes
            )
    return mask


unit = st.floats(0, 1)


@given(boxes=st.lists(st.builds(Box, st.just("Heart"), unit, unit, unit, unit)))
def test_boxes_are_joined_pixel_by_pixel(boxes):
    np.testing.assert_array_equal(box_mask(boxes, 7), slow_box_mask(boxes, 7))


def test_boxes_that_meet_share_no_pixel():
    left, right = (box_mask([Box("", x, 0, 0.375, 1)], SIZE) for x in (0, 0.375))
    assert left.sum() == right.sum() == 6 * SIZE
    assert not (left & right).any()


def test_targets_are_the_tests_findings_whose_place_is_known(table):
    found = {target.finding: target for target in targets(table)}
    assert list(found) == ["Nodule", "Heart"]
    named = {
        name: [table.image_ids[row] for row in target.rows]
        for name, target in found.items()
    }
    assert named == {"Nodule": ["both", "nodule"], "Heart": ["both", "heart"]}
    expected = [MASKS["both"]["Nodule"], MASKS["nodule"]["Nodule"]]
    np.testing.assert_array_equal(found["Nodule"].masks, expected)
    joined = square(8, 0, 4) | square(10, 2, 4)
    np.testing.assert_array_equal(found["Heart"].masks[0], joined)
    assert found["Heart"].masks[1].mean() == 0.5


def test_targets_of_another_split_are_its_own(table):
    (target,) = targets(table, "train")
    assert [table.image_ids[row] for row in target.rows] == ["trained"]
    assert list(targets(table, "dev")) == []


def test_a_dual_network_is_asked_through_both_branches(runs):
    assert [branches(run) for run in runs] == [("std",), ("std", "adv")]


@pytest.mark.parametrize("kind", MAPS)
def test_a_row_is_made_of_the_maps_of_its_own_labels(table, runs, cpu, kind):
    rows = localization(table, runs, redraws=50, seed=1, device=cpu)
    (target, *_) = targets(table)
    labels = table.labels[target.rows].copy()
    if kind == "own finding":
        labels[:, 1] = np.nan
    dual = runs[1]
    for branch in ("std", "adv"):
        (row,) = (
            row
            for row in rows
            if (row["finding"], row["map"], row["variant"], row["branch"])
            == ("Nodule", kind, "dual_bn", branch)
        )
        maps = loss_gradients(
            dual.network,
            np.asarray(table.images[target.rows]),
            labels,
            branch=branch,
            device=cpu,
        )
        scores = [slow_energy(*pair) for pair in zip(maps, target.masks, strict=True)]
        assert row["energy_inside"] == pytest.approx(np.mean(scores))
        assert row["area_share"] == pytest.approx((16 + 36) / 2 / SIZE**2)
        assert row["ratio"] == pytest.approx(row["energy_inside"] / row["area_share"])
        assert (row["n"], row["undefined"]) == (2, 0)
        # Of two cases, one redraw in four holds only the lower, one only the higher.
        assert (row["lo"], row["hi"]) == pytest.approx((min(scores), max(scores)))


def test_every_finding_map_variant_and_branch_has_its_row(table, runs, cpu):
    rows = localization(table, runs, redraws=5, seed=1, device=cpu)
    keys = [(row["finding"], row["map"], row["variant"], row["branch"]) for row in rows]
    assert keys == [
        (finding, kind, variant, branch)
        for finding in ("Nodule", "Heart")
        for kind in MAPS
        for variant, branch in (
            ("standard", "std"),
            ("dual_bn", "std"),
            ("dual_bn", "adv"),
        )
    ]


def test_the_own_findings_map_knows_nothing_of_the_other_labels(
    table, runs, cpu, monkeypatch
):
    asked = []

    def spying(_network, images, labels, **_):
        asked.append(labels)
        return np.ones(images.shape, np.float32)

    monkeypatch.setattr(module, "loss_gradients", spying)
    before = table.labels.copy()
    localization(table, runs[:1], redraws=5, seed=1, device=cpu)
    everything, nodule, _, heart = asked
    np.testing.assert_array_equal(everything, [[1, 1], [1, 0]])
    np.testing.assert_array_equal(nodule, [[1, np.nan], [1, np.nan]])
    np.testing.assert_array_equal(heart, [[np.nan, 1], [np.nan, 1]])
    np.testing.assert_array_equal(table.labels, before)


def faked(monkeypatch, *maps):
    monkeypatch.setattr(
        module, "loss_gradients", lambda *_, **__: np.stack(maps).astype(np.float32)
    )


def test_a_map_of_nothing_is_counted_and_left_out(table, runs, cpu, monkeypatch):
    faked(monkeypatch, np.zeros((SIZE, SIZE)), square(8, 8, 6) + 0.0)
    row = localization(table, runs[:1], redraws=5, seed=1, device=cpu)[0]
    assert (row["n"], row["undefined"]) == (1, 1)
    # The area is that of the images which are left, or the ratio would mean nothing.
    assert row["area_share"] == pytest.approx(36 / SIZE**2)
    assert (row["energy_inside"], row["lo"], row["hi"]) == pytest.approx((1, 1, 1))
    assert row["ratio"] == pytest.approx(SIZE**2 / 36)


def test_where_every_map_is_zero_nothing_is_said(table, runs, cpu, monkeypatch):
    faked(monkeypatch, *np.zeros((2, SIZE, SIZE)))
    row = localization(table, runs[:1], redraws=5, seed=1, device=cpu)[0]
    assert (row["n"], row["undefined"]) == (0, 2)
    for name in ("area_share", "energy_inside", "lo", "hi", "ratio"):
        assert row[name] is None


def test_a_map_without_structure_scores_one_time_chance(table, runs, cpu, monkeypatch):
    faked(monkeypatch, *np.full((2, SIZE, SIZE), -0.1))
    for row in localization(table, runs[:1], redraws=5, seed=1, device=cpu):
        assert row["ratio"] == pytest.approx(1)


def test_the_same_seed_gives_the_same_rows(table, runs, cpu):
    one, same, other = (
        localization(table, runs, redraws=7, seed=seed, device=cpu)
        for seed in (1, 1, 3)
    )
    assert one == same
    ends = [[(row["lo"], row["hi"]) for row in rows] for rows in (one, other)]
    assert ends[0] != ends[1]


def test_variants_see_the_same_redraws(table, runs, cpu, monkeypatch):
    generators = []
    real = module.bootstrap_mean_interval

    def spying(values, *, redraws, rng):
        generators.append(rng.bit_generator.state)
        return real(values, redraws=redraws, rng=rng)

    monkeypatch.setattr(module, "bootstrap_mean_interval", spying)
    localization(table, runs, redraws=5, seed=1, device=cpu)
    assert len(generators) == 12
    assert all(state == generators[0] for state in generators)
