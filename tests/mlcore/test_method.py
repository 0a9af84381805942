"""A new method of making maps is one entry of `METHODS`: all else follows."""

import csv
import json

import numpy as np
import pytest
from django.core.management import call_command, load_command_class

from mlcore.bundle.normalising import normalise, to_int8
from mlcore.engine.model import saliency
from mlcore.engine.model.saliency import GRADIENT, Legend, Method
from tests.mlcore.test_generate_saliency import make_run
from tests.mlcore.toy import write_toy_table

BRIGHTNESS = Method(
    name="brightness",
    signed=True,
    legends=dict.fromkeys(
        GRADIENT.legends,
        Legend(
            quantity="the brightness of the pixels",
            below="dark",
            above="bright",
            meaning="A map is the image itself: blue where it is dark, red where not.",
        ),
    ),
    explain=lambda _network, _target, pixels: pixels,
)


@pytest.fixture
def table(data_folder, monkeypatch):
    monkeypatch.setattr(saliency, "METHODS", (GRADIENT, BRIGHTNESS))
    table = write_toy_table(data_folder / "tables" / "toy")
    for name in ("standard", "single_bn", "dual_bn"):
        make_run(data_folder / "runs" / "toy", table, name, seed=1)
    return table


@pytest.mark.parametrize("command", ["generate_saliency", "evaluate_models"])
def test_a_command_offers_it(table, command):
    parser = load_command_class("mlcore", command).create_parser("manage.py", command)
    assert "of gradient, brightness (gradient)" in " ".join(
        parser.format_help().split()
    )


def test_a_bundle_holds_its_maps_and_what_they_mean(table, tmp_path):
    bundle = tmp_path / "bundle"
    call_command(
        "generate_saliency", "toy", out=bundle, cases=3, seed=5, method="brightness"
    )
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["saliency"]["method"] == "brightness"
    assert (manifest["legend"]["below"], manifest["legend"]["above"]) == (
        "dark",
        "bright",
    )
    for case in manifest["cases"]:
        row = table.image_ids.index(case["case_id"])
        pixels = table.images[[row]].astype(np.float32) / np.float32(255)
        expected = to_int8(normalise(pixels))[0]
        for overlay in case["overlays"].values():
            np.testing.assert_array_equal(np.load(bundle / overlay["file"]), expected)


def test_an_evaluation_judges_its_maps_and_says_so(table, tmp_path):
    call_command(
        "evaluate_models",
        "toy",
        out=tmp_path,
        only=["randomization"],
        method="brightness",
        redraws=2,
        device="cpu",
    )
    with (tmp_path / "randomization.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # The image itself does not depend on what a network has learnt.
    assert {row["value"] for row in rows} == {"1.0"}
    run = json.loads((tmp_path / "evaluation.json").read_text())["run"]
    assert run["maps"]["dual_bn"] == "the brightness of the pixels"
    assert "the brightness of the pixels" in (tmp_path / "report.html").read_text()
