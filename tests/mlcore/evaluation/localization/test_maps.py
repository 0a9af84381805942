"""What is evaluated is what readers see, whatever a run's maps explain."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mlcore.bundle.drawing import draw_cases
from mlcore.bundle.normalising import normalise, to_int8
from mlcore.evaluation.localization import measure as localizing
from mlcore.evaluation.localization import randomization as randomizing
from mlcore.evaluation.localization.examples import saliency_examples
from mlcore.evaluation.localization.measure import localization
from mlcore.evaluation.localization.randomization import randomization
from mlcore.evaluation.localization.targets import targets
from mlcore.management.cases_of_runs import cases_of
from tests.mlcore.evaluation.conftest import SIZE, loaded, shaken


@pytest.fixture(params=["loss", "positive_logits"])
def run(request, table, tmp_path):
    target = f"saliency.target={request.param}"
    return shaken(loaded(table, "dual_bn", tmp_path, target), seed=2)


def readers_maps(run, table, rows):
    """From the definition: the gradient of what the configuration names."""
    x = (torch.tensor(table.images[rows])[:, None] / 255).requires_grad_(True)
    labels = torch.tensor(table.labels[rows])
    for module in run.network.modules():
        if hasattr(module, "bn_adv"):
            module.branch = "adv"
    logits = run.network.eval()(x)
    if run.config.train.saliency.target == "loss":
        known = torch.isfinite(labels)
        torch.nn.functional.binary_cross_entropy_with_logits(
            logits[known], labels[known], reduction="sum"
        ).backward()
    else:
        logits[labels == 1].sum().backward()
    for module in run.network.modules():
        if hasattr(module, "bn_adv"):
            module.branch = "std"
    return x.grad[:, 0].numpy()


def test_a_runs_maps_explain_what_its_configuration_says(run, table):
    rows = table.split_indices("test")
    maps = run.maps(table.images[rows], table.labels[rows])
    expected = readers_maps(run, table, rows)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-6)
    other = run.maps(table.images[rows], table.labels[rows], branch="std")
    assert not np.allclose(maps, other, rtol=0.1)


def test_the_bundle_holds_the_runs_maps(run, table):
    draw = draw_cases(table, 3, 1)
    rows = np.array(draw.indices)
    shown = SimpleNamespace(pixels=np.zeros((SIZE, SIZE), np.uint8))
    cases = cases_of(table, draw, [run], lambda _row: shown)
    overlays = [case.overlays["dual_bn"] for case in cases]
    maps = run.maps(table.images[rows], table.labels[rows])
    np.testing.assert_array_equal(overlays, to_int8(normalise(maps)))


def test_the_maps_judged_by_place_are_the_runs(run, table, monkeypatch):
    judged = []
    real = localizing.score_map

    def spying(one, *place):
        judged.append(one.copy())
        return real(one, *place)

    monkeypatch.setattr(localizing, "score_map", spying)
    localization(table, [run], redraws=2, seed=1)
    for target in targets(table):
        rows = target.rows
        expected = run.maps(table.images[rows], table.labels[rows])
        for one in expected:
            assert any(np.array_equal(one, other) for other in judged)


def test_the_maps_that_become_random_begin_with_the_runs(run, table, monkeypatch):
    compared = []
    real = randomizing.similarities

    def spying(before, after):
        compared.append(before.copy())
        return real(before, after)

    monkeypatch.setattr(randomizing, "similarities", spying)
    randomization(table, [run], images=100, redraws=2, seed=1)
    rows = table.split_indices("test")
    expected = run.maps(table.images[rows], table.labels[rows])
    assert expected.shape == (5, SIZE, SIZE)
    assert any(np.array_equal(expected, before) for before in compared)


def test_the_maps_shown_are_the_runs_and_are_told_by_their_legend(run, table):
    examples = saliency_examples(table, [run])
    rows = np.array([table.image_ids.index(each.image_id) for each in examples])
    expected = normalise(run.maps(table.images[rows], table.labels[rows]))
    for example, one in zip(examples, expected, strict=True):
        np.testing.assert_array_equal(example.maps["dual_bn"], one)
        assert example.quantity == run.legend.quantity
        assert example.meaning == run.legend.meaning


def test_what_red_means_depends_on_what_the_map_explains(table, tmp_path):
    meanings = [
        loaded(table, "standard", tmp_path, f"saliency.target={target}").legend.meaning
        for target in ("loss", "positive_logits")
    ]
    assert "raised the loss" in meanings[0]
    assert "loss" not in meanings[1]


def test_maps_of_two_kinds_are_told_apart(table, tmp_path):
    runs = [
        loaded(table, "standard", tmp_path),
        loaded(table, "dual_bn", tmp_path, "saliency.target=positive_logits"),
    ]
    meaning = saliency_examples(table, runs)[0].meaning
    assert "lowered it. (standard)" in meaning
    assert "against them. (dual_bn)" in meaning
    # Each is set beside untrained networks whose maps explain the same.
    table_rows = localization(table, runs, redraws=2, seed=1)["localization"]
    levels = {
        variant: [r["chance_untrained"] for r in table_rows if r["variant"] == variant]
        for variant in ("standard", "dual_bn")
    }
    assert levels["standard"] != levels["dual_bn"][: len(levels["standard"])]
