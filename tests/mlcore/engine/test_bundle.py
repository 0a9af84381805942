import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.engine.bundle import draw_cases, findings_of, write_bundle
from mlcore.engine.checkpoint import save_weights
from mlcore.engine.config import EngineError, to_dict
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import VARIANTS, find_objective
from mlcore.engine.model.saliency import GRADIENT, normalise, to_int8
from mlcore.engine.runs import configure, load_run
from mlcore.files import sha256_file, write_json
from tests.mlcore.toy import QUICK


def relabelled(table, labels, classes=None):
    return dataclasses.replace(
        table,
        labels=np.array(labels, dtype=np.float32),
        classes=classes or table.classes,
    )


@given(seed=st.integers(0, 2**31), cases=st.integers(1, 4))
def test_cases_are_ill_test_images_one_per_patient(table, seed, cases):
    draw = draw_cases(table, cases, seed)
    assert len(set(draw.indices)) == cases
    assert len({table.patient_ids[row] for row in draw.indices}) == cases
    for row in draw.indices:
        assert table.splits[row] == "test"
        assert 1 in table.labels[row]
    ill = [row for row in table.split_indices("test") if 1 in table.labels[row]]
    assert draw.eligible == len(ill)
    assert draw_cases(table, cases, seed) == draw
    assert draw_cases(table, 1, seed).indices == draw.indices[:1]


@given(seed=st.integers(0, 2**31), cases=st.integers(1, 3), training=st.integers(0, 1))
def test_training_cases_are_ill_test_images_of_other_patients(
    table, seed, cases, training
):
    draw = draw_cases(table, cases, seed, training=training)
    without = draw_cases(table, cases, seed)
    assert (draw.indices, draw.eligible) == (without.indices, without.eligible)
    assert without.training == ()
    assert len(draw.training) == training
    together = draw_cases(table, cases + training, seed).indices
    assert (*draw.indices, *draw.training) == together
    patients = [table.patient_ids[row] for row in together]
    assert len(set(patients)) == len(patients)
    for row in draw.training:
        assert table.splits[row] == "test"
        assert findings_of(table, row)


def test_too_few_patients_for_training_are_an_error_that_says_how_many(table):
    with pytest.raises(EngineError) as caught:
        draw_cases(table, 3, 0, training=2)
    assert str(caught.value) == (
        "3 cases and 2 training cases were asked for, but toy has images with a "
        "finding of only 4 patients in test."
    )
    with pytest.raises(EngineError, match="training cases is a whole number from 0"):
        draw_cases(table, 3, 0, training=-1)


def test_every_eligible_image_can_be_drawn(table):
    drawn = {row for seed in range(60) for row in draw_cases(table, 2, seed).indices}
    ill = {row for row in table.split_indices("test") if 1 in table.labels[row]}
    assert drawn == ill


def test_healthy_images_are_drawn_only_when_allowed(table):
    healthy = relabelled(table, np.zeros_like(table.labels))
    with pytest.raises(EngineError, match="only 0 patients in test"):
        draw_cases(healthy, 1, 0)
    draw = draw_cases(healthy, 4, 0, allow_no_finding=True)
    assert draw.allow_no_finding
    assert draw.eligible == 8


def test_no_finding_is_no_pathology(table):
    labels = np.zeros_like(table.labels)
    labels[:, 0] = 1
    classes = ("No Finding", "Heart")
    with pytest.raises(EngineError, match="only 0 patients"):
        draw_cases(relabelled(table, labels, classes), 1, 0)
    labels[-1, 1] = 1
    both = relabelled(table, labels, classes)
    (row,) = draw_cases(both, 1, 0).indices
    assert findings_of(both, row) == ["Heart"]


def test_too_few_patients_are_an_error_that_says_how_many(table):
    ill = {
        table.patient_ids[r]
        for r in table.split_indices("test")
        if 1 in table.labels[r]
    }
    with pytest.raises(EngineError) as caught:
        draw_cases(table, 5, 0)
    assert str(caught.value) == (
        "5 cases were asked for, but toy has images with a finding of only "
        f"{len(ill)} patients in test."
    )
    with pytest.raises(EngineError, match="At least one case"):
        draw_cases(table, 0, 0)


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    import torch

    loaded = []
    for seed, variant in enumerate(VARIANTS):
        config = configure(table, variant, "demo", QUICK)
        folder = tmp_path_factory.mktemp("runs") / config.name
        write_json(folder / "config.json", to_dict(config))
        write_json(folder / "result.json", {"finished_at": "2026-01-01"})
        network = build_network(
            config.train.network, 2, dual=find_objective(variant).dual, seed=seed
        )
        save_weights(folder / "best.safetensors", network, {})
        loaded.append(load_run(folder, torch.device("cpu"), GRADIENT))
    return loaded


def shown(table, **changes):
    """What a reader is shown instead of the table's small image."""

    def display(row):
        values = {
            "pixels": np.full((40, 50), row, dtype=np.uint16),
            "source": "original",
            "windows": (SimpleNamespace(label="full range", center=10.5, width=20.0),),
            "rescale_slope": 1.0,
            "rescale_intercept": -3.0,
            "inverted": False,
            "padding_value": None,
            "pixel_spacing_mm": (0.2, 0.3),
        }
        return SimpleNamespace(**values | changes)

    return display


