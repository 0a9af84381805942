"""A letter that goes with a finding: does the evaluation tell maps that follow it?"""

import numpy as np
import pytest
import torch

from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import MARKER
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.runs import configure, load_run
from mlcore.engine.training.train import Execution, train
from mlcore.evaluation.answer import answer
from mlcore.evaluation.localization.measure import localization
from mlcore.evaluation.localization.pointing import energy_inside
from mlcore.evaluation.localization.sentences import above_chance
from mlcore.evaluation.localization.targets import marker_targets, targets
from tests.mlcore.evaluation.conftest import loaded

# A thin line and a narrow dark rim: harder to learn than a letter in a corner.
FINDING = "Pneumothorax"
SETTINGS = (
    "epochs=5",
    "precision=float32",
    "batch_size=16",
    "robust_dev_every=0",
    "attack.steps=1",
)


def phantoms(folder, *, images, classes, marker):
    asked = ImportOptions(image_size=32, seed=3)
    return import_source(
        read_source("phantom", asked, images=images, classes=classes, marker=marker),
        folder,
        name="phantoms",
        image_size=32,
        workers=1,
    ).table


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marked") / "marked"
    return phantoms(folder, images=40, classes=("Nodule", FINDING), marker=FINDING)


def test_a_markers_places_are_those_of_the_test_images_that_carry_it(marked):
    (target,) = marker_targets(marked)
    masks = marked.masks()
    carried = [
        row
        for row in marked.split_indices("test")
        if (marked.image_ids[row], MARKER) in masks.rows
    ]
    assert target.finding == f"marker of {FINDING}"
    assert target.rows.tolist() == carried
    for row, place in zip(target.rows, target.masks, strict=True):
        np.testing.assert_array_equal(place, masks.get(marked.image_ids[row], MARKER))
    assert [each.finding for each in targets(marked)] == ["Nodule", FINDING]


def test_a_table_without_a_marker_has_no_place_of_one(tmp_path):
    plain = phantoms(tmp_path / "plain", images=10, classes=("Nodule",), marker=None)
    assert list(marker_targets(plain)) == []


def test_the_markers_rows_are_of_the_map_of_the_finding_it_goes_with(marked, tmp_path):
    run = loaded(marked, "standard", tmp_path)
    tables = localization(marked, [run, run], redraws=20, seed=1)
    for rows in tables.values():
        own = [row for row in rows if row["finding"] == f"marker of {FINDING}"]
        assert {row["map"] for row in own} == {"own finding"}
    (target,) = marker_targets(marked)
    labels = marked.labels[target.rows].copy()
    labels[:, marked.classes.index("Nodule")] = np.nan
    maps = run.maps(marked.images[target.rows], labels)
    shares = [
        energy_inside(np.abs(each), mask)
        for each, mask in zip(maps, target.masks, strict=True)
    ]
    row = next(
        row
        for row in tables["localization"]
        if row["finding"].startswith("marker") and row["measure"] == "energy_inside"
    )
    assert row["value"] == pytest.approx(np.mean(shares))
    assert row["n"] == len(target.rows)


def test_the_answer_says_whose_maps_follow_the_marker():
    def row(variant, value):
        return {
            "finding": "marker of Nodule",
            "map": "own finding",
            "measure": "energy_inside",
            "variant": variant,
            "branch": "std",
            "n": 30,
            "value": value,
            "lo": value - 0.01,
            "hi": value + 0.01,
            "chance_uniform": 0.02,
            "chance_centre": 0.001,
            "chance_untrained": 0.03,
        }

    rows = [row("standard", 0.2), row("single_bn", 0.03)]
    (told,) = (line for line in answer({"localization": rows}) if "marker" in line)
    assert "goes with Nodule. Share of the own map of Nodule" in told
    assert "(n = 30 images): standard 20.0 % and single_bn 3.0 %" in told
    assert told.endswith("as if it were followed as a shortcut: standard.")
    (told,) = (line for line in answer({"localization": rows[1:]}) if "marker" in line)
    assert told.endswith("Above chance in no variant: none follows it as a shortcut.")
    assert not any("marker" in line for line in answer({"localization": []}))


@pytest.mark.slow
def test_maps_of_a_network_that_learnt_the_marker_lie_in_it(tmp_path, cpu):
    """Of the map's energy, 3.0 % lay in the letter after training with it and 0.7 %
    without; a uniform map has 0.8 %, an untrained network 0.5 %."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors gain nothing from threads
    with_it, without = (
        phantoms(
            tmp_path / f"{marker}-table", images=400, classes=(FINDING,), marker=marker
        )
        for marker in (FINDING, None)
    )
    rows = []
    for table in (with_it, without):
        config = configure(table, "standard", "demo", SETTINGS, seed=2)
        folder = tmp_path / config.name
        train(table, folder, config, Execution(cpu))
        # Both are asked about the images with the letter.
        tables = localization(
            with_it, [load_run(folder, cpu, GRADIENT)], redraws=200, seed=1
        )
        rows += [
            row
            for row in tables["localization"]
            if row["finding"] == f"marker of {FINDING}"
            and row["measure"] == "energy_inside"
        ]
    torch.set_num_threads(threads)
    misled, honest = rows
    assert misled["value"] > 2 * honest["value"]
    assert misled["lo"] > honest["hi"]
    assert above_chance(misled)
