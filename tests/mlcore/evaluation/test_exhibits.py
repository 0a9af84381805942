import numpy as np
import pytest
import torch

from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.saliency import normalise
from mlcore.evaluation.discrimination.part import development_cutoffs, measure
from mlcore.evaluation.exhibits import (
    EXAMPLE_EPS,
    attack_examples,
    precision_recall,
    roc_curves,
    saliency_examples,
)
from tests.mlcore.evaluation.conftest import IMAGES, MASKS, loaded, write_marked_table
from tests.mlcore.evaluation.discrimination.test_part import some_cases
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="module")
def measured():
    cases = some_cases(900)
    return measure(cases, development_cutoffs(cases), redraws=2, seed=1)


def test_a_roc_curve_encloses_its_area_and_holds_the_chosen_point(measured):
    curves = roc_curves(measured)
    assert [(each.finding, each.variant) for each in curves] == [
        (finding, variant)
        for finding in ("Edema", "Mass")  # nobody has the gout
        for variant in ("standard", "single_bn", "dual_bn")
    ]
    for number, each in enumerate(curves):
        found = measured.found[number % 3][number // 3]
        assert np.trapezoid(each.y, each.x) == pytest.approx(found.auc, abs=0.002)
        assert each.label == f"AUC {found.auc:.2f}"
        assert len(each.x) <= 500
        assert (each.x[0], each.y[0], each.x[-1], each.y[-1]) == (0, 0, 1, 1)
        assert (1 - each.point[0], each.point[1]) == pytest.approx(
            (found.best.specificity, found.best.sensitivity)
        )


def test_a_precision_recall_curve_ends_at_the_share_of_the_ill(measured):
    for number, each in enumerate(precision_recall(measured)):
        found = measured.found[number % 3][number // 3]
        assert each.label == f"AP {found.ap:.2f}"
        assert (each.x[0], each.y[0], each.x[-1]) == (0, 1, 1)
        assert each.y[-1] == pytest.approx(found.n_pos / found.n)
        assert each.point is None


def test_maps_are_shown_as_readers_see_them(table, unlike_runs):
    examples = saliency_examples(table, unlike_runs)
    # Findings by turns, no image twice, none without a known place.
    assert [each.image_id for each in examples] == ["both", "nodule", "heart"]
    np.testing.assert_array_equal(examples[0].mask, MASKS["both"]["Nodule"])
    assert examples[0].findings == "Nodule, Heart"
    rows = np.array([table.image_ids.index(each.image_id) for each in examples])
    for run in unlike_runs:
        maps = normalise(run.maps(table.images[rows], table.labels[rows]))
        for example, expected in zip(examples, maps, strict=True):
            np.testing.assert_array_equal(example.maps[run.variant], expected)


def test_without_a_known_place_images_with_a_finding_are_shown(tmp_path):
    table = write_toy_table(tmp_path / "toy")
    examples = saliency_examples(table, [loaded(table, "standard", tmp_path)])
    assert examples
    assert all(each.mask is None and each.findings for each in examples)


def test_an_attack_stays_in_its_ball_and_says_what_it_did(table, unlike_runs, cpu):
    examples = attack_examples(table, unlike_runs, device=cpu)
    assert [each.variant for each in examples] == [r.variant for r in unlike_runs]
    for each, run in zip(examples, unlike_runs, strict=True):
        assert each.image_id == "both"
        assert 0 < np.abs(each.attacked - each.image).max() <= EXAMPLE_EPS + 1e-7
        shown = torch.tensor(np.stack([each.image, each.attacked]))[:, None].float()
        with torch.no_grad(), through(run.network, each.branch):
            said = torch.sigmoid(run.network.eval()(shown))
        column = run.classes.index(each.outcome.split()[0])
        before, after = said[:, column].tolist()
        assert each.outcome.endswith(f"{before:.2f} to {after:.2f}")


def test_where_nobody_is_ill_there_is_nothing_to_show(tmp_path, cpu):
    images = {name: IMAGES[name] for name in ("trained", "watched", "well")}
    table = write_marked_table(tmp_path / "marked", images)
    runs = [loaded(table, "standard", tmp_path)]
    assert saliency_examples(table, runs) == []
    assert attack_examples(table, runs, device=cpu) == []
