import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from mlcore.engine.config import EngineError
from mlcore.engine.model.networks import build_network
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.localization.randomization import (
    SIMILARITIES,
    cascade,
    randomization,
    similarities,
)
from tests.mlcore.evaluation.conftest import SIZE

STAGES = ("fc", "layer4", "layer3", "layer2", "layer1", "stem")


def slow_ranks(values):
    """One plus the smaller ones plus half of the other equal ones."""
    return [
        1 + sum(v < one for v in values) + (sum(v == one for v in values) - 1) / 2
        for one in values
    ]


def slow_pearson(one, other):
    one, other = ([float(v) for v in values] for values in (one, other))
    middle, centre = sum(one) / len(one), sum(other) / len(other)
    both = sum((a - middle) * (b - centre) for a, b in zip(one, other, strict=True))
    squares = sum((a - middle) ** 2 for a in one), sum((b - centre) ** 2 for b in other)
    return both / (squares[0] * squares[1]) ** 0.5


maps = arrays.arrays(np.float32, (3, 4), elements=st.integers(-4, 4)).filter(
    lambda values: np.ptp(np.abs(values)) > 0
)


@settings(deadline=None)
@given(before=maps, after=maps)
def test_similarities_are_rank_and_product_moment_correlation(before, after):
    (got,) = similarities(before[None], after[None])
    ranks = [slow_ranks(np.abs(values).ravel()) for values in (before, after)]
    expected = slow_pearson(*ranks), slow_pearson(before.ravel(), after.ravel())
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_on_a_whole_image_they_are_scipys():
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=(2, 1, 32, 32)).astype(np.float32)
    after += before
    expected = (
        stats.spearmanr(np.abs(before), np.abs(after), axis=None).statistic,
        stats.pearsonr(before.ravel(), after.ravel()).statistic,
    )
    np.testing.assert_allclose(similarities(before, after)[0], expected, rtol=1e-6)


