import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mlcore.bundle.drawing import draw_cases, findings_of
from mlcore.bundle.normalising import normalise, to_int8
from mlcore.datasets.table import Box, MaskSet
from mlcore.engine.model.objectives import VARIANTS
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.runs import configure, load_run
from mlcore.errors import UsageError
from mlcore.files import sha256_file
from mlcore.management.cases_of_runs import cases_of, contents_of, truth_of
from tests.mlcore.test_generate_saliency import make_run
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    folders = [
        make_run(root, table, variant, seed=seed)
        for seed, variant in enumerate(VARIANTS)
    ]
    return [load_run(folder, torch.device("cpu"), GRADIENT) for folder in folders]


def shown(row):
    return SimpleNamespace(row=row, pixels=np.zeros((64, 128), np.uint8))


def test_the_contents_tell_the_draw_the_maps_and_the_runs(table, runs):
    draw = draw_cases(table, 3, 5)
    contents = contents_of(table, draw, runs)
    assert (contents.dataset, contents.modality) == ("toy", "xray")
    assert contents.classes == ["Nodule", "Heart"]
    assert contents.sampling == {
        "seed": 5,
        "eligible": draw.eligible,
        "drawn": 3,
        "allow_no_finding": False,
    }
    assert contents.saliency == {
        "method": "gradient",
        "target": "loss",
        "labels": "all",
        "clip": "mean +/- 3 SD of the image",
        "dtype": "int8",
        "scale": 127,
    }
    assert contents.legend["below"] == "negative"
    assert contents.legend["above"] == "positive"
    branches = {name: each["branch"] for name, each in contents.arms.items()}
    assert branches == {"standard": "std", "single_bn": "std", "dual_bn": "adv"}
    for run in runs:
        about = contents.arms[run.variant]
        assert about["run"] == run.config.name
        assert about["checkpoint_sha256"] == sha256_file(run.weights)
        assert (about["method"], about["signed"]) == ("gradient", True)


def test_an_overlay_is_its_variants_map_of_that_case(table, runs):
    draw = draw_cases(table, 3, 5)
    cases = list(cases_of(table, draw, runs, shown))
    for row, case in zip(draw.indices, cases, strict=True):
        assert case.case_id == table.image_ids[row]
        assert case.findings == findings_of(table, row)
        assert case.image.row == row
        for run in runs:
            maps = run.maps(table.images[[row]], table.labels[[row]])
            expected = to_int8(normalise(maps))[0].astype(int)
            overlay = case.overlays[run.variant].astype(int)
            # Alone and in a batch a gradient may differ in its last bit.
            assert np.abs(overlay - expected).max() <= 1


def test_training_cases_come_last_and_are_marked(table, runs):
    draw = draw_cases(table, 2, 5, training=2)
    assert contents_of(table, draw, runs).sampling["training"] == 2
    assert "training" not in contents_of(table, draw_cases(table, 2, 5), runs).sampling
    cases = list(cases_of(table, draw, runs, shown))
    assert [case.training for case in cases] == [False, False, True, True]
    drawn = draw_cases(table, 4, 5).indices
    assert [case.case_id for case in cases] == [table.image_ids[row] for row in drawn]


def test_maps_of_different_targets_do_not_share_a_bundle(table, runs):
    config = configure(table, "dual_bn", "demo", ["saliency.target=positive_logits"])
    other = dataclasses.replace(runs[2], config=config)
    with pytest.raises(UsageError, match=r"differ in saliency\.target"):
        contents_of(table, draw_cases(table, 1, 0), [runs[0], other])
    contents = contents_of(table, draw_cases(table, 1, 0), [other])
    assert contents.saliency["labels"] == "positive"
    assert contents.legend["above"] == "for the findings"


def test_the_truth_is_what_the_table_knows_in_pixels_of_the_image_shown():
    mask = np.eye(4, dtype=bool)
    table = SimpleNamespace(
        image_ids=("a", "b"),
        classes=("Nodule", "Heart", "Effusion", "No Finding"),
        labels=np.array([[0, 0, 0, 1], [1, 0, np.nan, 0]], np.float32),
    )
    boxes = {"b": (Box("Nodule", 0.5, 0.25, 0.25, 0.5), Box("Other", 0, 0, 1, 1))}
    masks = MaskSet(mask[np.newaxis].astype(np.uint8), {("b", "Nodule"): 0})
    truth = truth_of(table, 1, boxes, masks, shown(1))
    assert set(truth) == {"Nodule", "Heart"}
    nodule, heart = truth["Nodule"], truth["Heart"]
    # The image shown is 128 wide and 64 high.
    assert (nodule.label, nodule.boxes) == (1, [(64, 16, 32, 32)])
    np.testing.assert_array_equal(nodule.mask, mask)
    assert nodule.mask.dtype == np.uint8
    assert (heart.label, heart.boxes, heart.mask) == (0, [], None)
    healthy = truth_of(table, 0, {}, None, shown(0))
    assert {name: one.label for name, one in healthy.items()} == {
        "Nodule": 0,
        "Heart": 0,
        "Effusion": 0,
    }