def test_a_bundle_holds_what_its_manifest_says(table, runs, tmp_path):
    draw = draw_cases(table, 3, 5)
    manifest = write_bundle(tmp_path / "b", table, draw, runs, display=shown(table))
    assert json.loads((tmp_path / "b" / "manifest.json").read_text()) == manifest
    assert manifest["schema_version"] == 1
    assert (manifest["dataset"], manifest["modality"]) == ("toy", "xray")
    assert manifest["classes"] == ["Nodule", "Heart"]
    assert manifest["sampling"] == {
        "seed": 5,
        "eligible": draw.eligible,
        "drawn": 3,
        "allow_no_finding": False,
    }
    assert manifest["saliency"] == {
        "method": "gradient",
        "target": "loss",
        "labels": "all",
        "clip": "mean +/- 3 SD of the image",
        "dtype": "int8",
        "scale": 127,
    }
    assert {name: each["branch"] for name, each in manifest["variants"].items()} == {
        "standard": "std",
        "single_bn": "std",
        "dual_bn": "adv",
    }
    for loaded in runs:
        about = manifest["variants"][loaded.objective.name]
        assert about["run"] == loaded.config.name
        assert about["checkpoint_sha256"] == sha256_file(loaded.weights)
    listed = {"manifest.json"}
    for row, case in zip(draw.indices, manifest["cases"], strict=True):
        assert case["case_id"] == table.image_ids[row]
        assert case["findings"] == findings_of(table, row)
        assert case["rescale_intercept"] == -3.0
        assert case["pixel_spacing_mm"] == [0.2, 0.3]
        assert case["windows"] == [
            {"label": "full range", "center": 10.5, "width": 20.0}
        ]
        for each in (case["image"], *case["overlays"].values()):
            path = tmp_path / "b" / each["file"]
            pixels = np.load(path, allow_pickle=False)
            assert sha256_file(path) == each["sha256"]
            assert pixels.dtype == each["dtype"]
            assert pixels.shape == (each["height"], each["width"])
            listed.add(each["file"])
        image = np.load(tmp_path / "b" / case["image"]["file"])
        assert (image.dtype, image.shape, image.max()) == (np.uint16, (40, 50), row)
    files = {
        p.relative_to(tmp_path / "b").as_posix() for p in tmp_path.glob("b/**/*.*")
    }
    assert files == listed


def test_an_overlay_is_its_variants_map_of_that_case(table, runs, tmp_path):
    draw = draw_cases(table, 3, 5)
    manifest = write_bundle(tmp_path / "b", table, draw, runs, display=shown(table))
    for loaded in runs:
        for row, case in zip(draw.indices, manifest["cases"], strict=True):
            gradient = loaded.maps(table.images[[row]], table.labels[[row]])
            expected = to_int8(normalise(gradient))[0].astype(int)
            overlay = case["overlays"][loaded.objective.name]
            pixels = np.load(tmp_path / "b" / overlay["file"]).astype(int)
            # Alone and in a batch a gradient may differ in its last bit.
            assert np.abs(pixels - expected).max() <= 1


def test_training_cases_come_last_and_are_marked(table, runs, tmp_path):
    manifests = [
        write_bundle(
            tmp_path / name,
            table,
            draw_cases(table, 2, 5, training=training),
            runs,
            display=shown(table),
        )
        for name, training in (("without", 0), ("with", 2))
    ]
    without, with_training = manifests
    assert "training" not in json.dumps(without)
    assert with_training["sampling"] == without["sampling"] | {"training": 2}
    assert [case.get("training") for case in with_training["cases"]] == [
        None,
        None,
        True,
        True,
    ]
    drawn = draw_cases(table, 4, 5).indices
    assert [case["case_id"] for case in with_training["cases"]] == [
        table.image_ids[row] for row in drawn
    ]
    for case in with_training["cases"]:
        for each in (case["image"], *case["overlays"].values()):
            assert sha256_file(tmp_path / "with" / each["file"]) == each["sha256"]


def test_nothing_is_left_of_a_bundle_that_fails(table, runs, tmp_path):
    draw = draw_cases(table, 3, 5)
    calls = []

    def display(row):
        calls.append(row)
        if len(calls) == 2:
            raise OSError("no space left on device")
        return shown(table)(row)

    with pytest.raises(OSError, match="no space"):
        write_bundle(tmp_path / "b", table, draw, runs, display=display)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_but_no_other_folder(table, runs, tmp_path):
    draw = draw_cases(table, 2, 5)
    for cases in (3, 2):
        draw = draw_cases(table, cases, 5)
        write_bundle(tmp_path / "b", table, draw, runs, display=shown(table))
    assert len(list((tmp_path / "b" / "images").iterdir())) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(EngineError, match="is no case bundle; choose another --out"):
        write_bundle(tmp_path / "mine", table, draw, runs, display=shown(table))
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_maps_of_different_targets_do_not_share_a_bundle(table, runs, tmp_path):
    config = configure(table, "dual_bn", "demo", ["saliency.target=positive_logits"])
    other = dataclasses.replace(runs[2], config=config)
    with pytest.raises(EngineError, match=r"differ in saliency\.target"):
        write_bundle(
            tmp_path / "b",
            table,
            draw_cases(table, 1, 0),
            [runs[0], other],
            display=shown(table),
        )