def test_a_map_turned_round_is_the_same_in_strength_and_the_opposite_in_sign():
    before = np.random.default_rng(1).normal(size=(1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(similarities(before, -3 * before), [[1, -1]])


def test_faint_maps_correlate_as_strong_ones():
    before, after = np.random.default_rng(1).normal(size=(2, 1, 8, 8))
    strong = similarities(before.astype(np.float32), after.astype(np.float32))
    faint = similarities(
        (before * 1e-35).astype(np.float32), (after * 1e-35).astype(np.float32)
    )
    np.testing.assert_allclose(faint, strong, rtol=1e-4)


def test_maps_without_a_correlation_are_undefined_but_a_constant_one_may_stay():
    zero, flat = np.zeros((4, 4)), np.full((4, 4), 2.0)
    bump = np.eye(4)
    before = np.stack([zero, bump, zero, flat, flat, bump]).astype(np.float32)
    after = np.stack([bump, zero, zero, bump, flat, bump]).astype(np.float32)
    got = similarities(before, after)
    assert np.isnan(got[:4]).all()
    assert (got[4:] == 1).all()


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def part(name):
    """The stage a value of a state dictionary belongs to."""
    first = name.removeprefix("resnet.").split(".")[0]
    return "stem" if first in ("conv1", "bn1") else first


@pytest.mark.parametrize("which", [0, 1])
def test_the_parts_become_random_from_the_last_to_the_first(unlike_runs, which):
    run = unlike_runs[which]
    with torch.no_grad():  # the running statistics too, as if trained
        for value in run.network.state_dict().values():
            value += 1
    trained = weights(run.network)
    fresh = weights(
        build_network(run.config.train.network, 2, dual=which == 1, seed=77)
    )
    assert {part(name) for name in trained} == set(STAGES)
    names = []
    for stage, (name, less) in enumerate(cascade(run, 77)):
        names.append(name)
        for key, value in less.network.state_dict().items():
            lost = part(key) in STAGES[:stage]
            assert torch.equal(value, (fresh if lost else trained)[key]), (name, key)
        assert not less.network.training
    assert names == ["none", *STAGES]
    assert all(
        torch.equal(value, trained[key])
        for key, value in run.network.state_dict().items()
    )


def checked(table, runs, **options):
    options = {"images": 100, "redraws": 20, "seed": 1} | options
    return randomization(table, runs, **options)


def test_every_variant_branch_stage_and_measure_has_its_row(table, unlike_runs):
    rows = checked(table, unlike_runs)
    keys = ("variant", "branch", "stage", "layers", "measure")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (*arm, stage, layers, measure)
        for arm in (("standard", "std"), ("dual_bn", "std"), ("dual_bn", "adv"))
        for stage, layers in enumerate(("none", *STAGES))
        for measure in SIMILARITIES
    ]
    for row in rows:
        assert (row["n"], row["patients"], row["undefined"]) == (5, 5, 0)
        assert -1 <= row["lo"] <= row["value"] <= row["hi"] <= 1
        if row["stage"] == 0:
            assert (row["value"], row["lo"], row["hi"], row["unchanged"]) == (
                1,
                1,
                1,
                5,
            )
        else:
            assert row["value"] < 0.99
            assert row["unchanged"] == 0


def test_a_value_is_the_mean_over_the_images_of_the_readers_maps(table, unlike_runs):
    run = unlike_runs[1]
    rows = checked(table, [run])
    test = table.split_indices("test")
    images, labels = np.asarray(table.images[test]), table.labels[test]
    seed = np.random.default_rng(1)
    seed.choice(test, len(test), replace=False)
    stages = cascade(run, int(seed.integers(2**63)))
    maps = [less.maps(images, labels, branch="adv") for _, less in stages]
    for stage in (2, len(STAGES)):
        expected = similarities(maps[0], maps[stage]).mean(axis=0)
        got = [
            row["value"]
            for row in rows
            if row["stage"] == stage and row["branch"] == "adv"
        ]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_map_that_does_not_change_is_shown_as_such(table, runs, monkeypatch):
    """Such as a map of the image's edges, which asks no network."""

    def edges(_run, images, _labels, **_):
        return np.gradient(images.astype(np.float32), axis=1)

    monkeypatch.setattr(LoadedRun, "maps", edges)
    for row in checked(table, runs):
        assert (row["value"], row["lo"], row["hi"]) == (1, 1, 1)
        assert row["unchanged"] == row["n"] == 5


def test_a_map_that_only_grows_is_unchanged_too(table, runs, monkeypatch):
    rng = np.random.default_rng(3)
    base = rng.normal(size=(5, SIZE, SIZE)).astype(np.float32)
    monkeypatch.setattr(
        LoadedRun, "maps", lambda *_, **__: base * np.float32(rng.uniform(1, 9))
    )
    rows = checked(table, runs[:1])
    assert all(row["unchanged"] == 5 for row in rows)
    assert all(row["value"] == pytest.approx(1) for row in rows)


def test_maps_of_nothing_are_counted_and_give_no_number(table, runs, monkeypatch):
    maps = np.zeros((5, SIZE, SIZE), np.float32)
    monkeypatch.setattr(LoadedRun, "maps", lambda *_, **__: maps)
    for row in checked(table, runs[:1]):
        assert (row["n"], row["undefined"], row["unchanged"]) == (0, 5, 0)
        assert row["value"] is row["lo"] is row["hi"] is None
        assert row["reason"] == "no map has a correlation"


def test_as_many_images_are_drawn_as_are_wanted(table, runs):
    rows = checked(table, runs[:1], images=3)
    assert all(row["n"] == 3 for row in rows)
    one = checked(table, runs[:1], images=1)[0]
    assert (one["value"], one["lo"], one["hi"]) == (1, None, None)
    assert one["reason"] == "one patient has no interval"


def test_the_same_seed_gives_the_same_rows_and_another_other_weights(table, runs):
    one, same, other = (checked(table, runs, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert [row["value"] for row in one] != [row["value"] for row in other]


def test_the_seed_of_a_run_does_not_bring_its_first_weights_back(table, runs):
    """The runs here are fresh, of seed 1: their maps would come back at the end."""
    last = checked(table, runs[:1], seed=1)[-2]
    assert last["stage"] == len(STAGES)
    assert last["value"] < 0.9


def test_without_a_test_image_it_says_so(table, runs):
    columns = dict(table.columns) | {"split": ("train",) * len(table)}
    with pytest.raises(EngineError, match="no image in the test split"):
        checked(dataclasses.replace(table, columns=columns), runs)
