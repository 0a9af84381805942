"""A bundle is written from plain arrays, whoever made the maps."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mlcore.bundle.writing import (
    Case,
    CaseBundleError,
    Contents,
    Truth,
    write_bundle,
)
from mlcore.files import sha256_file
from readerstudy.trial.cases.bundle import read_bundle
from tests.conftest import ROOT

ARMS = ("standard", "single_bn", "dual_bn")
CONTENTS = Contents(
    dataset="toy",
    modality="xray",
    classes=["Nodule", "Heart"],
    sampling={"seed": 5, "eligible": 9, "drawn": 3, "allow_no_finding": False},
    saliency={"method": "gradient", "target": "loss"},
    legend={"below": "negative", "above": "positive", "meaning": "Red is more."},
    arms={
        name: {
            "run": f"{name}-12345678",
            "branch": "std",
            "checkpoint_sha256": str(place) * 64,
            "method": "gradient",
            "signed": True,
        }
        for place, name in enumerate(ARMS)
    },
)


def shown(number, **changes):
    """What a reader is shown."""
    values = {
        "pixels": np.full((40, 50), number, dtype=np.uint16),
        "source": "original",
        "windows": (SimpleNamespace(label="full range", center=10.5, width=20.0),),
        "rescale_slope": 1.0,
        "rescale_intercept": -3.0,
        "inverted": False,
        "padding_value": None,
        "pixel_spacing_mm": (0.2, 0.3),
    }
    return SimpleNamespace(**values | changes)


def cases(count=3, training=0):
    """Cases whose maps say whose they are."""
    for number in range(count + training):
        yield Case(
            case_id=f"image-{number}",
            findings=["Nodule"],
            image=shown(number),
            overlays={
                name: np.full((8, 9), 10 * number + place, dtype=np.int8)
                for place, name in enumerate(ARMS)
            },
            truth={
                "Heart": Truth(0, (), None),
                "Nodule": Truth(1, [(2.5, 3, 4, 5)], np.eye(7, dtype=np.uint8)),
            }
            if number
            else {},
            training=number >= count,
        )


def test_a_bundle_holds_what_its_manifest_says(tmp_path):
    manifest = write_bundle(tmp_path / "b", CONTENTS, cases())
    assert json.loads((tmp_path / "b" / "manifest.json").read_text()) == manifest
    assert list(manifest) == [
        *("schema_version", "dataset", "modality", "classes", "sampling"),
        *("saliency", "legend", "arms", "cases"),
    ]
    assert manifest["schema_version"] == 2
    for key, value in vars(CONTENTS).items():
        assert manifest[key] == value
    files = {"manifest.json"}
    for number, case in enumerate(manifest["cases"]):
        assert case["case_id"] == f"image-{number}"
        assert case["findings"] == ["Nodule"]
        assert "training" not in case
        assert case["rescale_intercept"] == -3.0
        assert case["pixel_spacing_mm"] == [0.2, 0.3]
        assert case["windows"] == [
            {"label": "full range", "center": 10.5, "width": 20.0}
        ]
        assert ("truth" in case) == (number > 0)
        masks = [case["truth"]["Nodule"]["mask"]] if number else []
        for part in (case["image"], *case["overlays"].values(), *masks):
            path = tmp_path / "b" / part["file"]
            pixels = np.load(path, allow_pickle=False)
            assert sha256_file(path) == part["sha256"]
            assert pixels.dtype == part["dtype"]
            assert pixels.shape == (part["height"], part["width"])
            files.add(part["file"])
        image = np.load(tmp_path / "b" / case["image"]["file"])
        assert (image.dtype, image.shape) == (np.uint16, (40, 50))
        assert image.max() == number
        for place, name in enumerate(ARMS):
            overlay = np.load(tmp_path / "b" / case["overlays"][name]["file"])
            assert (overlay == 10 * number + place).all()
    written = (tmp_path / "b").glob("**/*.*")
    assert {path.relative_to(tmp_path / "b").as_posix() for path in written} == files


def test_a_study_can_be_made_of_it(tmp_path):
    write_bundle(tmp_path / "b", CONTENTS, cases(2, training=1))
    bundle = read_bundle(tmp_path / "b")
    assert tuple(bundle.arms) == ARMS
    assert bundle.cases[0].truth == {}
    known = {name: one.document() for name, one in bundle.cases[1].truth.items()}
    assert known["Heart"] == {"label": 0, "boxes": [], "mask": None}
    assert known["Nodule"]["boxes"] == [[2.5, 3, 4, 5]]
    assert known["Nodule"]["mask"]["runs"] == [0, *[1, 7] * 6, 1]
    assert [case.training for case in bundle.cases] == [False, False, True]


def test_cases_to_practise_on_are_marked(tmp_path):
    manifest = write_bundle(tmp_path / "b", CONTENTS, cases(2, training=2))
    marks = [case.get("training") for case in manifest["cases"]]
    assert marks == [None, None, True, True]


@pytest.mark.parametrize("number", [0, 7])
def test_a_bundle_holds_one_to_six_arms(tmp_path, number):
    arms = {f"arm{place}": {} for place in range(number)}
    with pytest.raises(CaseBundleError, match=f"1 to 6 arms, not {number}"):
        write_bundle(tmp_path / "b", replace(CONTENTS, arms=arms), cases())
    assert not (tmp_path / "b").exists()


def test_nothing_is_left_of_a_bundle_that_fails(tmp_path):
    def failing():
        yield from cases(1)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_bundle(tmp_path / "b", CONTENTS, failing())
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_but_no_other_folder(tmp_path):
    for count in (3, 2):
        write_bundle(tmp_path / "b", CONTENTS, cases(count))
    assert len(list((tmp_path / "b" / "images").iterdir())) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")

    def untouched():
        pytest.fail("A case was made for nothing.")
        yield

    with pytest.raises(CaseBundleError, match="is no case bundle; choose another"):
        write_bundle(tmp_path / "mine", CONTENTS, untouched())
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_it_needs_neither_torch_nor_anything_else_of_ours():
    script = (
        "import sys, mlcore.bundle.drawing, mlcore.bundle.normalising, "
        "mlcore.bundle.writing\n"
        "print([name for name in ('torch', 'django', 'scipy', 'mlcore.engine') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
